"""Sections of the report: functions that register themselves under a name, a title and a place on the page.

A section is a function from a `Page` to the values that its template shows, or to None where the store holds nothing for it.
The template is `NAME.html` beside the function's module (Jinja, every text escaped). A package of a user adds sections by the
entry point group `cpeft.sections`, whose entries name what the decorator returns.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cpeft.registry import Registry
from cpeft.report.study import Study


@dataclass(frozen=True)
class Page:
    """What a page is about: the runs of a store; `paper` names published figures, and `other` another store, to set beside
    them; `command` makes the page."""

    study: Study
    command: str = "cpeft report"
    paper: str | None = None
    other: Study | None = None


Make = Callable[[Page], Mapping[str, Any] | None]


@dataclass(frozen=True)
class Section:
    """One part of the page; sections stand in rising `order`."""

    name: str
    title: str
    order: int
    make: Make

    @property
    def folder(self) -> Path:
        """Where its template is."""
        return Path(inspect.getfile(self.make)).parent

    def __call__(self, page: Page) -> Mapping[str, Any] | None:
        """The values that its template shows; None where there is nothing to show."""
        return self.make(page)


SECTIONS: Registry[Section] = Registry("section", "cpeft.report")


def section(name: str, title: str, order: int) -> Callable[[Make], Section]:
    """Decorator: register a function as a section of the report."""
    return lambda make: SECTIONS.add(name, Section(name, title, order, make))
