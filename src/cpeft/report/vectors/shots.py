"""Score against the number of training examples, by what training started from (Task Prompt Vectors, figure 3).

At every number of examples the lines are compared with plain prompt tuning from a drawn prompt, paired over seeds (a seed
draws the origin and the examples). Holm's correction takes all comparisons at one number of examples, over tasks and lines, as
a family. A run of several tasks is a point of each of them where it learned a target prompt per task (ATTEMPT).
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from cpeft.report.render.drawing import Picture, line_style
from cpeft.report.render.numbers import cell, columns, comparison, comparison_columns, decimal, header
from cpeft.report.render.table import Row, Table
from cpeft.report.section import Page, section
from cpeft.report.study import Study
from cpeft.report.summary import score_interval
from cpeft.report.vectors.lines import Line, Shots, Trial, gather, rising, without_probes
from cpeft.report.vectors.shot_curves import MOST, Frame, Point, ShotCurves
from cpeft.stats.corrected_tests import Sides, Tested, judged, summed
from cpeft.stats.intervals import Verdict
from cpeft.stats.paired import Paired, compare


@dataclass(frozen=True)
class Compared:
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
    rows: tuple[Compared, ...]

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
    numbers: Mapping[str, int]  # of the colour of each line's method, by the name of the line

    @property
    def base(self) -> Line | None:
        """Plain prompt tuning from a drawn prompt; of several lines the first."""
        return next((line for line in self.lines if line.plain), None)

    @property
    def drawn(self) -> dict[str, dict[str, list[Point]]]:
        """The points of every task and line."""
        return {
            task: {
                line.name: [_point(shots, line.at(task, shots), metric) for shots in rising(line.scores[task])]
                for line in self.lines if task in line.scores
            }
            for task, metric in self.metrics.items()
        }  # fmt: skip

    def pictures(self) -> list[tuple[str, Picture]]:
        """Title and picture of every task, all with the same axis of examples."""
        drawn = self.drawn
        found = []
        for task, lines in drawn.items():
            if len(lines) > MOST:
                lines = {name: [point._replace(interval=None) for point in points] for name, points in lines.items()}
            frame, metric = Frame.of(drawn.values(), lines, self.axis), self.metrics[task]
            means = "; ".join(
                f"{name} {', '.join(f'{point.mean:.1f} at {point.shots}' for point in points)}"
                for name, points in lines.items()
            )
            name = re.sub(r"[^\w.-]+", "-", f"shots-{task}-{self.dtype}")
            label = f"{metric} of {task} by {self.axis}: {means}"
            found.append(
                (
                    f"{task} ({metric})",
                    ShotCurves(lines, _styles(lines, self.numbers), frame, metric).picture(name, label),
                )
            )
        return found

    def families(self) -> list[Family]:
        """Every number of examples at which anything can be compared with the base."""
        found = []
        for shots in rising({k for line in self.lines for task in self.metrics for k in line.scores.get(task, {})}):
            if pairs := list(self._pairs(shots)):
                tested = judged([paired for *_, paired, _ in pairs], [sides for *_, sides in pairs])
                rows = [Compared(*pair[:4], each) for pair, each in zip(pairs, tested, strict=True)]
                found.append(Family(shots, tuple(rows)))
        return found

    def _pairs(self, shots: Shots) -> Iterator[tuple[str, str, float, float, Paired, Sides]]:
        """Every line against the base on every task: paired over the seeds that both have, and, as published, of all seeds.
        Of lines that share their untrained runs the first stands for all, and none where these are the base's."""
        if self.base is None:
            return
        for task in self.metrics:
            base, seen = self.base.at(task, shots), {self.base.bare.get(task)}
            for line in self.lines:
                scores, bare = line.at(task, shots), line.bare.get(task)
                both = [seed for seed in base if seed in scores]
                again = shots == 0 and bare in seen
                seen.add(bare)
                if line is not self.base and not again and len(both) > 1:
                    first, second = ({seed: each[seed] for seed in both} for each in (scores, base))
                    mean, of_base = (float(np.mean(list(each.values()))) for each in (first, second))
                    sides = summed(list(scores.values())), summed(list(base.values()))
                    yield task, line.name, mean, of_base, compare(first, second), sides


def _point(shots: Shots, scores: Mapping[int, float], metric: str) -> Point:
    values = list(scores.values())
    return Point(shots, float(np.mean(values)), score_interval(values, metric))


def _styles(lines: Iterable[str], numbers: Mapping[str, int]) -> dict[str, tuple[str, tuple[float, ...]]]:
    """The colour of each line's method; lines of one method in a panel differ in their dashes."""
    before = Counter[int]()
    styles = {}
    for name in lines:
        styles[name] = line_style(numbers[name], before[numbers[name]])
        before[numbers[name]] += 1
    return styles


@section("shots", "Few-shot curves", 25)
def shots(page: Page) -> dict[str, Any] | None:
    """Scores over numbers of training examples."""
    found = experiments(page.study)
    return {"experiments": [_shown(each) for each in found]} if found else None


def _shown(experiment: Experiment) -> dict[str, Any]:
    families, base = experiment.families(), experiment.base
    tables = [(_few(family.shots, experiment.axis, "No examples"), _table(experiment, family)) for family in families]
    return {"pictures": experiment.pictures(), "base": base.name if base else "", "families": tables}


def _few(shots: Shots, axis: str, none: str) -> str:
    return none if shots == 0 else "All rows" if shots == "full" else f"{shots} {axis}"


def _table(experiment: Experiment, family: Family) -> Table:
    base = experiment.base.name if experiment.base else ""
    rows = [
        Row(
            [
                cell(row.task),
                header(row.line),
                decimal(row.mean),
                decimal(row.base),
                *comparison(row.tested, published=True),
            ]
        )
        for row in family.rows
    ]
    few = _few(family.shots, experiment.axis, "untrained")
    caption = f"Test scores in per cent against {base}, {few[:1].lower()}{few[1:]}, frozen model in {experiment.dtype}"
    if family.hopeless:
        count = f"{len(rows)} comparison{'s' * (len(rows) > 1)}"
        caption += f"; with so few seeds for {count} no corrected p can reach 0.05, so read the intervals"
    heads = [
        *columns("Task", "Start or method", "Mean#", f"Mean of {base}#"),
        *comparison_columns("Difference", "Seeds", published=True),
    ]
    label = f"Differences to {base}, {family.shots}, {experiment.dtype}"
    return Table(f"differences-{family.shots}-{experiment.dtype}", caption, heads, [rows], "controls", label)


def experiments(study: Study) -> list[Experiment]:
    """What the store holds of few-shot curves: tasks trained on some examples and scored at another number of them too."""
    found = []
    every = [trial for run in study.runs for task in run.result.tasks if (trial := Trial.of(run, task)).own]
    for dtype in dict.fromkeys(trial.run.result.model.dtype for trial in every):
        trials = [trial for trial in every if trial.run.result.model.dtype == dtype]
        lines = without_probes(gather(trials), study.runs)
        few = [trial for trial in trials if trial.shots not in (0, "full")]
        metrics = {
            trial.task: trial.run.result.data[trial.task].headline
            for trial in few if len({k for line in lines for k in line.scores.get(trial.task, {})}) > 1
        }  # fmt: skip
        counted = {trial.per for trial in few}
        axis = "training examples" + ("" if len(counted) > 1 else " per class" if counted == {"class"} else " in total")
        if metrics:
            kept = tuple(line for line in lines if metrics.keys() & line.scores.keys())
            numbers = {line.name: study.numbers[line.label] for line in kept}
            found.append(Experiment(dtype, axis, metrics, kept, numbers))
    return found
