"""What a finished run was made from, and how it is made again; from its store alone, without torch.

A run's id, the end of its folder's name, hashes its settings, the text and rows of its tasks, its model, and the content of
every prompt it starts from: what is made again under the same name was made from the same things.
"""

from pathlib import Path
from typing import Any

from cpeft.errors import ConfigError
from cpeft.store.machine import CODE, versions
from cpeft.store.manifest import Manifest, read_manifests
from cpeft.store.result import Result, RunResult
from cpeft.store.run_folder import RunFolder, Store

OF_DATA = {"version", "fingerprint", "origin", "revision", "rows"}
SHOWN = ("cpeft", CODE, "torch", "transformers")  # in listings; a run's own page has all


def record_of(path: Path) -> dict[str, Any]:
    """Everything a run's folder says of its making, and `warnings`, why what is made again may differ; raises ConfigError for a
    folder that holds no finished run."""
    folder = RunFolder(path)
    if not folder.done:
        raise ConfigError(
            f"{path}: no finished run; `cpeft status STORE` shows how runs stand, `cpeft list runs` those finished"
        )
    result = folder.result()
    known = result.model_dump(exclude_unset=True)
    made: dict[str, Any] = {
        key: known[key] for key in ("seeds", "model", "weights", "sources", "hardware") if key in known
    }
    data = {task: about.model_dump(include=OF_DATA) for task, about in result.data.items()}
    store = path.resolve().parents[1]
    again = _again(store, path.resolve(), result, read_manifests(store))
    other = _other(result)
    return {
        "run": f"{result.stage}/{result.name}", "id": RunFolder(path.resolve()).id, "tasks": result.tasks,
        "data": data, **made, "versions": result.versions, "other_versions_here": other,
        "settings": folder.config(), **again, "warnings": _warnings(result, other, again),
    }  # fmt: skip


def _other(result: Result) -> dict[str, list[str | None]]:
    """Versions that are not the same here: then and now."""
    here = versions()
    return {name: [then, here.get(name)] for name, then in result.versions.items() if here.get(name) != then}


def _warnings(result: Result, other: dict[str, list[str | None]], again: dict[str, Any]) -> list[str]:
    told = [f"made with {name} {then}, here is {now or 'none'}" for name, (then, now) in other.items()]
    if CODE not in result.versions:
        told.append("made before results told which code of cpeft made them")
    return told + [f"{file} was edited or is gone since" for file in again["recipe_edited"]]


def _again(store: Path, path: Path, result: Result, manifests: list[Manifest]) -> dict[str, Any]:
    """The command that makes a run again in a store of its own, and the recipe files that are no longer what they were."""
    folder = f"{path.parent.name}/{path.name}"
    manifest = next((manifest for manifest in manifests if any(run.folder == folder for run in manifest.runs)), None)
    if manifest is None:
        return {"again": None, "recipe_edited": [], "why": "made before stores kept notes, or its note is gone"}
    command = manifest.again(store, store.with_name(f"{store.name}-again"), f"{result.stage}/{result.name}")
    return {"again": command, "recipe_edited": manifest.edited()}


def record_rows(path: Path) -> list[dict[str, Any]]:
    """One row per finished run of a store: which version of which data, which model, which program, what of that is different
    here, and the command that makes it again."""
    store = path.resolve()
    manifests = read_manifests(store)
    return [_row(folder, store, manifests) for folder in Store(store).runs() if folder.done]


def _row(folder: RunFolder, store: Path, manifests: list[Manifest]) -> dict[str, Any]:
    result = folder.result()
    model = result.model if isinstance(result, RunResult) else None
    return {
        "run": folder.path.relative_to(store).as_posix(),
        "data": ", ".join(
            f"{task} v{about.version} {_short(about.fingerprint)}" for task, about in result.data.items()
        ),
        "model": model and model.name, "weights": _short(getattr(result, "weights", None)), "dtype": model and model.dtype,
        "versions": ", ".join(f"{name} {result.versions[name]}" for name in SHOWN if name in result.versions),
        "other_versions_here": _other(result), "again": _again(store, folder.path, result, manifests)["again"],
    }  # fmt: skip


def _short(identity: str | None) -> str | None:
    """A name as it is, the first digits of a hash."""
    return identity[:12] if identity and len(identity) == 64 else identity
