"""`cpeft archive`: a store as one file.

What a run folder holds stays as it is. The recipe is kept relative to itself, with the files of the user's own tasks and the
plugins beside it, so that it can be run where the archive is unpacked; the rows of these tasks are not in the archive.
"""

import hashlib
import json
import os
import tempfile
import tomllib
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import uuid4

import tomli_w

from cpeft.archive.claims import claims_of
from cpeft.archive.layout import (
    ATTACHED,
    CLAIMS,
    INDEX,
    LARGEST,
    README,
    SCORES,
    STORE,
    FileEntry,
    Index,
    order_manifests,
    run_files,
)
from cpeft.errors import ConfigError
from cpeft.report.frame import score_frame
from cpeft.report.study import Study
from cpeft.report.summary import score_table, summarise
from cpeft.store.machine import versions
from cpeft.store.manifest import Manifest, current_manifests
from cpeft.store.run_folder import RunFolder, Store

Content = bytes | Path  # of a file of the archive, or the file that has it
MOMENT = (1980, 1, 1, 0, 0, 0)  # of every file: when an archive was made is no part of it


@dataclass(frozen=True)
class Written:
    """An archive that was written: its path, size in bytes and SHA-256, and its index."""

    path: Path
    bytes: int
    sha256: str
    index: Index


def write_archive(store: Path, out: Path | None = None, attached: Sequence[Path] = ()) -> Written:
    """Write the archive of a store, by default STORE.cpeft.zip beside it. Raises ConfigError for a folder without finished
    runs, for an `out` inside of the store, and for two attached files of one name."""
    done = [run for run in Store(store).runs() if run.done]
    if not done:
        raise ConfigError(f"{store}: no finished run; give a store, the folder that `cpeft run` fills with STAGE/RUN")
    out = out or store.resolve().with_name(f"{store.resolve().name}.cpeft.zip")
    if out.resolve().is_relative_to(store.resolve()):
        raise ConfigError(f"--out {out} is inside of the store; name a place outside of it")
    manifests, recipes = _recipes(store)
    with tempfile.TemporaryDirectory() as made:
        study = _as_unpacked(Path(made), done, manifests)
        scores, claims, table = scores_text(study), claims_of(study), score_table(summarise(study.runs)).markdown()
    kept = dict(_kept(done, store))
    name = ", ".join(dict.fromkeys(manifest.name for manifest in manifests)) or store.resolve().name
    left_out = tuple(f"{path}: {size:,} bytes, over {LARGEST:,}" for path, (_, size) in kept.items() if size > LARGEST)
    unfinished = tuple(_unfinished(manifests, Store(store)))
    readme = _readme(name, len(done), table, [claim["claim"] for claim in claims], unfinished, left_out)
    files: dict[str, Content] = {
        **{path: place for path, (place, size) in kept.items() if size <= LARGEST},
        **recipes,
        **_attached(attached),
        SCORES: scores.encode(),
        CLAIMS: _json(claims),
        README: readme.encode(),
    }
    files = dict(sorted(files.items()))
    index = Index(
        name=name,
        versions=versions(),
        runs=len(done),
        unfinished=unfinished,
        left_out=left_out,
        files={path: _entry(content) for path, content in files.items()},
    )
    size, digest = _write(out, {INDEX: _json(index.model_dump(by_alias=True)), **files})
    return Written(out, size, digest, index)


def scores_text(study: Study) -> str:
    """The data frame of scores as CSV; numbers are written so that they are read back exactly."""
    return str(score_frame(study.runs).to_csv(index=False, lineterminator="\n"))


def _recipes(store: Path) -> tuple[list[Manifest], dict[str, Content]]:
    """The manifests of a store without paths of this machine, and the files of their recipes by path in the archive."""
    manifests, files = [], dict[str, Content]()
    for manifest in current_manifests(store):
        table = tomllib.loads((store / manifest.kept).read_text(encoding="utf-8"))
        base = Path(table.get("base", "."))
        tasks = {task for stage in table.get("stage", ()) for task in stage.get("tasks", ()) if task.endswith(".toml")}
        beside = {Path(plugin).name: Path(plugin) for plugin in manifest.plugins}
        beside |= {task: base / task for task in tasks if not Path(task).is_absolute() and ".." not in Path(task).parts}
        named = {"plugins": [Path(plugin).name for plugin in table["plugins"]]} if "plugins" in table else {}
        text = tomli_w.dumps({**table, "base": ".", **named})
        own = replace(manifest, files={"": text}, plugins=tuple(Path(plugin).name for plugin in manifest.plugins))
        kept = own.kept.as_posix()
        own = replace(own, recipe=kept, files={kept: text})
        manifests.append(own)
        files |= {f"{STORE}/{own.path}": _json(own.card()), f"{STORE}/{kept}": text.encode()}
        files |= {f"{STORE}/recipes/{name}": path for name, path in beside.items() if path.is_file()}
    return manifests, files


def _kept(runs: Sequence[RunFolder], store: Path) -> Iterator[tuple[str, tuple[Path, int]]]:
    """Path in the archive, place and size of every file of the runs."""
    for run in runs:
        for name, size in run_files(run):
            yield f"{STORE}/{run.path.relative_to(store).as_posix()}/{name}", (run.path / name, size)


def _attached(paths: Sequence[Path]) -> dict[str, Content]:
    found: dict[str, Content] = {}
    for path in paths:
        if not path.is_file():
            raise ConfigError(f"--attach {path}: no such file")
        if (place := f"{ATTACHED}/{path.name}") in found:
            raise ConfigError(f"--attach: two files are called '{path.name}'; rename one")
        found[place] = path
    return found


def _as_unpacked(folder: Path, done: Sequence[RunFolder], manifests: Sequence[Manifest]) -> Study:
    """The study that is in the archive, whose manifests give its runs another order than those of the store may."""
    for run in done:
        stage = folder / run.path.parent.name
        stage.mkdir(exist_ok=True)
        (stage / run.path.name).symlink_to(run.path.resolve())
    for manifest in manifests:
        (folder / manifest.path).write_bytes(_json(manifest.card()))
    order_manifests(folder)
    return Study.of(Store(folder))


def _unfinished(manifests: Sequence[Manifest], store: Store) -> Iterator[str]:
    """Runs that a recipe plans and the archive lacks, so that nobody takes a part for the whole."""
    for run in dict.fromkeys(run for manifest in manifests for run in manifest.runs):
        folder = RunFolder(store.path / run.folder)
        if not (run.folder and folder.done):
            yield f"{run}: {run.blocked or ('failed' if run.folder and folder.failed else 'not finished')}"


def _readme(
    name: str, runs: int, table: str, claims: Sequence[str], unfinished: Sequence[str], left_out: Sequence[str]
) -> str:
    lines = [
        f"# {name}",
        "",
        f"{runs} runs of soft prompts on frozen language models, written by `cpeft archive`.",
        "",
        "- `archive.json`: versions, and the SHA-256 of every other file",
        "- `scores.csv`: test scores in per cent, one row per run, task and metric, with 95% intervals over test rows",
        "- `claims.json`: the claims below with their numbers",
        "- `store/`: the recipe, and of every run its settings, log, answers, prompts and result; prompts are safetensors",
        "",
        "Check it with `cpeft verify FILE`. Unpacked, `cpeft report store` makes the report of the study.",
        "",
        "## Scores",
        "",
        table.strip(),
    ]
    for title, texts in (("Claims", claims), ("Not finished", unfinished), ("Left out", left_out)):
        lines += ["", f"## {title}", "", *(f"- {text}" for text in texts)] if texts else []
    return "\n".join(lines) + "\n"


def _json(value: object) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()


def _entry(content: Content) -> FileEntry:
    if isinstance(content, bytes):
        return FileEntry(bytes=len(content), sha256=hashlib.sha256(content).hexdigest())
    with content.open("rb") as file:
        return FileEntry(bytes=content.stat().st_size, sha256=hashlib.file_digest(file, "sha256").hexdigest())


def _write(out: Path, files: dict[str, Content]) -> tuple[int, str]:
    """Write the zip atomically; its size and SHA-256."""
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = out.with_name(f".{out.name}.{uuid4().hex}.tmp")
    try:
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
            for path, content in files.items():
                entry = zipfile.ZipInfo(path, MOMENT)
                entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
                archive.writestr(entry, content if isinstance(content, bytes) else content.read_bytes())
        made = _entry(temporary)
        os.replace(temporary, out)
    finally:
        temporary.unlink(missing_ok=True)
    return made.bytes, made.sha256
