"""Writers of users' rows with added columns: JSONL, CSV or Parquet, row by row.

The user's cells stay as they are: JSON objects keep their own text, CSV its cells, Parquet its types where Parquet is written.
Between kinds of file values become text by the rule of `tasks/cells.py`; a missing value is null, or an empty cell of CSV.
"""

import csv
import json
from collections.abc import Sequence
from math import isfinite
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from cpeft.data.user_files import KINDS, FileRow
from cpeft.errors import ConfigError, DataError
from cpeft.tasks.cells import cell_text, is_missing

AT_ONCE = 8192  # rows of a row group


class RowWriter(Protocol):
    """Takes rows in order; the file is complete once the writer is closed."""

    def write(self, row: FileRow, own: dict[str, str]) -> None:
        """Write a row with the added columns `own`."""

    def close(self) -> None:
        """Write the remaining rows and close the file."""


def kind_of(path: Path) -> str:
    """The format of a file by its name: csv, parquet, else json (one object per line); raises ConfigError for .gz."""
    if path.suffix.lower() == ".gz":
        raise ConfigError(f"--out {path}: compressed output is not supported; leave out .gz")
    return KINDS.get(path.suffix.lower(), "json")


def open_writer(
    kind: str, path: Path, columns: Sequence[str], own: Sequence[str], schema: pa.Schema | None, tabs: bool
) -> RowWriter:
    """A writer to a new file; `schema` has the columns where the rows come from Parquet."""
    if kind == "csv":
        return _Csv(path, columns, own, "\t" if tabs else ",")
    return _Parquet(path, columns, own, schema) if kind == "parquet" else _Jsonl(path)


class _Jsonl:
    def __init__(self, path: Path) -> None:
        self.file = path.open("w", encoding="utf-8")

    def write(self, row: FileRow, own: dict[str, str]) -> None:
        if row.raw:  # the object as the user wrote it, with more members
            added = json.dumps(own, ensure_ascii=False)[1:]
            self.file.write(row.raw[:-1].rstrip() + (", " if row.cells else "") + added + "\n")
            return
        cells = {name: _json_value(value, name) for name, value in row.cells.items()}
        self.file.write(json.dumps({**cells, **own}, ensure_ascii=False, allow_nan=False) + "\n")

    def close(self) -> None:
        self.file.close()


class _Csv:
    def __init__(self, path: Path, columns: Sequence[str], own: Sequence[str], separator: str) -> None:
        self.file = path.open("w", encoding="utf-8", newline="")
        self.columns, self.own = columns, own
        self.writer = csv.writer(self.file, delimiter=separator, lineterminator="\n")
        self.writer.writerow([*columns, *own])

    def write(self, row: FileRow, own: dict[str, str]) -> None:
        cells = [_flat(row, name) or "" for name in self.columns]
        self.writer.writerow([*cells, *(own[name] for name in self.own)])

    def close(self) -> None:
        self.file.close()


class _Parquet:
    def __init__(self, path: Path, columns: Sequence[str], own: Sequence[str], schema: pa.Schema | None) -> None:
        self.columns, self.typed = columns, schema is not None
        self.schema = schema if schema is not None else pa.schema([(name, pa.string()) for name in columns])
        for name in own:
            self.schema = self.schema.append(pa.field(name, pa.string()))
        self.writer, self.rows = pq.ParquetWriter(path, self.schema), list[dict[str, Any]]()

    def write(self, row: FileRow, own: dict[str, str]) -> None:
        cells = row.cells if self.typed else {name: _flat(row, name) for name in self.columns}
        self.rows.append({**cells, **own})
        if len(self.rows) == AT_ONCE:
            self._flush()

    def _flush(self) -> None:
        self.writer.write_table(pa.Table.from_pylist(self.rows, schema=self.schema))
        self.rows = []

    def close(self) -> None:
        if self.rows:
            self._flush()
        self.writer.close()


def _flat(row: FileRow, name: str) -> str | None:
    """A cell as text, None where it is missing; lists and tables as JSON."""
    value = row.cells.get(name)
    if is_missing(value):
        return None
    if isinstance(value, list | dict):
        whole = json.loads(row.raw)[name] if row.raw else _json_value(value, name)  # with its numbers as numbers
        return json.dumps(whole, ensure_ascii=False)
    try:
        return cell_text(value)
    except ValueError as error:
        raise DataError(
            f"row {row.number}: column '{name}' {error}; write Parquet (--out X.parquet) to keep it"
        ) from None


def _json_value(value: Any, name: str) -> Any:
    """A value of Parquet as JSON: no number there is NaN, which is missing; times and decimals are text."""
    if isinstance(value, dict):
        return {str(key): _json_value(each, name) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_json_value(each, name) for each in value]
    if isinstance(value, bytes):
        raise DataError(f"column '{name}' holds bytes, which JSON cannot; write Parquet (--out X.parquet) to keep it")
    if is_missing(value):
        return None
    if isinstance(value, str | bool | int) or (isinstance(value, float) and isfinite(value)):
        return value
    return str(value)
