"""Users' files as text: CSV, TSV, JSON, JSONL (plain or .gz) and Parquet, row by row, in constant memory.

A cell is the text that stands in the file. No type is guessed: `007`, `2.50`, `NA` and `2019-01-01` stay as they are written.
JSON numbers are the digits in the file, `true` and `false` the words, null is a missing value; Parquet's values become text by
the rule of `tasks/cells.py`. Files are UTF-8, with or without a byte order mark, or UTF-16 or UTF-32 with one, unless
the task names another encoding. CSV is read strictly: a stray quote, a row of too many cells and two columns of one name are
errors that name the line. Possible mistakes that are no errors are counted in `UserFile.notes`.
"""

import codecs
import gzip
import io
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TextIO
from zlib import error as BadZip

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from cpeft.data.csv_rows import CsvRows
from cpeft.data.json_rows import json_rows
from cpeft.errors import DataError, MissingData, first_line
from cpeft.tasks.base import Task

MARKS = {  # the longer ones first
    codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF32_BE: "utf-32", codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16",
}  # fmt: skip
GZIP, ZIP, PARQUET = b"\x1f\x8b", b"PK\x03\x04", b"PAR1"
KINDS = {".csv": "csv", ".tsv": "csv", ".json": "json", ".jsonl": "json", ".ndjson": "json", ".parquet": "parquet"}
UNREADABLE = re.compile("[\udc80-\udcff\0]")  # a byte that the encoding has no character for, or none that is text
AT_ONCE = 2048  # rows of Parquet in memory


class FileRow(NamedTuple):
    """A row: its number from 1, the line it ends in (0: no lines), its cells, and, of JSON, the object as it is written."""

    number: int
    line: int
    cells: dict[str, Any]
    raw: str = ""


@dataclass
class UserFile:
    """A file of rows; each iteration reads it anew. Raises MissingData, or DataError that names file and line."""

    path: Path
    encoding: str = "utf-8"
    rows: int = field(default=0, init=False)  # of the last iteration, as the notes
    notes: tuple[str, ...] = field(default=(), init=False)

    @property
    def kind(self) -> str:
        """csv, json or parquet; raises DataError for a name that says none of them."""
        if (suffix := self._suffix) not in KINDS:
            raise DataError(
                f"{self.path}: cannot read '{suffix or self.path.name}' files; known: {', '.join(KINDS)} (text also as .gz). "
                "Save a spreadsheet as CSV (UTF-8)"
            )
        return KINDS[suffix]

    @property
    def _suffix(self) -> str:
        return Path(self.path.name.lower().removesuffix(".gz")).suffix

    def __iter__(self) -> Iterator[FileRow]:
        kind = self.kind
        if not self.path.is_file():
            raise (
                DataError(f"{self.path}: is a folder")
                if self.path.is_dir()
                else MissingData(f"{self.path}: no such file")
            )
        if not self.path.stat().st_size:
            raise DataError(f"{self.path}: no rows (the file is empty)")
        self.rows, self.notes = 0, ()
        try:
            yield from self._parquet() if kind == "parquet" else self._text(kind)
        except (EOFError, BadZip, gzip.BadGzipFile):
            raise DataError(f"{self.path}: the packed file is damaged or not whole") from None
        except UnicodeError as error:
            raise DataError(f"{self.path}: not {self.encoding}: {error}; {_remedy()}") from None
        if not self.rows:
            raise DataError(f"{self.path}: no rows")

    def __len__(self) -> int:
        return self.rows

    @property
    def schema(self) -> pa.Schema | None:
        """The columns of a Parquet file."""
        return pq.read_schema(self.path) if self.kind == "parquet" else None

    def place(self, row: FileRow) -> str:
        """Where a row stands, for messages."""
        return f"{self.path} row {row.number}" + (f" (line {row.line})" if row.line else "")

    def _text(self, kind: str) -> Iterator[FileRow]:
        with self._opened() as file:
            if kind == "json":
                for number, (line, cells, raw) in enumerate(json_rows(file, str(self.path), self._checked), 1):
                    self.rows = number
                    yield FileRow(number, line, cells, raw)
                self.notes = (f"{self.path.name}: {self.rows} rows",)
                return
            lines = (self._checked(line, number) for number, line in enumerate(file, 1))
            reader = CsvRows(lines, str(self.path), tabs=self._suffix == ".tsv")
            for number, (line, cells) in enumerate(reader, 1):
                self.rows = number
                yield FileRow(number, line, cells)
            self.notes = tuple(f"{self.path.name}: {note}" for note in reader.notes())

    def _opened(self) -> TextIO:
        with self.path.open("rb") as plain:
            packed = plain.read(2) == GZIP
        raw = gzip.open(self.path) if packed else self.path.open("rb")  # noqa: SIM115 (closed with the text around it)
        head = raw.peek(4)[:4]
        if head in (ZIP, PARQUET):
            what = "a zip archive or a spreadsheet" if head == ZIP else "Parquet"
            raise DataError(f"{self.path}: is {what}, not what its name says")
        encoding = next((name for mark, name in MARKS.items() if head.startswith(mark)), self.encoding)
        return io.TextIOWrapper(raw, encoding, errors="surrogateescape", newline="")

    def _checked(self, text: str, line: int) -> str:
        """The text, if every byte of it is a character of the encoding."""
        if (text.isascii() and "\0" not in text) or not (found := UNREADABLE.search(text)):
            return text
        place = f"{self.path} line {line + text.count(chr(10), 0, found.start())}"
        if found[0] == "\0":
            raise DataError(f'{place}: a NUL character, as in UTF-16 without a byte order mark; say encoding = "utf-16-le" '
                            "in the task's TOML, or --encoding utf-16-le")  # fmt: skip
        raise DataError(f"{place}: not {self.encoding.upper()} (byte 0x{ord(found[0]) - 0xDC00:02x}); {_remedy()}")

    def _parquet(self) -> Iterator[FileRow]:
        try:
            file = pq.ParquetFile(self.path, pre_buffer=False)
            if repeated := [name for name, count in Counter(file.schema_arrow.names).items() if count > 1]:
                raise DataError(f"{self.path}: two columns are called '{repeated[0]}'")
            narrow = {"float": np.float32, "halffloat": np.float16}
            short = {each.name: narrow[str(each.type)] for each in file.schema_arrow if str(each.type) in narrow}
            for batch in file.iter_batches(AT_ONCE):
                for cells in batch.to_pylist():
                    for name, kind in short.items():  # 0.1 is 0.1 there, and 0.10000000149 where it is widened
                        cells[name] = cells[name] and float(str(kind(cells[name])))
                    self.rows += 1
                    yield FileRow(self.rows, 0, cells)
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"{self.path}: not a readable .parquet file: {first_line(error)}") from None
        self.notes = (f"{self.path.name}: {self.rows} rows",)


def _remedy() -> str:
    return 'Latin-1 or Windows text is read with encoding = "latin-1" (or "cp1252") in the task\'s TOML, or --encoding latin-1'


def read_texts(task: Task, path: Path) -> tuple[pa.Table, tuple[str, ...]]:
    """The columns of a user's file that a task reads, as text, and what is to be noted of the file. Raises DataError, naming
    file and row, for a row that does not fit the task."""
    file = UserFile(path, task.encoding)
    shown = dict.fromkeys(task.shown)  # a template may show a column twice
    texts: dict[str, list[str]] = {column: [] for column in (*shown, task.label_column)}
    seen: set[str] = set()
    for row in file:
        seen.update(row.cells.keys() & texts.keys())
        try:
            for column in shown:
                texts[column].append(task.text(row.cells, column))
            texts[task.label_column].append(task.answer_text(row.cells))
            task.code(row.cells) if task.words else task.open_answer(row.cells)
        except DataError as error:
            raise DataError(f"{file.place(row)}: {error}") from None
    check_columns(task, seen, str(path))
    return pa.table({column: pa.array(values, pa.large_string()) for column, values in texts.items()}), file.notes


def check_columns(task: Task, there: Sequence[str] | set[str], where: str) -> None:
    """Raise DataError for a column that the source shows and no row has, which `missing` would make empty everywhere."""
    for column in task.shown:
        try:
            task.column(dict.fromkeys(there), column)
        except DataError as error:
            raise DataError(f"{where}: {error}") from None
