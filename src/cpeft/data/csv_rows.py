"""CSV and TSV as rows of text, strictly, with the lines counted.

The separator is the tab in .tsv files, the one that a first line `sep=;` names, else the commonest of comma, semicolon, tab
and bar in the header. A cell that begins with a quote ends with one; a quote in it is written twice. A stray quote may still
swallow rows where another one closes it: rows and lines are both reported, and a cell that looks like it gives a warning.
"""

import csv
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain

from cpeft.errors import DataError

SEPARATORS = ",;\t|"
LONGEST = 2**26  # characters of a cell; a quote that never closes takes in the rest of the file
MANY = 10  # line breaks of a cell, from which on it may be rows behind a stray quote
STRAY = "did a stray quote swallow rows?"  # how notes say so


class CsvRows:
    """The rows of CSV lines with the line each ends in; raises DataError naming the line."""

    def __init__(self, lines: Iterable[str], where: str, tabs: bool = False) -> None:
        self._lines, self.where = iter(lines), where
        self.separator, self.usual = ("\t", "\t") if tabs else ("", ",")
        self.rows = self.blank = self.line = self.most = self.most_in = self.swallowing = 0

    def __iter__(self) -> Iterator[tuple[int, dict[str, str]]]:
        csv.field_size_limit(LONGEST)
        first, skipped = self._first()
        reader = csv.reader(chain([first], self._lines), delimiter=self.separator, strict=True)
        header: list[str] | None = None
        while True:
            began = reader.line_num + skipped + 1
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                why = f"not a readable row ({error}, line {reader.line_num + skipped})"
                self._refuse(
                    began, f"{why}; a cell that begins with a quote ends with one; a quote in it is written twice"
                )
            self.line = reader.line_num + skipped
            if not cells:
                self.blank += 1
            elif header is None:
                header = self._header(cells)
            elif len(cells) != len(header):
                why = f"{len(cells)} cells, and the header has {len(header)} (between cells is {self.separator!r})"
                self._refuse(began, f"{why}; a cell with that sign or a line break in it needs quotes round it")
            else:
                self.rows += 1
                if self.line > began:
                    self._count_breaks(cells, began)
                yield self.line, dict(zip(header, cells, strict=True))

    def notes(self) -> Iterator[str]:
        """What was read, and what may be a mistake in the file."""
        text = f"{self.rows} rows in {self.line} lines"
        if self.separator != self.usual:
            text += f", read with {self.separator!r} between cells"
        yield text + (f"; {self.blank} blank lines are no rows" if self.blank else "")
        if self.most >= MANY or self.swallowing:
            yield (f"a cell of the row that begins in line {self.most_in} has {self.most} line breaks ({self.rows} rows were "
                   f"read from {self.line} lines): {STRAY}")  # fmt: skip

    def _first(self) -> tuple[str, int]:
        """The header's first line, and how many stood before it; the separator is known then."""
        first, skipped = next(self._lines, ""), 0
        if named := re.fullmatch(r'"?sep=(.)"?[\r\n]*', first, re.IGNORECASE):
            self.separator = named[1]
            return next(self._lines, ""), 1
        while first and not first.strip("\r\n"):
            first, skipped = next(self._lines, ""), skipped + 1
        counts = Counter(re.sub(r'"[^"]*"', "", first))
        commonest = max(SEPARATORS, key=lambda sign: counts[sign])  # the comma where none is there
        self.separator = self.separator or commonest
        return first, skipped

    def _header(self, cells: list[str]) -> list[str]:
        for name, count in Counter(cells).items():
            if count > 1:
                called = f"are called '{name}'" if name else "have no name"
                self._refuse(self.line, f"{count} columns {called}; every column needs a name of its own")
        return cells

    def _count_breaks(self, cells: list[str], began: int) -> None:
        """Line breaks within cells, and lines within one that are rows by their separators."""
        for cell in cells:
            pieces = re.split(r"\r\n|\r|\n", cell)
            if len(pieces) - 1 > self.most:
                self.most, self.most_in = len(pieces) - 1, began
            signs = {piece.count(self.separator) for piece in pieces[1:-1]}
            if len(pieces) > 3 and signs == {len(cells) - 1} and len(cells) > 1:
                self.swallowing += 1

    def _refuse(self, line: int, why: str) -> None:
        raise DataError(f"{self.where} line {line}: {why}")
