"""Every table and picture of a report as files of their own, for papers; `index.md` lists them.

Sections give tables and pictures among the values of their templates; whatever can write itself is written, named by its
`name`.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

from cpeft.report.render.table import MARKDOWN


@runtime_checkable
class Writable(Protocol):
    """A table or a picture."""

    @property
    def name(self) -> str: ...

    @property
    def label(self) -> str: ...

    def write(self, folder: Path) -> list[Path]: ...


def parts_of(value: object) -> Iterator[Writable]:
    """The tables and pictures among the values of sections, in order."""
    if isinstance(value, Writable):
        yield value
    elif isinstance(value, Mapping | list | tuple):
        for each in value.values() if isinstance(value, Mapping) else value:
            yield from parts_of(each)


def write_files(parts: Sequence[Writable], folder: Path) -> list[Path]:
    """Write the parts; files of the same names are replaced."""
    folder.mkdir(parents=True, exist_ok=True)
    written = [(part.label, part.write(folder)) for part in parts]
    links = ((label, ", ".join(f"[{path.name}]({path.name})" for path in paths)) for label, paths in written)
    lines = [f"- {link}: {label.translate(MARKDOWN)}" for label, link in links]
    index = folder / "index.md"
    index.write_text("\n".join(["# Figures and tables", "", *lines, ""]), encoding="utf-8", newline="\n")
    return [*(path for _, paths in written for path in paths), index]
