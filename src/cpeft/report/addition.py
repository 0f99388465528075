"""Addition of task vectors: what the sum of several tasks' vectors keeps of each of them (Task Prompt Vectors, figure 2).

    start = vocab_i + λ Σ_t v(t of seed i)      for the tasks t of a run that trains nothing

λ is chosen per set of tasks and seed by the mean validation score of its tasks, as published: the scales in rising order,
the first that is best, strictly better than 0; and 1 where none is. Test scores of the chosen sum stand against those of the
single prompts, of the same seed: relative performance = 100 sum / single.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup

from cpeft.report.bands import scale_curves
from cpeft.report.plots import Curve
from cpeft.report.starts import Start, headline, origin_of, untrained
from cpeft.report.study import Study
from cpeft.report.tables import t_interval

Scales = dict[float, Start]  # runs of one set of tasks and seed, by scale


@dataclass(frozen=True)
class Relative:
    """Relative performance over seeds: mean, Student's t interval (None of one seed), seeds."""

    mean: float
    interval: tuple[float, float] | None
    seeds: int

    @classmethod
    def of(cls, values: Iterable[float]) -> "Relative | None":
        listed = list(values)
        return cls(float(np.mean(listed)), t_interval(listed), len(listed)) if listed else None


@dataclass(frozen=True)
class Member:
    """One task of a sum: test scores in per cent by seed, of the sum and of the task's own prompt."""

    task: str
    metric: str
    sums: Mapping[int, float]
    singles: Mapping[int, float]
    majority: float | None

    @property
    def sum(self) -> float:
        """Mean over seeds."""
        return float(np.mean(list(self.sums.values())))

    @property
    def single(self) -> float:
        return float(np.mean(list(self.singles.values())))

    @property
    def shares(self) -> dict[int, float]:
        """100 sum / single by seed, without seeds whose single prompt scores nothing."""
        return {seed: 100 * self.sums[seed] / single for seed, single in self.singles.items() if single > 0}

    @property
    def relative(self) -> Relative | None:
        return Relative.of(self.shares.values())


@dataclass(frozen=True)
class Sum:
    """A set of tasks whose vectors were added: the chosen scale of every seed, and the tasks' scores."""

    tasks: tuple[str, ...]
    chosen: Mapping[int, float]
    members: tuple[Member, ...]


@dataclass(frozen=True)
class Addition:
    """The sums of one stage and dtype; `overall` is the mean over all tasks of all sums, over the seeds that have every one;
    `picture` shows the validation score against the scale, None where there is one scale only."""

    stage: str
    dtype: str
    sums: tuple[Sum, ...]
    overall: Relative | None
    picture: Markup | None


def additions(study: Study) -> list[Addition]:
    """Every stage that adds the vectors of all tasks of a run on their own origin, at one scale."""
    stages: dict[tuple[str, str], dict[tuple[str, ...], dict[int, Scales]]] = {}
    for start in untrained(study):
        result: dict[str, Any] = start.run.result
        if _adds(start) and result["validation"] is not None:
            of_tasks = stages.setdefault((result["stage"], result["model"]["dtype"]), {}).setdefault(start.tasks, {})
            of_tasks.setdefault(result["seed"], {}).setdefault(start.vectors[0].scale, start)
    return [_addition(*key, sums, f"addition-scales-{number}") for number, (key, sums) in enumerate(stages.items(), 1)]


def _adds(start: Start) -> bool:
    return len(start.tasks) > 1 and (
        sorted(vector.task for vector in start.vectors) == sorted(start.tasks)
        and len({vector.scale for vector in start.vectors}) == 1
        and all(not vector.control and origin_of(vector.source) == start.origin for vector in start.vectors)
    )


def _addition(stage: str, dtype: str, found: Mapping[tuple[str, ...], dict[int, Scales]], name: str) -> Addition:
    sums = tuple(_sum(tasks, dict(sorted(seeds.items()))) for tasks, seeds in found.items())
    shares = [member.shares for each in sums for member in each.members]
    complete = sorted(set.intersection(*(set(values) for values in shares)))
    overall = Relative.of(float(np.mean([values[seed] for values in shares])) for seed in complete)
    curves = [_curve(seeds.values()) for seeds in found.values()]
    many = len({scale for curve in curves for scale, _ in curve}) > 1
    label = f"Mean validation score of {len(curves)} sums of task vectors against their scale, stage {stage}"
    return Addition(stage, dtype, sums, overall, scale_curves(curves, name, label) if many else None)


def _sum(tasks: tuple[str, ...], seeds: Mapping[int, Scales]) -> Sum:
    chosen = {seed: choose({scale: start.run.result["validation"] for scale, start in scales.items()})
              for seed, scales in seeds.items()}  # fmt: skip
    starts = {seed: seeds[seed][scale] for seed, scale in chosen.items()}
    return Sum(tasks, chosen, tuple(_member(task, starts) for task in tasks))


def choose(validation: Mapping[float, float]) -> float:
    """The scale with the best validation score by the published rule; where none beats 0 it is 1, or the largest there is."""
    best, chosen = 0.0, 1.0 if 1.0 in validation else max(validation)
    for scale, score in sorted(validation.items()):
        if score > best:
            best, chosen = score, scale
    return chosen


def _member(task: str, starts: Mapping[int, Start]) -> Member:
    about = next(iter(starts.values())).run.result["data"][task]
    sources = {
        seed: next(vector.source for vector in start.vectors if vector.task == task) for seed, start in starts.items()
    }
    return Member(
        task, about["headline"], {seed: start.score(task) for seed, start in starts.items()},
        {seed: headline(source, task) for seed, source in sources.items()}, about["majority"],
    )  # fmt: skip


def _curve(seeds: Collection[Scales]) -> Curve:
    """(scale, validation score as the mean over seeds), at the scales that every seed has."""
    common = set.intersection(*(set(scales) for scales in seeds))
    return [
        (scale, float(np.mean([scales[scale].run.result["validation"] for scales in seeds])))
        for scale in sorted(common)
    ]
