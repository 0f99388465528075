"""Across origins: does a task vector work on another origin than the one it was trained from (Task Prompt Vectors, table 1)?

    own cell     vocab_i + v(task of seed i)        this is the trained prompt itself
    other cell   vocab_i + v(task of seed j), j != i

Every cell is a run without training, scored on test rows. ByOrigin share vectors and origins, so they are no independent
samples: the comparison pairs, for every origin i, its own cell with the mean of its other cells, and the tasks of a table are a
family. As published, all cells of both kinds are compared as if independent. Beside the cells stand what the same runs score
with something else in the place of the vector, and how long vectors are against origins: where they are much longer, an origin
hardly counts in the sum, and independence of it says little.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from cpeft.prompts.hashes import stored_rows
from cpeft.report.render.numbers import columns, comparison, comparison_columns, decimal, header, muted, summary
from cpeft.report.render.table import Column, Row, Table
from cpeft.report.section import Page, section
from cpeft.report.study import Run, Study
from cpeft.report.vectors.starts import Asked, Start, metric_of, origin_of, score, untrained
from cpeft.stats.corrected_tests import Tested, judged, summed
from cpeft.stats.paired import Paired, compare
from cpeft.stats.summaries import Summary

OWN, OTHER = "own origin", "other origin"
CONTROLS = {"noise": "noise", "shuffle": "shuffled rows", "task": "another task", "": "origin alone"}
ByOrigin = dict[Hashable, list[float]]  # scores by origin


@dataclass(frozen=True)
class CrossedTask:
    """One task and the vectors of one source: scores in per cent; `difference` is other minus own, paired over origins, and
    None with fewer than two of them, `tested` the same among the rows of its table; `ratio` is the mean of |v| / |origin|
    over vectors, None where no prompts are kept."""

    task: str
    metric: str
    own: Summary | None
    other: Summary | None
    difference: Paired | None
    controls: Mapping[str, Summary]
    majority: float | None
    ratio: float | None
    tested: Tested | None = None


@dataclass(frozen=True)
class Crossing:
    """The rows of one source stage, label and dtype, and the controls that any of them has."""

    source: str
    dtype: str
    rows: tuple[CrossedTask, ...]

    @property
    def controls(self) -> list[str]:
        return [name for name in CONTROLS.values() if any(name in row.controls for row in self.rows)]


@section("crossing", "Task vectors across origins", 70)
def crossing(page: Page) -> dict[str, Any] | None:
    """Vectors on their own origins and on others."""
    found = crossings(page.study)
    tests = [_tests_table(each, number) for number, each in enumerate(found, 1) if any(row.tested for row in each.rows)]
    tables = [_scores_table(each, number) for number, each in enumerate(found, 1)]
    controls = any(each.controls for each in found)
    return {"tables": tables, "tests": tests, "controls": controls} if found else None


def _scores_table(each: Crossing, number: int) -> Table:
    rows = []
    for row in each.rows:
        means = [summary(found) for found in (row.own, row.other, *(row.controls.get(name) for name in each.controls))]
        rows.append(Row([header(row.task, muted(row.metric)), *means, decimal(row.majority), decimal(row.ratio)]))
    controls = [f"{name.capitalize()}#" for name in each.controls]
    heads = columns("Task", "Own origin#", "Other origin#", *controls, "Majority#", "|v|\u00a0/ |origin|#")
    caption = f"Vectors of {each.source} across origins: test scores in per cent, frozen model in {each.dtype}"
    label = f"Across origins, {each.source}, {each.dtype}"
    return Table(f"crossing-{number}", caption, heads, [rows], "controls", label)


def _tests_table(each: Crossing, number: int) -> Table:
    rows = [
        Row([header(row.task, muted(row.metric)), *comparison(row.tested, published=True)])
        for row in each.rows
        if row.tested
    ]
    heads = [Column("Task"), *comparison_columns("Other\u00a0−\u00a0own", "Origins", published=True)]
    caption = (
        f"Vectors of {each.source} on other origins against their own: differences of test scores in points, "
        f"frozen model in {each.dtype}"
    )
    label = f"Other against own origin, {each.source}, {each.dtype}"
    return Table(f"crossing-tests-{number}", caption, heads, [rows], "controls", label)


def crossings(study: Study, asked: Asked = lambda _: "") -> list[Crossing]:
    """Every source whose vectors were put on origins alone, unscaled and on their own task, scored by the metrics that
    are asked for."""
    starts = [start for start in untrained(study) if len(start.tasks) == 1 and len(start.vectors) <= 1]
    groups: dict[tuple[str, str, str], list[Start]] = {}
    for start in starts:
        for vector in start.vectors:
            if vector.scale == 1:
                groups.setdefault((*vector.source.group, _dtype(start)), []).append(start)
    found = []
    for (stage, label, dtype), members in groups.items():
        bare = [start for start in starts if not start.vectors and _dtype(start) == dtype]
        crossed = dict.fromkeys(start.tasks[0] for start in members if _kind(start) in (OWN, OTHER))
        if rows := tuple(
            _row(task, [start for start in members + bare if start.tasks[0] == task], asked(task)) for task in crossed
        ):
            found.append(Crossing(stage if label == stage else f"{stage}/{label}", dtype, _judged(rows)))
    return found


def _judged(rows: Sequence[CrossedTask]) -> tuple[CrossedTask, ...]:
    """The rows of a table as one family, the published test on all their cells."""
    family = [(row.difference, (row.other, row.own)) for row in rows if row.difference and row.other and row.own]
    tested = iter(judged([difference for difference, _ in family], [sides for _, sides in family]))
    return tuple(replace(row, tested=next(tested)) if row.difference else row for row in rows)


def _dtype(start: Start) -> str:
    return start.run.result.model.dtype


def _kind(start: Start) -> str:
    """What was put on the origin."""
    if not start.vectors:
        return CONTROLS[""]
    (vector,) = start.vectors
    if vector.control or vector.task != start.tasks[0]:
        return CONTROLS[vector.control or "task"]
    return OWN if origin_of(vector.source) == start.origin else OTHER


def _row(task: str, starts: Sequence[Start], asked: str) -> CrossedTask:
    cells: dict[str, ByOrigin] = {}
    about, metric = starts[0].run.result.data[task], metric_of([start.run for start in starts], task, asked)
    for start in starts:
        cells.setdefault(_kind(start), {}).setdefault(start.origin, []).append(score(start.run, task, metric))
    sources = {vector.source.folder.path: vector.source for start in starts for vector in start.vectors
               if (vector.task, vector.control) == (task, "")}  # fmt: skip
    return CrossedTask(
        task, metric, _summary(cells.get(OWN)), _summary(cells.get(OTHER)),
        _paired(cells.get(OTHER, {}), cells.get(OWN, {})),
        {name: found for name in CONTROLS.values() if (found := _summary(cells.get(name)))},
        about.majority if metric == about.headline else None, _ratio(task, list(sources.values())),
    )  # fmt: skip


def _summary(cells: ByOrigin | None) -> Summary | None:
    """Over all cells, with their number."""
    values = [value for scores in (cells or {}).values() for value in scores]
    return summed(values) if values else None


def _paired(other: ByOrigin, own: ByOrigin) -> Paired | None:
    """Other minus own over the origins that have both."""
    crossed, kept = (
        {origin: float(np.mean(cells[origin])) for origin in own if origin in other} for cells in (other, own)
    )
    return compare(crossed, kept, "origins") if len(kept) > 1 else None


def _ratio(task: str, sources: Sequence[Run]) -> float | None:
    """Mean of |v| / |origin| (Frobenius norms) over the exported prompts that keep their origin."""
    ratios = []
    for source in sources:
        prompt_PD, origin_PD = (stored_rows(source.folder.prompt(task), origin) for origin in (False, True))
        if prompt_PD is not None and origin_PD is not None:
            ratios.append(np.linalg.norm(prompt_PD - origin_PD) / np.linalg.norm(origin_PD))
    return float(np.mean(ratios)) if ratios else None
