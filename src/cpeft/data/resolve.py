"""Rows of a task as Arrow tables: from the package or its own files, else a local folder, else the hub.

The folder is named by CPEFT_DATA, or by a recipe's `data.folder`, and holds `<task>/<split>.parquet` (or .jsonl,
.csv); `fetch` fills it. It comes before the hub so that machines without a network behave like those with one. A
fingerprint stands for the rows in run ids: SHA-256 over the bytes of local files; for the hub over the fingerprints
`datasets` derives from the commit. Users' own files are text (`user_files.py`); the folder's have the types of the dataset.
"""

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet

from cpeft.config import digest
from cpeft.data.hub import ask_hub_once
from cpeft.data.user_files import UserFile, read_texts
from cpeft.errors import DataError, MissingData, first_line
from cpeft.tasks.base import Task
from cpeft.tasks.cells import cell_text

FOLDER_VARIABLE = "CPEFT_DATA"
SUFFIXES = (".parquet", ".jsonl", ".csv")  # in order of preference
SOURCE_FILE = "source.json"


@dataclass(frozen=True)
class Dataset:
    """The rows of a task; only splits that exist."""

    tables: dict[str, pa.Table]
    origin: str  # one line for people
    revision: str | None  # the commit on the hub, where known
    fingerprint: str
    notes: tuple[str, ...] = ()  # remarks about the files


def load_tables(task: Task, revision: str | None = None, folder: str | None = None) -> Dataset:
    """All available splits of a task, from `folder` if given, else CPEFT_DATA; raises MissingData with the way to get them."""
    if task.rows:
        tables = {path.stem: read_rows(path) for path in sorted(task.rows.glob("*.parquet"))}
        mark = tables["train"].schema.metadata[b"fingerprint"].decode()
        return Dataset(
            {split: table.replace_schema_metadata() for split, table in tables.items()}, "the package", None, mark
        )
    files = locate(task, folder)
    if not files:
        return _from_hub(task, revision, folder)
    hashes = {}
    for split, path in files.items():
        if not path.is_file():
            raise MissingData(f"task '{task.name}': the file of split '{split}' does not exist: {path}")
        with path.open("rb") as file:
            hashes[split] = hashlib.file_digest(file, "sha256").hexdigest()
    place = next(iter(files.values())).parent
    path = place / SOURCE_FILE
    try:
        record = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except ValueError as error:
        raise DataError(f"{path}: not valid JSON: {error}") from None
    have = record.get("revision")
    if revision and have and not task.files and revision not in (have, record.get("asked")):
        held = f"{place} holds revision {have}, not the requested {revision}"
        raise MissingData(f"task '{task.name}': {held}", _remedy(task))
    if not task.files:
        tables = {split: read_rows(path) for split, path in files.items()}
        return Dataset(tables, str(place), have, digest(hashes))
    texts = {split: read_texts(task, path) for split, path in files.items()}
    notes = tuple(note for _, remarks in texts.values() for note in remarks)
    return Dataset(
        {split: table for split, (table, _) in texts.items()}, "the task's files", None, digest(hashes), notes
    )


def locate(task: Task, folder: str | None = None) -> dict[str, Path]:
    """The local files of a task by split, unread; none where only the hub may have them."""
    if task.files:
        return {split: Path(file).expanduser() for split, file in task.files.items()}
    splits = dict.fromkeys(("train", "validation", "test", *task.hub.splits))
    for place in _folders(task, folder):
        paths = [place / f"{split}{suffix}" for split in splits for suffix in reversed(SUFFIXES)]
        if files := {path.stem: path for path in paths if path.is_file()}:  # the last suffix wins
            return files
    return {}


def read_rows(path: Path) -> pa.Table:
    """Rows of a .parquet, .jsonl or .csv file with the types of a dataset; raises DataError naming the file. A string stays a
    string; a column of CSV is one of numbers where they are written as Python writes them."""
    if not path.is_file():
        raise MissingData(f"{path}: no such file")
    if not path.stat().st_size:
        raise DataError(f"{path}: no rows (the file is empty)")
    try:
        match path.suffix.lower():
            case ".parquet":
                table = pa.parquet.ParquetFile(path).read()  # read_table imports pandas
            case ".jsonl":
                with path.open(encoding="utf-8-sig") as file:
                    rows = pa.array([json.loads(line) for line in file if line.strip()])
                table = pa.Table.from_struct_array(rows) if pa.types.is_struct(rows.type) else pa.table({})
            case ".csv":
                table = _typed([row.cells for row in UserFile(path)])
            case other:
                raise DataError(f"{path}: cannot read '{other}' files; known: {', '.join(SUFFIXES)}")
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(f"{path}: not a readable {path.suffix} file: {first_line(error)}") from None
    if not table.num_rows:
        raise DataError(f"{path}: no rows")
    return table


def _typed(rows: list[dict[str, str]]) -> pa.Table:
    """Columns of text as columns of numbers, where the conversion is exact."""
    columns = {}
    for name in rows[0]:
        texts: list[str] = [row[name] for row in rows]
        columns[name] = next((found for kind in (int, float) if (found := _numbers(texts, kind))), texts)
    return pa.table(columns)


def _numbers(texts: list[str], kind: type[int] | type[float]) -> list[int] | list[float] | None:
    try:
        numbers = [kind(text) for text in texts]
    except ValueError:
        return None
    return numbers if [cell_text(number) for number in numbers] == texts else None


def fetch(task: Task, folder: Path, revision: str | None = None) -> list[Path]:
    """Bring a task's rows from the hub into `<folder>/<task>/`, so that CPEFT_DATA=<folder> needs no network."""
    data = _from_hub(task, revision)
    rows = {split: table.num_rows for split, table in data.tables.items()}
    record = {"hub": task.hub.path, "config": task.hub.config, "revision": data.revision, "asked": revision}
    target = folder / task.name
    target.mkdir(parents=True, exist_ok=True)
    partial = target / f".partial-{os.getpid()}"  # a file with its final name is complete
    written = []
    for split, table in data.tables.items():
        pa.parquet.write_table(table, partial, compression="zstd")
        written.append(partial.replace(target / f"{split}.parquet"))
    partial.write_text(json.dumps({**record, "rows": rows}, indent=2) + "\n", encoding="utf-8")
    return [*written, partial.replace(target / SOURCE_FILE)]


def _folders(task: Task, folder: str | None = None) -> list[Path]:
    root = folder or os.environ.get(FOLDER_VARIABLE)
    return [Path(root).expanduser() / name for name in (task.name, *task.folders)] if root else []


def _from_hub(task: Task, revision: str | None, folder: str | None = None) -> Dataset:
    if not task.hub.path:
        raise _missing(task, "it names no dataset on the hub", folder)
    address = "/".join(filter(None, (task.hub.path, task.hub.config)))
    try:
        ask_hub_once()
        import datasets  # here, because it takes a second to import and most machines read a local folder

        found = datasets.load_dataset(task.hub.path, task.hub.config, revision=revision, trust_remote_code=False)
    except Exception as error:  # `datasets` raises nearly anything: no network, no such name, no such config
        raise _missing(task, f"hub dataset {address}: {type(error).__name__}: {first_line(error)}", folder) from None
    here = {ours: found[theirs] for ours, theirs in task.hub.splits.items() if theirs in found}
    if not here:
        raise _missing(task, f"hub dataset {address} has the splits {', '.join(found)} only", folder)
    tables = {split: rows.with_format("arrow")[:] for split, rows in here.items()}
    commit = _commit(task.hub.path, revision)
    fingerprint = digest([task.hub.path, task.hub.config, {split: rows._fingerprint for split, rows in here.items()}])
    return Dataset(tables, f"hub {address}" + (f"@{commit[:12]}" if commit else ""), commit, fingerprint)


def _commit(path: str, revision: str | None) -> str | None:
    """The commit of `revision` (default: the newest) on the hub; offline, `revision` itself."""
    if Path(path).is_dir():
        return None
    from huggingface_hub import HfApi

    try:
        return HfApi().dataset_info(path, revision=revision).sha or revision
    except Exception:  # the rows are here, from the cache; only their commit could not be looked up
        return revision


def _missing(task: Task, hub: str, folder: str | None) -> MissingData:
    folders = _folders(task, folder)
    looked = f"nothing in {', '.join(map(str, folders))}" if folders else f"{FOLDER_VARIABLE} is not set"
    return MissingData(f"task '{task.name}': no rows found: {looked}; {hub}", _remedy(task))


def _remedy(task: Task) -> str:
    return (
        f"with a network: `cpeft fetch task:{task.name} --out DIR`, then `export {FOLDER_VARIABLE}=DIR` "
        f"(it holds DIR/{task.name}/train.parquet and so on)"
    )
