"""A published table as the paper lays it out: methods by tasks in its order, with averages of its groups of tasks.

Every cell holds ours, the published figure and their difference. An average is over the tasks of a group that both have in
the same metric, of ours and of theirs, so it is the printed one only where no task is missing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cpeft.report.vectors.lines import Shots, examples
from cpeft.stats.intervals import Interval
from cpeft.stats.summaries import Judged, Summary

AVERAGE = "avg"  # how the names of printed averages begin
NAMES = {"glue": "GLUE", "superglue": "SuperGLUE"}


@dataclass(frozen=True)
class PaperCell:
    """One published cell beside one of ours, in per cent: `column` of `group` in the published `row`. `difference` is ours
    minus published with `interval`; both are None where the two are not the same thing, for the reason `why`."""

    task: str
    row: str
    group: str
    column: str
    metric: str
    published: Summary
    name: str
    own_metric: str
    own: Summary
    why: str = ""
    difference: float | None = None
    interval: Interval | None = None
    judged: Judged | None = None


@dataclass(frozen=True)
class Average:
    """Over `tasks` of the `of` tasks of a group: ours, published, and ours minus published."""

    own: float
    published: float
    tasks: tuple[str, ...]
    of: int

    @property
    def difference(self) -> float:
        return self.own - self.published


@dataclass(frozen=True)
class Group:
    """Columns of a published table that stand together, those of them that the store has, and whether the paper averages
    them."""

    name: str
    columns: tuple[str, ...]
    shown: tuple[str, ...]
    averaged: bool


@dataclass(frozen=True)
class WideRow:
    """A published row and one of our methods: cells by group and column, averages by group."""

    row: str
    name: str
    cells: Mapping[tuple[str, str], PaperCell]
    averages: Mapping[str, Average]


@dataclass(frozen=True)
class Wide:
    groups: tuple[Group, ...]
    rows: tuple[WideRow, ...]

    @property
    def columns(self) -> int:
        """How many the table has, behind its names."""
        return sum(len(group.shown) + group.averaged for group in self.groups)


def groups_of(rows: Mapping[str, Mapping[str, Any]]) -> dict[str, tuple[list[str], bool]]:
    """Columns by group in the order of the first row, and whether an average stands behind them. Groups are tables of their
    own, or what lies between two averages."""
    first = next(iter(rows.values()))
    parts = {
        NAMES.get(name, name): list(part) for name, part in first.items() if isinstance(part, dict) and AVERAGE in part
    }
    if parts:
        return {name: ([column for column in part if column != AVERAGE], True) for name, part in parts.items()}
    found: dict[str, tuple[list[str], bool]] = {}
    columns: list[str] = []
    for column in first:
        if column.startswith(AVERAGE):
            found[f"{len(columns)} tasks"], columns = (columns, True), []
        else:
            columns.append(column)
    return found | ({"": (columns, False)} if columns else {})


def wide(rows: Mapping[str, Mapping[str, Any]], lines: Sequence[PaperCell], shots: Sequence[Shots] = ()) -> Wide:
    """The lines of a block in the layout of its published `rows`; tables over `shots` have a group for each."""
    groups = groups_of(rows)
    if shots:
        columns = [column for found, _ in groups.values() for column in found]
        groups = {examples(count): (columns, False) for count in shots}
    placed = {(line.row, line.name, line.group, line.column): line for line in lines}
    shown = tuple(
        Group(name, tuple(columns), there, averaged)
        for name, (columns, averaged) in groups.items()
        if (there := tuple(c for c in columns if any((name, c) == (line.group, line.column) for line in lines)))
    )
    order = {row: place for place, row in enumerate(rows)}
    pairs = sorted(dict.fromkeys((line.row, line.name) for line in lines), key=lambda pair: order[pair[0]])
    return Wide(shown, tuple(_row(row, name, shown, placed) for row, name in pairs))


def _row(
    row: str, name: str, groups: Sequence[Group], placed: Mapping[tuple[str, str, str, str], PaperCell]
) -> WideRow:
    cells = {
        (group.name, column): placed[key]
        for group in groups for column in group.shown if (key := (row, name, group.name, column)) in placed
    }  # fmt: skip
    averages = {}
    for group in groups:
        both = [line for (of, _), line in cells.items() if of == group.name and line.difference is not None]
        if group.averaged and both:
            own, published = ([getattr(line, side).mean for line in both] for side in ("own", "published"))
            tasks = tuple(line.column for line in both)
            averages[group.name] = Average(float(np.mean(own)), float(np.mean(published)), tasks, len(group.columns))
    return WideRow(row, name, cells, averages)
