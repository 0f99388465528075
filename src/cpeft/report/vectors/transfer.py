"""The report's transfer map: which source helps which target, as observed and as similarity predicts it.

    gain(source, target) = mean over seeds of  score(target from source) − score(target from nothing)
    predicted(source, target) = mean over seeds of  similarity(source's prompt, target's own prompt)

A run starts from a source if its `prompt.init` is one reference, and from nothing if it has no reference; two such runs of one
stage, task, seed and dtype are twins if they differ in nothing else. The target's own prompt is that of the twin from nothing,
the source's prompt is the start of the other; a comparison finds both by the hash of their rows. SPoT (Vu et al. 2022) predicts
by the similarity of prompts; task vectors (Belanec et al. 2024) leave out the origin that prompts share.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import product
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from cpeft.prompts.formula.parse import parse_prompt
from cpeft.prompts.formula.tree import Name
from cpeft.report.render.drawing import INK, Key, Panel, Picture, point_style
from cpeft.report.render.numbers import EMPTY, cell, columns, header
from cpeft.report.render.table import Cell, Part, Row, Table
from cpeft.report.section import Page, section
from cpeft.report.study import Run, Study, distinct
from cpeft.report.vectors.starts import score
from cpeft.stats.correlation import rank_correlation
from cpeft.stats.intervals import Interval, t_interval

INIT = "prompt.init"
PREDICTORS = {  # what is compared, and the measure
    "task vectors (cosine of the flattened matrices)": ("vectors", "flattened"),
    "prompts (cosine of the token means, as in SPoT)": ("prompts", "token_mean"),
}
Point = tuple[float, float, Interval | None]  # similarity, gain and its interval
FEWEST = 4  # pairs that can be ranked and are drawn


class TransferTrial(NamedTuple):
    """A run that started from a source, beside its twin that started from nothing; `predicted` by predictor."""

    group: tuple[str, str]  # stage and label of the twin
    source: str
    target: str
    metric: str
    seed: int
    gain: float
    predicted: dict[str, float | None]


@dataclass(frozen=True)
class TransferPair:
    """A source and a target over seeds."""

    trials: tuple[TransferTrial, ...]

    @cached_property
    def gains(self) -> list[float]:
        """One per seed; the mean where a store holds several trials of a seed, made from older sources."""
        seeds = sorted({trial.seed for trial in self.trials})
        return [float(np.mean([trial.gain for trial in self.trials if trial.seed == seed])) for seed in seeds]

    @property
    def gain(self) -> float:
        return float(np.mean(self.gains))

    @cached_property
    def interval(self) -> Interval | None:
        """95% by Student's t over seeds; None for one seed."""
        return t_interval(self.gains) if len(self.gains) > 1 else None

    @cached_property
    def predicted(self) -> list[float | None]:
        """In the order of `PREDICTORS`; None where the two prompts were not compared."""
        known = [[x for trial in self.trials if (x := trial.predicted[name]) is not None] for name in PREDICTORS]
        return [float(np.mean(values)) if values else None for values in known]


class Ranked(NamedTuple):
    """Spearman's correlation of predicted and observed gains over `pairs`, with its permutation p over sources; None where
    `why` says so."""

    predictor: str
    pairs: int
    rho: float | None = None
    p: float | None = None
    why: str = ""


@section("transfer", "Transfer", 130)
def transfer(page: Page) -> dict[str, Any] | None:
    """A map for every stage and way to start from nothing in which some pair of prompts was compared."""
    trials = list(_trials(page.study)) if page.study.comparisons else []
    maps: list[dict[str, Any]] = []
    for group in distinct(trial.group for trial in trials):
        mine = [trial for trial in trials if trial.group == group]
        if any(value is not None for trial in mine for value in trial.predicted.values()):
            maps.append(_map(mine, f"transfer-{len(maps)}"))
    return {"maps": maps} if maps else None


def _trials(study: Study) -> Iterator[TransferTrial]:
    fresh: dict[Any, list[Run]] = {}
    started: list[tuple[Run, str]] = []
    for run in study.runs:
        init = parse_prompt(json.loads(run.settings.get(INIT, '"vocab"')))
        if isinstance(init.tree, Name):
            started.append((run, init.tree.value.partition("@")[0]))
        elif not init.names:
            fresh.setdefault(_but_for_init(run), []).append(run)
    for run, source in started:
        for twin, (task, about) in product(fresh.get(_but_for_init(run), ()), run.result.data.items()):
            metric = about.headline
            gain = score(run, task, metric) - score(twin, task, metric)
            predicted = _predicted(study, run.prompt_hash(task, origin=True), twin.prompt_hash(task))
            yield TransferTrial(twin.group, source, task, metric, run.result.seed, gain, predicted)


def _but_for_init(run: Run) -> tuple[Any, ...]:
    """What twins have in common."""
    result, other = run.result, frozenset((key, value) for key, value in run.settings.items() if key != INIT)
    return result.stage, result.tasks, result.seed, result.model.dtype, other


def _predicted(study: Study, source: str, own: str) -> dict[str, float | None]:
    """By the first comparison that holds both prompts, given by their hashes."""
    return {
        name: next((x for each in study.comparisons if (x := each.similarity(*asked, source, own)) is not None), None)
        for name, asked in PREDICTORS.items()
    }


def _map(trials: Sequence[TransferTrial], name: str) -> dict[str, Any]:
    """Targets × sources, their ranks, and a picture of the first predictor."""
    sources, targets = (distinct(getattr(trial, field) for trial in trials) for field in ("source", "target"))
    pairs = {
        (target, source): TransferPair(found)
        for target, source in product(targets, sources)
        if (found := tuple(t for t in trials if (t.target, t.source) == (target, source)))
    }
    one_stage = len({source.partition("/")[0] for source in sources}) == 1
    metrics = {trial.target: trial.metric for trial in trials}
    (stage, base), shown = trials[0].group, [source.partition("/")[2] if one_stage else source for source in sources]
    rows = [
        Row(
            [
                header(target, Part(metrics[target], "small")),
                *(_pair_cell(pairs.get((target, source))) for source in sources),
            ]
        )
        for target in targets
    ]
    caption = (
        "Gain in points of each target (row) from each source (column), with its interval over seeds; below it how alike they "
        f"are: {' · '.join(PREDICTORS)}"
    )
    label = f"Gains over {base}, stage {stage}"
    return {
        "group": trials[0].group,
        "pairs": pairs,
        "table": Table(
            name.replace("transfer", "gains"), caption, columns("Target", *shown), [rows], "transfer", label
        ),
        "ranks": [rank(i, pairs) for i in range(len(PREDICTORS))],
        "picture": _picture(pairs, targets, name),
    }


def _pair_cell(pair: TransferPair | None) -> Cell:
    if pair is None:
        return EMPTY
    bounds = pair.interval
    kind = "even" if bounds is None else "right" if bounds.low > 0 else "wrong" if bounds.high < 0 else "even"
    ends = "1 seed" if bounds is None else f"{_gain(bounds.low)} to {_gain(bounds.high)}, {len(pair.gains)} seeds"
    alike = " · ".join("–" if value is None else _number(value, ".2f") for value in pair.predicted)
    return cell(Part(_gain(pair.gain), kind), Part(ends, "small"), Part(alike, "similarity"))._replace(sort=pair.gain)


def _gain(value: float) -> str:
    return _number(value, "+.1f")


def _number(value: float, form: str) -> str:
    """Rounded, without a negative zero."""
    places = int(form[-2])
    return format(round(value, places) + 0, form).replace("-", "−")


def rank(predictor: int, pairs: Mapping[tuple[str, str], TransferPair]) -> Ranked:
    """Do gains rise with what the predictor of this number says? `pairs` by target and source."""
    name = list(PREDICTORS)[predictor]
    known = {
        (source, target): (x, pair.gain)
        for (target, source), pair in pairs.items()
        if (x := pair.predicted[predictor]) is not None
    }
    if len(known) < FEWEST:
        return Ranked(name, len(known), why=f"too few pairs, {FEWEST} are the least")
    return Ranked(name, len(known), *rank_correlation(known))


def _picture(pairs: Mapping[tuple[str, str], TransferPair], targets: Sequence[str], name: str) -> Picture | None:
    """Gain over the similarity that the first predictor goes by, with a legend of targets."""
    groups: dict[int, list[Point]] = {}
    for (target, _), pair in pairs.items():
        if (x := pair.predicted[0]) is not None:
            groups.setdefault(targets.index(target), []).append((x, pair.gain, pair.interval))
    if sum(map(len, groups.values())) < FEWEST:
        return None
    title = "Gain over similarity: every point is a source and a target, bars are intervals over seeds"
    label = f"gain in points over cosine of the task vectors, {sum(map(len, groups.values()))} pairs"
    keys = [Key(targets[index], point_style(index)[0], marker=point_style(index)[1]) for index in groups]
    return Picture(name, label, [Panel(title, label, partial(_scatter, groups=groups))], keys, (302, 202))


def _scatter(axes: Axes, groups: Mapping[int, Sequence[Point]]) -> None:
    """Points with their intervals, the zero line among them."""
    axes.axhline(0, color=INK, linewidth=0.8, dashes=(2, 2))
    for index, points in groups.items():
        colour, marker = point_style(index)
        for x, y, interval in points:
            if interval:
                axes.plot([x, x], interval, color=colour, linewidth=1.6, alpha=0.35)
            axes.plot([x], [y], marker, color=colour, markersize=5.5, markeredgewidth=0)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.set_xlabel("cosine of the task vectors")
    axes.set_ylabel("gain in points")
