"""Is one method better than another? Differences of matched units, and what they are a sample of.

    one task       unit = seed (or origin)     compare(): the claim is about this task
    several tasks  unit = task                 compare_tasks(): the claim is about tasks, a task counts once
    rows           unit = row                  the claim is about the trained prompts that answered them, and no others

Methods differ more on one task than on another, so the seeds of a task are alike: taken as independent units they call two
methods different that are equal over tasks. That is why a claim over tasks averages the seeds of each task first.

A p-value is the sign-flip permutation test's. It assumes that the units are independent and that equal methods could swap
their scores in any unit, nothing more; its least reachable value, 2 / 2^n, says at once when there are too few units. Tasks
that were trained in one run share the luck of that run, which no test over tasks can see.
"""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import TypeVar

import numpy as np
from scipy import special, stats

from cpeft.errors import NotComparable
from cpeft.seeds import generator
from cpeft.stats.intervals import SAME, Interval, deviates, t_interval

RESAMPLES = 1 << 14  # sign flips: exact up to 14 units
Unit = TypeVar("Unit", bound=Hashable)
Task, Seed = str, Hashable


@dataclass(frozen=True)
class Paired:
    """First method minus second, unit by unit; `of` names the units: seeds, origins, tasks.

    `t_interval` holds the mean difference with 95% confidence. `p` is two-sided, `least_p` the least value it can take with so
    many units that differ: the sign of a difference of 0 changes nothing. `hedges_g` is the mean over the deviation of the
    differences, without its bias in small samples; None where no difference deviates from the mean, and with two units, where
    the correction does not exist.
    """

    differences: tuple[float, ...]
    of: str
    t_interval: Interval
    p: float
    least_p: float
    hedges_g: float | None

    @property
    def units(self) -> int:
        return len(self.differences)

    @property
    def mean(self) -> float:
        return float(np.mean(self.differences))


def compare(first: Mapping[Unit, float], second: Mapping[Unit, float], of: str = "seeds") -> Paired:
    """Compare two methods over matched units that are independent of one another, called `of`: unit -> score.

    Raises NotComparable where a unit lacks its partner, with fewer than two units, or for a score that is no number.
    """
    _check_matched(first, second)
    d = np.array([first[unit] - second[unit] for unit in first], dtype=float)
    check(d, "two units with scores of both methods")
    n, moved = len(d), d[np.abs(d) > SAME]
    d_z = float(d.mean() / d.std(ddof=1)) if deviates(d) else None
    return Paired(
        differences=tuple(d.tolist()),
        of=of,
        t_interval=t_interval(d),
        p=_sign_flips(moved),
        least_p=min(1.0, 2.0 ** (1 - len(moved))) if 2 ** len(moved) <= RESAMPLES else 2 / (RESAMPLES + 1),
        hedges_g=None if d_z is None or n < 3 else d_z * _unbiasing(n - 1),
    )


def compare_tasks(first: Mapping[tuple[Task, Seed], float], second: Mapping[tuple[Task, Seed], float]) -> Paired:
    """Compare two methods over tasks: (task, seed) -> score. A unit is a task, its score the mean of its seeds.

    Raises NotComparable where a score lacks its partner, with fewer than two tasks, or for a score that is no number.
    """
    _check_matched(first, second)
    return compare(task_means(first), task_means(second), "tasks")


def task_means(scores: Mapping[tuple[Task, Seed], float]) -> dict[Task, float]:
    """The mean over seeds of every task."""
    by_task: dict[Task, list[float]] = {}
    for (task, _), score in scores.items():
        by_task.setdefault(task, []).append(score)
    return {task: float(np.mean(values)) for task, values in by_task.items()}


def mcnemar(first: Sequence[bool], second: Sequence[bool]) -> float:
    """McNemar's test, exact: the two-sided p-value that two systems are right equally often, from the same rows.

    Of the b + c rows that one alone gets right, b belong to the first; if both were equal, b ~ Binomial(b + c, 1/2). It speaks
    of these two systems, trained as they are, and of rows like these. Raises NotComparable where the rows are not the same.
    """
    if len(first) != len(second):
        raise NotComparable(f"the same rows are needed, not {len(first)} and {len(second)}")
    own = sum(a and not b for a, b in zip(first, second, strict=True))
    other = sum(b and not a for a, b in zip(first, second, strict=True))
    return float(stats.binomtest(own, own + other).pvalue) if own + other else 1.0


def check(values: np.ndarray, needed: str) -> None:
    """Raise NotComparable for fewer than two values, and for one that is no number."""
    if len(values) < 2:
        raise NotComparable(f"{len(values)} found where a comparison needs at least {needed}; run more seeds or tasks")
    if not np.isfinite(values).all():
        raise NotComparable("a score is infinite or no number; leave out the run that failed")


def _check_matched(first: Mapping[Unit, float], second: Mapping[Unit, float]) -> None:
    if lonely := first.keys() ^ second.keys():
        raise NotComparable(
            f"only one method has a score for {listed(lonely)}; run the other there too, or leave them out"
        )


def listed(units: Iterable[Hashable]) -> str:
    """The first five by name."""
    names = sorted(map(str, units))
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _sign_flips(d: np.ndarray) -> float:
    """P(|mean| >= observed) when the sign of every difference is a coin's."""
    if len(d) < 2:  # one coin, or none: either side is as far out
        return 1.0
    exact = 2 ** len(d) <= RESAMPLES
    signs_RN = _all_signs(len(d)) if exact else generator(0, "sign flips").choice([-1.0, 1.0], (RESAMPLES, len(d)))
    as_far = np.abs(signs_RN @ d) >= abs(d.sum()) * (1 - SAME)
    return float(as_far.mean() if exact else (1 + as_far.sum()) / (1 + RESAMPLES))


@cache
def _all_signs(n: int) -> np.ndarray:
    """Every pattern of `n` signs but for their mirror images, [2^(n - 1), n]."""
    return np.array([(1.0, *rest) for rest in product((1.0, -1.0), repeat=n - 1)])


def _unbiasing(df: int) -> float:
    """Hedges' exact correction: Gamma(df/2) / (sqrt(df/2) Gamma((df - 1)/2)), near 1 - 3 / (4 df - 1)."""
    return float(np.exp(special.gammaln(df / 2) - special.gammaln((df - 1) / 2)) / np.sqrt(df / 2))
