"""Addition of task vectors: what the sum of several tasks' vectors keeps of each of them (Task Prompt Vectors, figure 2).

    start = vocab_i + λ Σ_t v(t of seed i)      for the tasks t of a run that trains nothing

λ is chosen per set of tasks and seed by the mean validation score of its tasks, as published: the scales in rising order,
the first that is best, strictly better than 0; and 1 where none is. Test scores of the chosen sum stand against those of the
single prompts, of the same seed: relative performance = 100 sum / single. The same is done with controls in the place of the
sum: noise of its size, its rows shuffled, the sum of other tasks' vectors. What one task keeps in one sum rests on its seeds;
what sums keep in general, and more than controls, on tasks: each counts once, as the mean of its sums and seeds. Sums share
tasks, so what depends on the partner of a task is a little alike in all of them and not covered.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from cpeft.report.render.drawing import COLOURS, Curve, Panel, Picture
from cpeft.report.same_rows import score_together
from cpeft.report.study import Run, Study
from cpeft.report.summary import t_interval
from cpeft.report.vectors.crossing import CONTROLS
from cpeft.report.vectors.scales import Search
from cpeft.report.vectors.starts import Asked, Start, metric_of, origin_of, untrained
from cpeft.stats.corrected_tests import Tested, judged
from cpeft.stats.paired import Paired, compare, task_means

Found = dict[tuple[str, ...], dict[int, dict[float, Start]]]  # by set of tasks, seed and scale
Sets = dict[tuple[str, ...], dict[int, Search]]
Shares = Mapping[int, float]  # 100 sum / single by seed


@dataclass(frozen=True)
class Relative:
    """Relative performance over units, seeds of one task or tasks: mean, Student's t interval (None of one unit), units."""

    mean: float
    interval: tuple[float, float] | None
    units: int

    @classmethod
    def of(cls, values: Iterable[float]) -> "Relative | None":
        listed = list(values)
        return cls(float(np.mean(listed)), t_interval(listed), len(listed)) if listed else None


@dataclass(frozen=True)
class SummedTask:
    """One task of a sum: test scores in per cent by seed, of the sum and of the task's own prompt, on the `shared` rows of
    both (None: each on its own); `rows` says how many test rows each had."""

    task: str
    metric: str
    sums: Mapping[int, float]
    singles: Mapping[int, float]
    majority: float | None
    rows: tuple[int, ...]
    shared: int | None

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
class VectorSum:
    """A set of tasks whose vectors were added: the chosen scale of every seed, and the tasks' scores."""

    tasks: tuple[str, ...]
    chosen: Mapping[int, float]
    members: tuple[SummedTask, ...]


@dataclass(frozen=True)
class Control:
    """What `name` in the place of `sets` of the sums keeps of their tasks, and what those sums keep, as means over tasks, both
    at the best of the scales that both have and of the same seeds. `difference` is sums minus control, paired over tasks (None
    of one task), and `tested` that among the controls of its table. `same` is False where the two, or the single prompts, had
    other test rows."""

    name: str
    sets: int
    control: Relative
    sums: Relative
    same: bool
    difference: Paired | None
    tested: Tested | None = None


@dataclass(frozen=True)
class Addition:
    """The sums of one stage and dtype; `by_task` is what each task keeps, as the mean of its sums and seeds;
    `controls` are those of any stage that stand in the place of its sums; `picture` shows the validation score against the
    scale, None where there is one scale only. `asked` is False where some scale was chosen by the first metrics instead of
    those that are asked for."""

    stage: str
    dtype: str
    sums: tuple[VectorSum, ...]
    by_task: Mapping[str, float]
    controls: tuple[Control, ...]
    picture: Picture | None
    asked: bool

    @property
    def overall(self) -> Relative | None:
        """Over tasks."""
        return Relative.of(self.by_task.values())


def additions(study: Study, asked: Asked = lambda _: "") -> list[Addition]:
    """Every stage that adds the vectors of all tasks of a run on their own origin, at one scale, by the metrics that are asked
    for."""
    stages: dict[tuple[str, str], Found] = {}
    controls: dict[tuple[str, str], Found] = {}
    for start in untrained(study):
        result = start.run.result
        kind = _kind(start)
        if kind is None or result.validation is None:
            continue
        dtype = result.model.dtype
        sets = controls.setdefault((kind, dtype), {}) if kind else stages.setdefault((result.stage, dtype), {})
        sets.setdefault(start.tasks, {}).setdefault(result.seed, {}).setdefault(start.vectors[0].scale, start)
    found = []
    for number, ((stage, dtype), sets) in enumerate(stages.items(), 1):
        beside = {kind: _searched(controls[kind, dtype], asked) for kind in CONTROLS if (kind, dtype) in controls}
        found.append(_addition(stage, dtype, _searched(sets, asked), beside, number, asked))
    return found


def _searched(found: Found, asked: Asked) -> Sets:
    return {tasks: {seed: Search.of(seeds[seed], asked) for seed in sorted(seeds)} for tasks, seeds in found.items()}


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


def _addition(stage: str, dtype: str, found: Sets, controls: Mapping[str, Sets], number: int, asked: Asked) -> Addition:
    sums = tuple(_sum(tasks, seeds, asked) for tasks, seeds in found.items())
    curves = [_curve(seeds.values()) for seeds in found.values()]
    many = len({scale for curve in curves for scale, _ in curve}) > 1
    picture = _scales(curves, f"addition-scales-{number}", stage) if many else None
    by_task = _by_task([(member.task, member.shares) for each in sums for member in each.members])
    compared = [_control(CONTROLS[kind], found, sets, asked) for kind, sets in controls.items()]
    by_asked = all(search.asked for seeds in found.values() for search in seeds.values())
    return Addition(stage, dtype, sums, by_task, _judged([each for each in compared if each]), picture, by_asked)


def _judged(controls: Sequence[Control]) -> tuple[Control, ...]:
    """The controls of a table as one family."""
    tested = iter(judged([each.difference for each in controls if each.difference]))
    return tuple(replace(each, tested=next(tested)) if each.difference else each for each in controls)


def _by_task(shares: Iterable[tuple[str, Shares]]) -> dict[str, float]:
    """The mean share of every task over its sums, each of them the mean of its seeds."""
    return task_means({(task, place): float(np.mean(list(of_sum.values())))
                       for place, (task, of_sum) in enumerate(shares) if of_sum})  # fmt: skip


def _control(name: str, sums: Sets, found: Sets, asked: Asked) -> Control | None:
    """The control of every sum that has one."""
    kept: tuple[list[tuple[str, Shares]], list[tuple[str, Shares]]] = [], []
    same, both = True, [tasks for tasks in sums if tasks in found]
    for tasks in both:
        pairs = _at_common_scales(found[tasks], sums[tasks])
        for task in tasks if pairs else ():
            shares: tuple[dict[int, float], dict[int, float]] = {}, {}
            for seed, (control, own) in pairs.items():
                runs = [control.run, own.run, _source(own, task)]
                scores = score_together(runs, task, metric_of(runs, task, asked(task)))
                same, single = same and scores.shared is not None, scores.values[2]
                for part, value in zip(shares, scores.values[:2], strict=True):
                    part.update({seed: 100 * value / single} if single > 0 else {})
            for rows, found_shares in zip(kept, shares, strict=True):
                rows.append((task, found_shares))
    means = [_by_task(part) for part in kept]
    of_control, of_sums = (Relative.of(each.values()) for each in means)
    if of_control is None or of_sums is None:
        return None
    difference = compare(means[1], means[0], "tasks") if len(means[0]) > 1 else None
    return Control(name, len(both), of_control, of_sums, same, difference)


def _at_common_scales(controls: Mapping[int, Search], sums: Mapping[int, Search]) -> dict[int, tuple[Start, Start]]:
    """By seed the control and the sum, each at the best of the scales that both have: the best of more is better by chance."""
    pairs = {}
    for seed in sums.keys() & controls.keys():
        control, own = controls[seed], sums[seed]
        if common := control.starts.keys() & own.starts.keys():
            pairs[seed] = control.starts[control.chosen(common)], own.starts[own.chosen(common)]
    return pairs


def _source(start: Start, task: str) -> Run:
    """The run of the task's own prompt."""
    return next(vector.source for vector in start.vectors if vector.task == task)


def _sum(tasks: tuple[str, ...], searches: Mapping[int, Search], asked: Asked) -> VectorSum:
    chosen = {seed: search.chosen(search.starts) for seed, search in searches.items()}
    starts = {seed: searches[seed].starts[scale] for seed, scale in chosen.items()}
    return VectorSum(tasks, chosen, tuple(_member(task, starts, asked(task)) for task in tasks))


def _member(task: str, starts: Mapping[int, Start], asked: str) -> SummedTask:
    runs = {seed: [start.run, _source(start, task)] for seed, start in starts.items()}
    metric = metric_of([run for pair in runs.values() for run in pair], task, asked)
    scores = {seed: score_together(pair, task, metric) for seed, pair in runs.items()}
    about, one = next(iter(starts.values())).run.result.data[task], next(iter(scores.values()))
    return SummedTask(
        task, metric, {seed: both.values[0] for seed, both in scores.items()},
        {seed: both.values[1] for seed, both in scores.items()}, about.majority if metric == about.headline else None,
        one.rows, one.shared if all(both.shared is not None for both in scores.values()) else None,
    )  # fmt: skip


def _curve(seeds: Collection[Search]) -> Curve:
    """(scale, validation score as the mean over seeds), at the scales that every seed has."""
    common = set.intersection(*(set(search.validation) for search in seeds))
    return [(scale, float(np.mean([search.validation[scale] for search in seeds]))) for scale in sorted(common)]


def _scales(curves: Sequence[Curve], name: str, stage: str) -> Picture:
    label = f"Mean validation score of {len(curves)} sums of task vectors against their scale, stage {stage}"
    title = (
        f"Stage {stage}: mean validation score by scale; thin lines are sums as means over seeds, "
        "the thick line is the mean of all"
    )
    return Picture(name, label, [Panel(title, label, partial(draw_scales, curves=curves))], size=(245, 151))


def draw_scales(axes: Axes, curves: Sequence[Curve]) -> None:
    """(scale, score) of every sum, and their mean at the scales that all have."""
    tables = [dict(curve) for curve in curves]
    common = sorted(set.intersection(*(set(table) for table in tables)))
    for table in tables:
        axes.plot(list(table), list(table.values()), color=COLOURS[0], linewidth=0.7, alpha=0.5)
    means = [np.mean([table[scale] for table in tables]) for scale in common]
    axes.plot(common, means, color=COLOURS[0], linewidth=1.8, marker="o" if len(common) <= 12 else "", markersize=3.5)
    axes.yaxis.set_major_locator(MaxNLocator(5))
    if len(common) <= 6:
        axes.set_xticks(common)
    axes.set_xlabel("scale of the summed vectors")
    axes.set_ylabel("mean validation score")
