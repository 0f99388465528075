"""How a finished run was made, and the command that repeats it; from its store alone, without torch.

A run's id, the end of its folder's name, hashes its settings, the text and rows of its tasks, its model, and the content of
every prompt it starts from. So a repeated run with the same id was made from the same inputs.
"""

from pathlib import Path
from typing import Any

from cpeft.errors import ConfigError
from cpeft.store.machine import CODE, versions
from cpeft.store.manifest import Manifest, read_manifests
from cpeft.store.result import Result, RunResult, SearchResult
from cpeft.store.run_folder import RunFolder, Store

DATA_FIELDS = {"version", "fingerprint", "origin", "revision", "rows"}
LISTED = ("cpeft", CODE, "torch", "transformers")  # versions in lists of runs; the record of a run has all


def record_of(path: Path) -> dict[str, Any]:
    """How the run in a folder was made, and `warnings`, the reasons why a repeated run may differ; raises ConfigError for a
    folder without a finished run."""
    folder = RunFolder(path)
    if not folder.done:
        raise ConfigError(
            f"{path}: no finished run; `cpeft status STORE` shows the state of all runs, `cpeft list runs` those finished"
        )
    result = folder.result()
    known = result.model_dump(exclude_unset=True)
    inputs: dict[str, Any] = {
        key: known[key] for key in ("seeds", "model", "weights", "sources", "hardware") if key in known
    }
    data = {task: about.model_dump(include=DATA_FIELDS) for task, about in result.data.items()}
    store = path.resolve().parents[1]
    again = _again(store, path.resolve(), result, read_manifests(store))
    other = _other_versions(result)
    return {
        "run": f"{result.stage}/{result.name}", "id": RunFolder(path.resolve()).id, "tasks": result.tasks,
        "data": data, **inputs, "versions": result.versions, "other_versions_here": other,
        "settings": folder.config(), **again, "warnings": _warnings(result, other, again),
    }  # fmt: skip


def _other_versions(result: Result) -> dict[str, list[str | None]]:
    """The versions that differ on this machine: then and now."""
    here = versions()
    return {name: [then, here.get(name)] for name, then in result.versions.items() if here.get(name) != then}


def _warnings(result: Result, other: dict[str, list[str | None]], again: dict[str, Any]) -> list[str]:
    warnings = [f"made with {name} {then}, this machine has {now or 'none'}" for name, (then, now) in other.items()]
    if CODE not in result.versions:
        warnings.append("made before results recorded the code of cpeft")
    return warnings + [f"{file} was edited or is gone since" for file in again["recipe_edited"]]


def _again(store: Path, path: Path, result: Result, manifests: list[Manifest]) -> dict[str, Any]:
    """The command that repeats a run in a store of its own, and the recipe files that have changed."""
    folder = f"{path.parent.name}/{path.name}"
    manifest = next((manifest for manifest in manifests if any(run.folder == folder for run in manifest.runs)), None)
    if manifest is None:
        return {"again": None, "recipe_edited": [], "why": "made before stores kept manifests, or its manifest is gone"}
    command = manifest.again(store, store.with_name(f"{store.name}-again"), f"{result.stage}/{result.name}")
    return {"again": command, "recipe_edited": manifest.edited()}


def record_rows(path: Path) -> list[dict[str, Any]]:
    """One row per finished run of a store: the versions of its data, model and packages, those that differ on this machine,
    and the command that repeats it."""
    store = path.resolve()
    manifests = read_manifests(store)
    return [_row(folder, store, manifests) for folder in Store(store).runs() if folder.done]


def _row(folder: RunFolder, store: Path, manifests: list[Manifest]) -> dict[str, Any]:
    result = folder.result()
    model = result.model if isinstance(result, RunResult | SearchResult) else None
    return {
        "run": folder.path.relative_to(store).as_posix(),
        "data": ", ".join(
            f"{task} v{about.version} {_short(about.fingerprint)}" for task, about in result.data.items()
        ),
        "model": model and model.name, "weights": _short(getattr(result, "weights", None)), "dtype": model and model.dtype,
        "versions": ", ".join(f"{name} {result.versions[name]}" for name in LISTED if name in result.versions),
        "other_versions_here": _other_versions(result), "again": _again(store, folder.path, result, manifests)["again"],
    }  # fmt: skip


def _short(identity: str | None) -> str | None:
    """The first digits of a hash; a name unchanged."""
    return identity[:12] if identity and len(identity) == 64 else identity
