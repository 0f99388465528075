"""Addition of task vectors: what the sum of several tasks' vectors keeps of each of them (Task Prompt Vectors, figure 2).

    start = vocab_i + λ Σ_t v(t of seed i)      for the tasks t of a run that trains nothing

λ is chosen per set of tasks and seed by the mean validation score of its tasks, as published: the scales in rising order,
the first that is best, strictly better than 0; and 1 where none is. Test scores of the chosen sum stand against those of the
single prompts, of the same seed: relative performance = 100 sum / single. The same is done with controls in the place of the
sum: noise of its size, its rows shuffled, the sum of other tasks' vectors.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from markupsafe import Markup

from cpeft.report.bands import scale_curves
from cpeft.report.crossing import CONTROLS
from cpeft.report.plots import Curve
from cpeft.report.starts import Start, headline, origin_of, untrained
from cpeft.report.study import Study
from cpeft.report.tables import t_interval

Scales = dict[float, Start]  # runs of one set of tasks and seed, by scale
Sets = dict[tuple[str, ...], dict[int, Scales]]  # those of every set of tasks and seed


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
        return {seed: 100 * score / self.singles[seed] for seed, score in self.sums.items() if self.singles[seed] > 0}

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
class Control:
    """What `name` in the place of `sets` of the sums keeps of their tasks, and what those sums keep; seeds that have all."""

    name: str
    sets: int
    control: Relative
    sums: Relative


@dataclass(frozen=True)
class Addition:
    """The sums of one stage and dtype; `overall` is the mean over all tasks of all sums, over the seeds that have every one;
    `controls` are those of any stage that stand in the place of its sums; `picture` shows the validation score against the
    scale, None where there is one scale only."""

    stage: str
    dtype: str
    sums: tuple[Sum, ...]
    overall: Relative | None
    controls: tuple[Control, ...]
    picture: Markup | None


def additions(study: Study) -> list[Addition]:
    """Every stage that adds the vectors of all tasks of a run on their own origin, at one scale."""
    stages: dict[tuple[str, str], Sets] = {}
    controls: dict[tuple[str, str], Sets] = {}
    for start in untrained(study):
        result: dict[str, Any] = start.run.result
        kind = _kind(start)
        if kind is None or result["validation"] is None:
            continue
        dtype = result["model"]["dtype"]
        sets = controls.setdefault((kind, dtype), {}) if kind else stages.setdefault((result["stage"], dtype), {})
        sets.setdefault(start.tasks, {}).setdefault(result["seed"], {}).setdefault(start.vectors[0].scale, start)
    return [
        _addition(
            stage, dtype, sets, {kind: controls[kind, dtype] for kind in CONTROLS if (kind, dtype) in controls}, number
        )
        for number, ((stage, dtype), sets) in enumerate(stages.items(), 1)
    ]


def _kind(start: Start) -> str | None:
    """What was put on the origin: "" for the vectors of the run's tasks, a control by its name in CONTROLS, None for none."""
    vectors, tasks = start.vectors, sorted(vector.task for vector in start.vectors)
    if len(start.tasks) < 2 or len({vector.scale for vector in vectors}) != 1:
        return None
    if any(origin_of(vector.source) != start.origin for vector in vectors):
        return None
    controls = {vector.control for vector in vectors}
    if tasks == sorted(start.tasks) and len(controls) == 1:
        return controls.pop()
    return "task" if controls == {""} and not set(tasks) & set(start.tasks) else None


def _addition(stage: str, dtype: str, found: Sets, controls: Mapping[str, Sets], number: int) -> Addition:
    sums = tuple(_sum(tasks, dict(sorted(seeds.items()))) for tasks, seeds in found.items())
    curves = [_curve(seeds.values()) for seeds in found.values()]
    many = len({scale for curve in curves for scale, _ in curve}) > 1
    label = f"Mean validation score of {len(curves)} sums of task vectors against their scale, stage {stage}"
    picture = scale_curves(curves, f"addition-scales-{number}", label) if many else None
    overall = _overall([member.shares for each in sums for member in each.members])
    compared = [_control(CONTROLS[kind], sums, sets) for kind, sets in controls.items()]
    return Addition(stage, dtype, sums, overall, tuple(filter(None, compared)), picture)


def _overall(shares: Sequence[Mapping[int, float]]) -> Relative | None:
    """The mean of shares by seed, over the seeds that all have."""
    complete = sorted(set.intersection(*(set(values) for values in shares))) if shares else []
    return Relative.of(float(np.mean([values[seed] for values in shares])) for seed in complete)


def _control(name: str, sums: Sequence[Sum], found: Sets) -> Control | None:
    """The control of every sum that has one, its scale chosen as a sum's."""
    paired = []
    for each in sums:
        _, starts = _chosen(found.get(each.tasks, {}))
        for member in each.members if starts else ():
            scores = {
                seed: headline(start.run, member.task) for seed, start in starts.items() if seed in member.singles
            }
            paired.append((member.shares, replace(member, sums=scores).shares))
    of_sums = _overall([{seed: own[seed] for seed in control} for own, control in paired])
    of_control = _overall([control for _, control in paired])
    if of_sums is None or of_control is None:
        return None
    return Control(name, sum(each.tasks in found for each in sums), of_control, of_sums)


def _chosen(seeds: Mapping[int, Scales]) -> tuple[dict[int, float], dict[int, Start]]:
    """The scale of every seed, and the run at it."""
    chosen = {seed: choose({scale: start.run.result["validation"] for scale, start in scales.items()})
              for seed, scales in seeds.items()}  # fmt: skip
    return chosen, {seed: seeds[seed][scale] for seed, scale in chosen.items()}


def _sum(tasks: tuple[str, ...], seeds: Mapping[int, Scales]) -> Sum:
    chosen, starts = _chosen(seeds)
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
        task, about["headline"], {seed: headline(start.run, task) for seed, start in starts.items()},
        {seed: headline(source, task) for seed, source in sources.items()}, about["majority"],
    )  # fmt: skip


def _curve(seeds: Collection[Scales]) -> Curve:
    """(scale, validation score as the mean over seeds), at the scales that every seed has."""
    common = set.intersection(*(set(scales) for scales in seeds))
    return [
        (scale, float(np.mean([scales[scale].run.result["validation"] for scales in seeds])))
        for scale in sorted(common)
    ]
