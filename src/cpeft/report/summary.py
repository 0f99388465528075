"""The table of a store: mean, standard deviation, interval and number of seeds per task, metric and method.

Every metric that a task names has its rows; those of the headline, the first, stand first.
The interval is Student's t over seeds where there are at least two (it holds the spread of training), else the bootstrap
over test rows of the one run (it does not, and is marked `rows`). Standard deviations have n - 1 in the denominator. Runs of
different dtypes never share a cell.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
import pandas as pd

from cpeft.metrics import METRICS
from cpeft.metrics.base import Scale
from cpeft.report.frame import score_frame, without_choice
from cpeft.report.render.numbers import EMPTY, cell, columns, decimal, fixed, header
from cpeft.report.render.table import Cell, Row, Table
from cpeft.report.study import Run, distinct
from cpeft.stats import intervals

UNKNOWN = Scale(low=-math.inf, high=math.inf)  # of a metric that is not registered here
KEY = ["task", "stage", "method", "metric", "dtype"]
NOTE = (
    "95% interval: Student's t over seeds; marked `rows`: bootstrap over the test rows of one run (Wilson's where all of them "
    "are right, or all wrong). Majority class: the best constant answer on the test rows."
)


@dataclass(frozen=True)
class MethodScore:
    """One task, metric and method over seeds; `kind` says where the interval comes from: `seeds`, `rows`, or `fixed` for a
    constant. `values` are in the order of the runs, `by_seed` has (seed, value, run id) in rising order."""

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
    by_seed: tuple[tuple[int, float, str], ...] = ()

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

    @property
    def seeds_text(self) -> str:
        """Every seed and the interval in words."""
        values = "".join(f"seed {seed}: {fixed(value)}, " for seed, value, _ in self.by_seed)
        return values + ("one and the same value" if self.same else f"interval {self.low:.1f} to {self.high:.1f}")


def summarise(runs: Sequence[Run]) -> list[MethodScore]:
    """One score per task, stage, method and dtype for every metric of the task, and for the closed-choice forms of the headline
    where they were asked for, with a `majority class` score per task. The headline's come first in each task."""
    frame = score_frame(runs)
    headlines = frame[frame["headline"]]
    known = set(zip(headlines["task"], headlines["metric"], strict=True))
    pairs = list(zip(frame["task"], frame["metric"], strict=True))
    shown = [metric == (plain := without_choice(metric)) or (task, plain) in known for task, metric in pairs]
    found = [_score(rows) for _, rows in frame[shown].groupby(KEY, sort=False)]
    for (task, metric), bar in constants(runs).items():
        found.append(MethodScore(task, "", "majority class", metric, "", (bar,), bar, bar, "fixed", 0))
    tasks, metrics = distinct(frame["task"]), distinct(pairs)
    return sorted(found, key=lambda s: (tasks.index(s.task), metrics.index((s.task, s.metric)), s.kind != "fixed"))


def constants(runs: Sequence[Run]) -> dict[tuple[str, str], float]:
    """The best constant answer's score by task and headline metric; the best of several where limits of test rows differ."""
    found: dict[tuple[str, str], list[float]] = {}
    for run in runs:
        for task, about in run.result.data.items():
            if about.majority is not None:
                found.setdefault((task, about.headline), []).append(about.majority)
    return {key: scale_of(key[1]).best(bars) for key, bars in found.items()}


def at_chance(value: float, constant: float, metric: str) -> bool:
    """Whether a score does not beat the best constant answer; nor does NaN."""
    return not (value > constant if scale_of(metric).higher_is_better else value < constant)


def _score(rows: pd.DataFrame) -> MethodScore:
    """The score of one method on one task, of the rows of its runs."""
    values, first = tuple(rows["value"].tolist()), rows.iloc[0]
    key: dict[str, Any] = {name: first[name] for name in KEY}
    interval, kind = score_interval(values, str(first["metric"])), "seeds"
    if interval is None:
        interval, kind = (float(first["low"]), float(first["high"])), "rows"
    trainable = None if pd.isna(first["trainable"]) else int(first["trainable"])
    by_seed = sorted(zip(rows["seed"].tolist(), values, rows["run_id"].tolist(), strict=True))
    low, high = interval
    return MethodScore(**key, values=values, low=low, high=high, kind=kind, trainable=trainable, by_seed=tuple(by_seed))


def score_interval(values: Sequence[float], metric: str) -> tuple[float, float] | None:
    """`t_interval` of scores, inside the range of the metric."""
    if (interval := t_interval(values)) is None:
        return None
    scale = scale_of(metric)
    return max(interval[0], scale.low), min(interval[1], scale.high)


def scale_of(metric: str) -> Scale:
    """The scale of a metric, however the answers were taken."""
    plain = without_choice(metric)
    return METRICS.get(plain) if plain in METRICS else UNKNOWN


def t_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """Student's t interval of the mean; None of a single value, which says nothing of the spread."""
    return intervals.t_interval(values) if len(values) > 1 else None


NUMBERS = ("mean#", "sd#", "95% interval#", "seeds#", "trained#")


def score_table(scores: Sequence[MethodScore]) -> Table:
    """The table that `cpeft run` keeps, with the score of every run in the last column."""
    titles = ("task", "stage", "method", "metric", "dtype", *NUMBERS, "every seed")
    bodies = [[Row(_cells(each)) for each in of_task] for _, of_task in groupby(scores, lambda each: each.task)]
    return Table("scores", "", columns(*titles), bodies, notes=[NOTE])


def _cells(each: MethodScore) -> list[Cell]:
    texts = (each.task, each.stage, each.method, each.metric, each.dtype)
    every = "" if each.kind == "fixed" else " ".join(map(fixed, each.values))
    return [*map(cell, texts), *_numbers(each), cell(every)]


def _numbers(each: MethodScore) -> list[Cell]:
    seeds = "" if each.kind == "fixed" else each.seeds
    trained = "" if each.trainable is None else f"{each.trainable:,}"
    return [decimal(each.mean), decimal(each.deviation), cell(each.interval), cell(seeds), cell(trained)]


def terminal_table(scores: Sequence[MethodScore], title: str) -> Table:
    """The table that `cpeft run` prints, for terminals of 80 columns: a group of rows for each task and metric, closed choices
    beside free answers. What all runs share is in the title: the model's number format, the number of seeds, and of trained
    parameters."""
    runs = [each for each in scores if each.kind != "fixed"]
    dtypes, seeds, trained = ({getattr(each, key) for each in runs} for key in ("dtype", "seeds", "trainable"))
    shared, left_out = [title], set()
    if len(dtypes) == 1:
        shared += [f"frozen model in {dtype}" for dtype in dtypes]
    if len(seeds) == 1:
        shared += [f"{count} seed{'s' * (count > 1)} each" for count in seeds]
        left_out |= {"seeds#"} | ({"sd#"} if seeds == {1} else set())
    if len(trained) == 1:
        shared += [f"{count:,} trained parameters each" for count in trained if count is not None]
        left_out.add("trained#")
    kept = [place for place, name in enumerate(NUMBERS) if name not in left_out]
    bodies = []
    for task, metric in distinct((each.task, without_choice(each.metric)) for each in scores):
        group = [each for each in scores if (each.task, without_choice(each.metric)) == (task, metric)]
        rows = [
            Row([cell(_name(each, metric, len(dtypes) > 1)), *(_numbers(each)[place] for place in kept)])
            for each in group
        ]
        bodies.append([Row([header(f"{task}, {metric}"), *[EMPTY] * len(kept)]), *rows])
    heads = columns("method", *(NUMBERS[place] for place in kept))
    return Table("scores", ", ".join(shared), heads, bodies, notes=[NOTE])


def _name(each: MethodScore, metric: str, with_dtype: bool) -> str:
    """The method, with its stage in front unless they have the same name, and how answers were taken unless freely."""
    named = each.method if each.stage in ("", each.method) else f"{each.stage}: {each.method}"
    way = each.metric.removesuffix(metric).rstrip("_")
    named = ", ".join(filter(None, [named, way]))
    return f"{named} ({each.dtype})" if with_dtype and each.dtype else named
