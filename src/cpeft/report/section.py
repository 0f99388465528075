"""Sections of the report: functions that register themselves under a name, a title and a place on the page.

A section is a function from a `Page` to the values that its template shows, or to None where the store holds nothing for it.
The template is `NAME.html` beside the function's module (Jinja, every text escaped). A package of a user adds sections by the
entry point group `cpeft.sections`, whose entries name what the decorator returns.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from os.path import relpath
from pathlib import Path
from typing import Any
from urllib.parse import quote

from cpeft.registry import Registry
from cpeft.report.study import Study


@dataclass(frozen=True)
class Page:
    """What a page is about: the runs of a store; `paper` names published figures, and `other` another store, to set beside
    them; `command` makes the page, whose file is in `folder`, by default the store."""

    study: Study
    command: str = "cpeft report"
    paper: str | None = None
    other: Study | None = None
    folder: Path | None = None

    @cached_property
    def links(self) -> dict[str, str]:
        """The relative address of every run's folder, by run id."""
        start = self.folder or self.study.store.path
        return {run.folder.id: quote(f"{Path(relpath(run.folder.path, start)).as_posix()}/") for run in self.study.runs}


Make = Callable[[Page], Mapping[str, Any] | None]


@dataclass(frozen=True)
class Section:
    """One part of the page; sections stand in rising `order`, folded up unless they say otherwise."""

    name: str
    title: str
    order: int
    make: Make
    folded: bool = True

    @property
    def folder(self) -> Path:
        """Where its template is."""
        return Path(inspect.getfile(self.make)).parent

    def __call__(self, page: Page) -> Mapping[str, Any] | None:
        """The values that its template shows; None where there is nothing to show."""
        return self.make(page)


SECTIONS: Registry[Section] = Registry("section", "cpeft.report")


def section(name: str, title: str, order: int, folded: bool = True) -> Callable[[Make], Section]:
    """Decorator: register a function as a section of the report."""
    return lambda make: SECTIONS.add(name, Section(name, title, order, make, folded))
