"""How much runs of one method differ, and what picking the best of them would have claimed.

The replication of ATTEMPT reports some of its tables as the best of several runs and calls it cherry-picking. Here the mean is
the result; the best stands beside it under that name, to show how far the two lie apart.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from cpeft.report.sections.scores import Cell, summarise
from cpeft.report.study import Study, distinct


@dataclass(frozen=True)
class Spread:
    """One method over its tasks with two seeds or more, scores in per cent: means over tasks of the mean, of the deviation over
    seeds and of the best seed; `widest` is the task whose seeds lie furthest apart, with its lowest and highest score."""

    stage: str
    method: str
    dtype: str
    tasks: int
    seeds: tuple[int, ...]
    mean: float
    deviation: float
    best: float
    widest: Cell

    @property
    def gained(self) -> float:
        """What the best of the seeds has more than their mean."""
        return self.best - self.mean

    @property
    def range(self) -> tuple[float, float]:
        return min(self.widest.values), max(self.widest.values)


def spreads(study: Study) -> list[Spread]:
    """Every stage and method, in the tasks' first metrics."""
    found = []
    for dtype in distinct(result.model.dtype for result in study.results):
        runs = [run for run in study.runs if run.result.model.dtype == dtype]
        headline = {(task, about.headline) for run in runs for task, about in run.result.data.items()}
        cells = [cell for cell in summarise(runs) if cell.seeds > 1 and (cell.task, cell.metric) in headline]
        for stage, method in distinct((cell.stage, cell.method) for cell in cells):
            mine = [cell for cell in cells if (cell.stage, cell.method) == (stage, method)]
            found.append(
                Spread(
                    stage, method, dtype, len(mine), tuple(sorted({cell.seeds for cell in mine})),
                    _mean(cell.mean for cell in mine), _mean(cell.deviation or 0.0 for cell in mine),
                    _mean(max(cell.values) for cell in mine), max(mine, key=lambda cell: max(cell.values) - min(cell.values)),
                )
            )  # fmt: skip
    return found


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))
