"""The table of a store: mean, standard deviation, interval and number of seeds per task, metric and method.

Every metric that a task names has its rows; those of the headline, the first, stand first.
The interval is Student's t over seeds where there are at least two (it holds the spread of training), else the bootstrap
over test rows of the one run (it does not, and is marked `rows`). Standard deviations have n - 1 in the denominator. Runs of
different dtypes never share a cell.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from rich.markup import escape
from rich.table import Table

from cpeft.report.study import Run
from cpeft.stats import intervals
from cpeft.store.result import Score

CLOSED = ("choice_", "calibrated_")  # before the name of a metric: of closed choice, plain and calibrated
BOUNDS = dict.fromkeys(("matthews", "pearson", "spearman"), -100.0)  # lowest value where it is not 0
Key = tuple[str, str, str, str, str]  # task, stage, method, metric, dtype
CAPTION = (
    "95% interval: Student's t over seeds; marked `rows`: bootstrap over the test rows of one run (Wilson's where all of them "
    "are right, or all wrong). Majority class: the best constant answer on the test rows."
)


@dataclass(frozen=True)
class Cell:
    """One task and method; `kind` says where the interval comes from: `seeds`, `rows`, or `fixed` for a constant."""

    task: str
    stage: str
    method: str
    metric: str
    dtype: str
    values: tuple[float, ...]
    low: float
    high: float
    kind: str
    trainable: int | None

    @property
    def mean(self) -> float:
        return float(np.mean(self.values))

    @property
    def deviation(self) -> float | None:
        return float(np.std(self.values, ddof=1)) if len(self.values) > 1 else None

    @property
    def seeds(self) -> int:
        return len(self.values)

    @property
    def same(self) -> bool:
        """Whether several seeds came out alike, which says nothing of their spread."""
        return self.seeds > 1 and len(set(self.values)) == 1

    @property
    def interval(self) -> str:
        """The interval as it is written; nothing of a constant."""
        if self.kind == "fixed":
            return ""
        if self.same:
            return f"{self.seeds} seeds, one and the same value"
        return f"[{self.low:.1f}, {self.high:.1f}]{' rows' if self.kind == 'rows' else ''}"


def summarise(runs: Sequence[Run]) -> list[Cell]:
    """One cell per task, stage, method and dtype for every metric of the task, and for the closed-choice forms of the headline
    where they were asked for, with a `majority class` row per task. The headline's cells come first in each task."""
    groups: dict[Key, list[tuple[int | None, Score]]] = {}
    constants: dict[tuple[str, str], float] = {}
    for run in runs:
        result = run.result
        for task, about in result.data.items():
            headline, dtype = about.headline, result.model.dtype
            for metric in _shown(result.scores[task], headline):
                key = (task, *run.group, metric, dtype)
                groups.setdefault(key, []).append((result.trainable, result.scores[task][metric]))
            if about.majority is not None:
                # few-shot and full runs share their test rows; where limits differ, the highest bar stands
                constants[task, headline] = max(about.majority, constants.get((task, headline), -100.0))
    cells = [_cell(key, found) for key, found in groups.items()]
    for (task, metric), value in constants.items():
        cells.append(Cell(task, "", "majority class", metric, "", (value,), value, value, "fixed", 0))
    places: dict[str, dict[str, int]] = {}
    for cell in cells:
        metrics = places.setdefault(cell.task, {})
        metrics.setdefault(cell.metric, len(metrics))
    tasks = {task: place for place, task in enumerate(places)}
    return sorted(cells, key=lambda cell: (tasks[cell.task], places[cell.task][cell.metric], cell.kind != "fixed"))


def _shown(scores: Mapping[str, Score], headline: str) -> list[str]:
    """The metrics of a task that have cells, in order."""
    own = [metric for metric in (headline, *(way + headline for way in CLOSED)) if metric in scores]
    return own + [metric for metric in scores if metric != headline and not metric.startswith(CLOSED)]


def _cell(key: Key, runs: Sequence[tuple[int | None, Score]]) -> Cell:
    (trainable, first), values = runs[0], tuple(score.value for _, score in runs)
    cell = Cell(*key, values, first.low, first.high, "rows", trainable)
    if (interval := score_interval(values, cell.metric)) is None:
        return cell
    return replace(cell, low=interval[0], high=interval[1], kind="seeds")


def score_interval(values: Sequence[float], metric: str) -> tuple[float, float] | None:
    """`t_interval` of scores in per cent, inside what the metric can be."""
    if (interval := t_interval(values)) is None:
        return None
    return max(interval[0], BOUNDS.get(_plain(metric), 0.0)), min(interval[1], 100.0)


def _plain(metric: str) -> str:
    """The metric itself, however the answers were taken."""
    return next((metric.removeprefix(way) for way in CLOSED if metric.startswith(way)), metric)


def t_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """Student's t interval of the mean; None of a single value, which says nothing of the spread."""
    return intervals.t_interval(values) if len(values) > 1 else None


HEAD = ("task", "stage", "method", "metric", "dtype", "mean", "sd", "95% interval", "seeds", "trained")


def _fields(cell: Cell) -> tuple[str, ...]:
    mean, deviation = f"{cell.mean:.2f}", "" if cell.deviation is None else f"{cell.deviation:.2f}"
    trained = "" if cell.trainable is None else f"{cell.trainable:,}"
    seeds = "" if cell.kind == "fixed" else str(cell.seeds)
    return cell.task, cell.stage, cell.method, cell.metric, cell.dtype, mean, deviation, cell.interval, seeds, trained


def rich_table(cells: Sequence[Cell], title: str) -> Table:
    """The table for a terminal."""
    table = Table(title=escape(title), caption=CAPTION)
    for i, name in enumerate(HEAD):
        table.add_column(name, justify="left" if i < 5 else "right", overflow="fold")
    for i, cell in enumerate(cells):
        last = i + 1 == len(cells) or cells[i + 1].task != cell.task
        table.add_row(*(escape(field) for field in _fields(cell)), end_section=last)
    return table


def markdown_table(cells: Sequence[Cell]) -> str:
    """The table as Markdown, every seed's score in the last column."""
    lines = ["| " + " | ".join((*HEAD, "every seed")) + " |", "|" + "---|" * (len(HEAD) + 1)]
    for cell in cells:
        every = "" if cell.kind == "fixed" else " ".join(f"{value:.2f}" for value in cell.values)
        lines.append("| " + " | ".join((*_fields(cell), every)) + " |")
    return "\n".join([*lines, "", CAPTION, ""])
