"""How much runs of one method differ, and what picking the best of them would have claimed.

The replication of ATTEMPT reports some of its tables as the best of several runs and calls it cherry-picking. Here the mean is
the result; the best stands beside it under that name, to show how far the two lie apart.
"""

from dataclasses import dataclass

import pandas as pd

from cpeft.report.frame import score_frame
from cpeft.report.study import Study


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


def spreads(study: Study) -> list[Spread]:
    """Every stage and method, in the tasks' first metrics."""
    frame = score_frame(study.runs)
    by_task = frame[frame["headline"]].groupby(["dtype", "stage", "method", "task"], sort=False)["value"]
    tasks = by_task.agg(["count", "mean", "std", "min", "max"]).query("count > 1")
    return [
        _spread(*key, of_method.droplevel([0, 1, 2])) for key, of_method in tasks.groupby(level=[0, 1, 2], sort=False)
    ]


def _spread(dtype: str, stage: str, method: str, tasks: pd.DataFrame) -> Spread:
    """`tasks` has count, mean, std, min and max of the scores of each task."""
    widest = (tasks["max"] - tasks["min"]).idxmax()
    mean, deviation, best = tasks[["mean", "std", "max"]].mean().tolist()
    seeds = tuple(sorted(set(tasks["count"].tolist())))
    ends = float(tasks["min"][widest]), float(tasks["max"][widest])
    return Spread(stage, method, dtype, len(tasks), seeds, mean, deviation, best, str(widest), ends)
