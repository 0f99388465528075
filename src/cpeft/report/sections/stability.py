"""How much runs of one method differ, and what picking the best of them would have claimed.

The replication of ATTEMPT reports some of its tables as the best of several runs and calls it cherry-picking. Here the mean is
the result; the best stands beside it under that name, to show how far the two lie apart.
"""

from dataclasses import dataclass
from typing import Any

import pandas as pd

from cpeft.report.frame import score_frame
from cpeft.report.render.numbers import cell, columns, decimal, header, muted, signed
from cpeft.report.render.table import Cell, Row, Table
from cpeft.report.section import Page, section
from cpeft.report.study import Study, distinct

WIDEST = "Widest task: lowest and highest seed"


@dataclass(frozen=True)
class Spread:
    """One method over its tasks with two seeds or more, scores in per cent: means over tasks of the mean, of the deviation over
    seeds and of the best seed; `widest` is the task whose seeds lie furthest apart, `range` its lowest and highest score."""

    stage: str
    method: str
    dtype: str
    tasks: int
    seeds: tuple[int, ...]
    mean: float
    deviation: float
    best: float
    widest: str
    range: tuple[float, float]

    @property
    def gained(self) -> float:
        """What the best of the seeds has more than their mean."""
        return self.best - self.mean


@section("stability", "Stability over runs", 60)
def stability(page: Page) -> dict[str, Any] | None:
    """How far the seeds of each method lie apart."""
    found = spreads(page.study)
    several = len({spread.dtype for spread in found}) > 1
    rows = [Row(_cells(spread, spread.dtype if several else "")) for spread in found]
    titles = ("Stage", "Method", "Tasks#", "Seeds#", "Mean#", "sd#", "Best of runs#", "Gained by picking#", WIDEST)
    caption = "Spread over seeds, test scores in per cent, means over tasks with two seeds or more"
    table = Table("stability-1", caption, columns(*titles), [rows], "controls", "Spread over seeds")
    return {"table": table} if found else None


def _cells(spread: Spread, dtype: str) -> list[Cell]:
    seeds, (low, high) = ", ".join(map(str, spread.seeds)), spread.range
    best = decimal(spread.best, "muted"), cell(signed(spread.gained), kind="muted")
    means = cell(spread.tasks), cell(seeds), decimal(spread.mean, "mean"), decimal(spread.deviation)
    names = cell(spread.stage), header(spread.method, muted(dtype) if dtype else "")
    return [*names, *means, *best, cell(f"{spread.widest}: {low:.1f} to {high:.1f}")]


def spreads(study: Study) -> list[Spread]:
    """Every stage and method, in the tasks' first metrics."""
    frame = score_frame(study.runs)
    places = {task: place for place, task in enumerate(distinct(frame["task"]))}
    frame = frame[frame["headline"]].sort_values("task", key=lambda tasks: tasks.map(places), kind="stable")
    by_task = frame.groupby(["dtype", "stage", "method", "task"], sort=False)["value"]
    tasks = by_task.agg(["count", "mean", "std", "min", "max"]).query("count > 1")
    return [
        _spread(dtype, stage, method, of_method.droplevel([0, 1, 2]))
        for (dtype, stage, method), of_method in tasks.groupby(level=[0, 1, 2], sort=False)
    ]


def _spread(dtype: str, stage: str, method: str, tasks: pd.DataFrame) -> Spread:
    """`tasks` has count, mean, std, min and max of the scores of each task."""
    widest = (tasks["max"] - tasks["min"]).idxmax()
    mean, deviation, best = tasks[["mean", "std", "max"]].mean().tolist()
    seeds = tuple(sorted(set(tasks["count"].tolist())))
    ends = float(tasks["min"][widest]), float(tasks["max"][widest])
    return Spread(stage, method, dtype, len(tasks), seeds, mean, deviation, best, str(widest), ends)
