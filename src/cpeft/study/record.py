"""What a finished run was made from, and how it is made again; from its store alone, without torch.

A run's id, the end of its folder's name, hashes its settings, the text and rows of its tasks, its model, and the content of
every prompt it starts from: what is made again under the same name was made from the same things.
"""

from pathlib import Path
from typing import Any

from cpeft.config import read_toml
from cpeft.errors import ConfigError
from cpeft.study.machine import versions
from cpeft.study.note import Note, read_notes
from cpeft.study.store import RunFolder, Store

SHOWN = ("cpeft", "torch", "transformers")  # in listings; a run's own page has all


def record_of(path: Path) -> dict[str, Any]:
    """Everything a run's folder says of its making; raises ConfigError for a folder that holds no finished run."""
    folder = RunFolder(path)
    if not folder.done:
        raise ConfigError(
            f"{path}: no finished run; `cpeft status STORE` shows how runs stand, `cpeft list runs` those finished"
        )
    result = folder.result()
    made: dict[str, Any] = {
        key: result[key] for key in ("seeds", "model", "weights", "sources", "hardware") if key in result
    }
    data = {task: _data(about) for task, about in result["data"].items()}
    here = versions()
    other = {name: [then, here.get(name)] for name, then in result["versions"].items() if here.get(name) != then}
    return {
        "run": f"{result['stage']}/{result['name']}", "id": path.resolve().name.rpartition("-")[2], "tasks": result["tasks"],
        "data": data, **made, "versions": result["versions"], "other_versions_here": other,
        "settings": read_toml(path / "config.toml"), **_again(path.resolve(), f"{result['stage']}/{result['name']}"),
    }  # fmt: skip


def _data(about: dict[str, Any]) -> dict[str, Any]:
    return {key: about.get(key) for key in ("version", "fingerprint", "origin", "revision", "rows")}


def _again(path: Path, run: str) -> dict[str, Any]:
    """The command that makes a run again in a store of its own, and the recipe files that are no longer what they were."""
    store = path.parents[1]
    note = _note_with(store, f"{path.parent.name}/{path.name}")
    if note is None:
        return {
            "again": None,
            "recipe_edited": [],
            "why": "made before stores kept notes, or by a recipe changed since",
        }
    return {"again": note.command(store.with_name(f"{store.name}-again"), [run]), "recipe_edited": note.edited()}


def _note_with(store: Path, folder: str) -> Note | None:
    return next((note for note in read_notes(store) if any(run.folder == folder for run in note.runs)), None)


def record_rows(path: Path) -> list[dict[str, Any]]:
    """One row per finished run of a store: which version of which data, which model, which program."""
    return [_row(folder, path) for folder in Store(path).runs() if folder.done]


def _row(folder: RunFolder, store: Path) -> dict[str, Any]:
    result = folder.result()
    model = result.get("model", {})
    return {
        "run": folder.path.relative_to(store).as_posix(),
        "data": ", ".join(
            f"{task} v{about['version']} {_short(about['fingerprint'])}" for task, about in result["data"].items()
        ),
        "model": model.get("name"), "weights": _short(result.get("weights")), "dtype": model.get("dtype"),
        "versions": ", ".join(f"{name} {result['versions'][name]}" for name in SHOWN if name in result["versions"]),
    }  # fmt: skip


def _short(identity: str | None) -> str | None:
    """A name as it is, the first digits of a hash."""
    return identity[:12] if identity and len(identity) == 64 else identity
