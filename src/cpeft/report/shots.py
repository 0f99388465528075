"""Score against the number of training examples, by what training started from (Task Prompt Vectors, figure 3).

At every number of examples the lines are compared with the one that starts from nothing, paired over seeds (a seed draws the
origin and the examples). Holm's correction takes all comparisons at one number of examples, over tasks and lines, as a family.
A run of several tasks is a point of each of them where it learned a target prompt per task (ATTEMPT).
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup

from cpeft.report.bands import Point, shot_curves
from cpeft.report.families import Sides, Tested, judged, summed
from cpeft.report.lines import Line, Shots, Trial, gather, rising
from cpeft.report.plots import Panel, line_style
from cpeft.report.stats import Paired, Verdict, compare
from cpeft.report.study import Study
from cpeft.report.tables import score_interval


@dataclass(frozen=True)
class Row:
    """A line against the base: means over the seeds that both have, and the comparison among those of its table."""

    task: str
    line: str
    mean: float
    base: float
    tested: Tested


@dataclass(frozen=True)
class Family:
    """The comparisons at one number of examples."""

    shots: Shots
    rows: tuple[Row, ...]

    @property
    def hopeless(self) -> bool:
        """Whether no scores of so many seeds could be significant after the correction."""
        return all(row.tested.verdict is Verdict.CANNOT for row in self.rows)


@dataclass(frozen=True)
class Experiment:
    """The lines of one dtype, and the metric of each task that was scored at several numbers of examples."""

    dtype: str
    axis: str
    metrics: Mapping[str, str]
    lines: tuple[Line, ...]

    @property
    def base(self) -> Line | None:
        """The line that starts from nothing; of several the first."""
        return next((line for line in self.lines if line.fresh), None)

    def legend(self) -> list[tuple[Any, ...]]:
        """Name, colour and dashes of every line."""
        return [(line.name, *line_style(index)) for index, line in enumerate(self.lines)]

    def panels(self) -> list[Panel]:
        """A picture of every task."""
        return [(f"{task} ({metric})", self._panel(task, metric)) for task, metric in self.metrics.items()]

    def _panel(self, task: str, metric: str) -> Markup:
        drawn: dict[int, list[Point]] = {}
        for index, line in enumerate(self.lines):
            for shots in rising(line.scores.get(task, {})):
                values = list(line.at(task, shots).values())
                point = Point(shots, float(np.mean(values)), score_interval(values, metric))
                drawn.setdefault(index, []).append(point)
        told = "; ".join(
            f"{self.lines[index].name} {', '.join(f'{point.mean:.1f} at {point.shots}' for point in points)}"
            for index, points in drawn.items()
        )
        name = re.sub(r"[^\w.-]+", "-", f"shots-{task}-{self.dtype}")
        return shot_curves(drawn, name, f"{metric} of {task} by {self.axis}: {told}", self.axis, metric)

    def families(self) -> list[Family]:
        """Every number of examples at which anything can be compared with the base."""
        found = []
        for shots in rising({k for line in self.lines for task in self.metrics for k in line.scores.get(task, {})}):
            if pairs := list(self._pairs(shots)):
                tested = judged([paired for *_, paired, _ in pairs], [sides for *_, sides in pairs])
                rows = [Row(*pair[:4], each) for pair, each in zip(pairs, tested, strict=True)]
                found.append(Family(shots, tuple(rows)))
        return found

    def _pairs(self, shots: Shots) -> Iterator[tuple[str, str, float, float, Paired, Sides]]:
        """Every line against the base on every task: paired over the seeds that both have, and, as published, of all seeds."""
        if self.base is None:
            return
        for task in self.metrics:
            base = self.base.at(task, shots)
            for line in self.lines:
                scores = line.at(task, shots)
                both = [seed for seed in base if seed in scores]
                if line is not self.base and len(both) > 1:
                    first, second = ({seed: each[seed] for seed in both} for each in (scores, base))
                    mean, of_base = (float(np.mean(list(each.values()))) for each in (first, second))
                    sides = summed(list(scores.values())), summed(list(base.values()))
                    yield task, line.name, mean, of_base, compare(first, second), sides


def experiments(study: Study) -> list[Experiment]:
    """What the store holds of few-shot curves: tasks trained on some examples and scored at another number of them too."""
    found = []
    every = [trial for run in study.runs for task in run.result["tasks"] if (trial := Trial.of(run, task)).own]
    for dtype in dict.fromkeys(trial.run.result["model"]["dtype"] for trial in every):
        trials = [trial for trial in every if trial.run.result["model"]["dtype"] == dtype]
        lines = gather(trials)
        few = [trial for trial in trials if trial.shots not in (0, "full")]
        metrics = {
            trial.task: trial.run.result["data"][trial.task]["headline"]
            for trial in few if len({k for line in lines for k in line.scores.get(trial.task, {})}) > 1
        }  # fmt: skip
        counted = {trial.per for trial in few}
        axis = "training examples" + ("" if len(counted) > 1 else " per class" if counted == {"class"} else " in total")
        if metrics:
            kept = tuple(line for line in lines if metrics.keys() & line.scores.keys())
            found.append(Experiment(dtype, axis, metrics, kept))
    return found
