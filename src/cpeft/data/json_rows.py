"""JSON rows: an object on every line, or one array of objects, read piece by piece.

Numbers are kept as they are written, so that 2.50 stays 2.50; a row's own text is kept as well, on one line, for writers
that copy it.
"""

import json
from collections.abc import Callable, Iterator
from typing import Any, NoReturn, TextIO

from cpeft.errors import DataError

CHUNK, LONGEST = 2**20, 2**26  # characters that are read at once, and of the longest object
SHAPES = "rows are objects, one a line, or one array of them"
Check = Callable[[str, int], str]  # text and the line it begins in, to the text
JsonRow = tuple[int, dict[str, Any], str]  # the line (0: of an array), cells, the object as it is written


def json_rows(file: TextIO, where: str, check: Check) -> Iterator[JsonRow]:
    """The rows of a file; raises DataError naming the line, or of an array the row."""
    line, number = "", 0
    while not line.strip() and (line := file.readline(CHUNK)):  # an array may be one line of gigabytes
        number += 1
    if line.lstrip().startswith("["):
        yield from _Array(file, line, number, where, check).rows()
        return
    while line:
        while not line.endswith(("\n", "\r")) and (more := file.readline(CHUNK)):
            line += more
        if text := check(line, number).strip():
            cells, end = _decoded(text, 0, f"{where} line {number}")
            if end != len(text):
                raise DataError(f"{where} line {number}: more text behind the object; {SHAPES}")
            yield number, cells, text
        line, number = file.readline(CHUNK), number + 1


class _NotJson(DataError):
    """Text that is no JSON, or not yet."""


class _Array:
    """A JSON array that is read as far as it is needed."""

    def __init__(self, file: TextIO, buffer: str, line: int, where: str, check: Check) -> None:
        self.file, self.line, self.where, self.check = file, line, where, check
        self.buffer, self.at = check(buffer, line), 0

    def rows(self) -> Iterator[JsonRow]:
        count = 0
        self._peek()
        self.at += 1  # [
        while (sign := self._peek()) != "]":
            place = f"{self.where} row {count + 1}"
            if count:
                if sign != ",":
                    raise DataError(f"{place}: not valid JSON: a comma or the array's end is missing before it")
                self.at += 1
                self._peek()
            cells, end = self._value(place)
            yield 0, cells, self.buffer[self.at : end].replace("\r", " ").replace("\n", " ")  # strings hold neither
            self.at, count = end, count + 1
        self.at += 1
        if self._peek():
            raise DataError(f"{self.where}: more text behind the array; {SHAPES}")

    def _more(self, size: int) -> bool:
        self.line += self.buffer.count("\n")
        more = self.file.read(size)
        self.buffer, self.at = self.buffer[self.at :] + self.check(more, self.line), 0
        return bool(more)

    def _peek(self) -> str:
        """The next character that is no white space, which the array then stands at; empty at the file's end."""
        while True:
            while self.at < len(self.buffer) and self.buffer[self.at] in " \t\r\n":
                self.at += 1
            if self.at < len(self.buffer) or not self._more(CHUNK):
                return self.buffer[self.at : self.at + 1]

    def _value(self, place: str) -> tuple[dict[str, Any], int]:
        size = CHUNK
        while True:
            try:
                return _decoded(self.buffer, self.at, place)
            except _NotJson:
                if size > LONGEST or not self._more(size):
                    raise
                size *= 2  # of a long object little is read twice


def _decoded(text: str, at: int, place: str) -> tuple[dict[str, Any], int]:
    """The object that begins at a position, and where it ends."""
    try:
        value, end = DECODER.raw_decode(text, at)
        if not isinstance(value, dict):
            raise DataError(f"{place}: {text[at:end][:40]} is no object; {SHAPES}")
        if "\\u" in text[at:end]:  # half a character may be written so
            json.dumps(value, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        raise _NotJson(
            f"{place}: not a readable JSON object: {error.msg} (character {error.pos - at + 1}); {SHAPES}"
        ) from None
    except UnicodeEncodeError as error:
        raise DataError(f"{place}: {error.object[error.start]!r} is half a character (a lone surrogate)") from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{place}: {error}") from None
    return value, end


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"two values for '{next(name for name in found if names.count(name) > 1)}'")
    return found


def _no_number(word: str) -> NoReturn:
    raise ValueError(f"{word} is not JSON; write null, or the word in quotes")


DECODER = json.JSONDecoder(
    parse_float=str, parse_int=str, parse_constant=_no_number, object_pairs_hook=_unique, strict=True
)
