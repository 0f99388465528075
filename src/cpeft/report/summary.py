"""The table of a store: mean, standard deviation, interval and number of seeds per task, metric and method.

Every metric that a task names has its rows; those of the headline, the first, stand first.
The interval is Student's t over seeds where there are at least two (it holds the spread of training), else the bootstrap
over test rows of the one run (it does not, and is marked `rows`). Standard deviations have n - 1 in the denominator. Runs of
different dtypes never share a cell.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from rich.markup import escape
from rich.table import Table

from cpeft.report.frame import score_frame, without_choice
from cpeft.report.study import Run, distinct
from cpeft.stats import intervals

BOUNDS = dict.fromkeys(("matthews", "pearson", "spearman"), -100.0)  # lowest value where it is not 0
KEY = ("task", "stage", "method", "metric", "dtype")
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
    frame = score_frame(runs)
    headlines = frame[frame["headline"]]
    known = set(zip(headlines["task"], headlines["metric"], strict=True))
    pairs = [(task, metric) for task, metric in zip(frame["task"], frame["metric"], strict=True)]
    shown = [metric == (plain := without_choice(metric)) or (task, plain) in known for task, metric in pairs]
    cells = [_cell(key, rows) for key, rows in frame[shown].groupby(list(KEY), sort=False)]
    # few-shot and full runs share their test rows; where limits differ, the highest bar stands
    for (task, metric), bar in (
        headlines.dropna(subset="majority").groupby(["task", "metric"])["majority"].max().items()
    ):
        cells.append(Cell(task, "", "majority class", metric, "", (bar,), bar, bar, "fixed", 0))
    tasks, metrics = distinct(frame["task"]), distinct(pairs)
    return sorted(cells, key=lambda c: (tasks.index(c.task), metrics.index((c.task, c.metric)), c.kind != "fixed"))


def _cell(key: tuple[str, ...], rows: pd.DataFrame) -> Cell:
    values, first = tuple(rows["value"].tolist()), rows.iloc[0]
    interval, kind = score_interval(values, str(first["metric"])), "seeds"
    if interval is None:
        interval, kind = (float(first["low"]), float(first["high"])), "rows"
    return Cell(*key, values, *interval, kind, None if pd.isna(first["trainable"]) else int(first["trainable"]))


def score_interval(values: Sequence[float], metric: str) -> tuple[float, float] | None:
    """`t_interval` of scores in per cent, inside what the metric can be."""
    if (interval := t_interval(values)) is None:
        return None
    return max(interval[0], BOUNDS.get(without_choice(metric), 0.0)), min(interval[1], 100.0)


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
