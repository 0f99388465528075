"""Is one method better than another? Paired comparisons, families of tests, and what rounded summaries allow.

Runs of two methods that share a task, seed or origin are compared as differences of matched units. A p-value is the
sign-flip permutation test's: it assumes only that equal methods could swap their scores in any unit, and its least reachable
value, 2 / 2^n, says at once when there are too few units. Families are corrected by Holm (1979); many methods on many tasks
are ranked by Friedman's test with Nemenyi's critical difference (Demšar 2006).

Published tables give means and deviations rounded to one decimal. `published_t_test` is the test the task prompt vectors
study ran on them; `judge_rounded` asks whether its verdict holds for every score that rounds to what is printed.
"""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, TypeVar

import numpy as np
from scipy import special, stats

from cpeft.errors import NotComparable
from cpeft.seeds import generator

LEVEL = 0.95  # of intervals
ALPHA = 0.05
RESAMPLES = 1 << 14  # sign flips: exact up to 14 units
SAME = 1e-9  # differences up to this are rounding
HALF = 0.05  # half a unit of the one decimal that published tables print
Unit = TypeVar("Unit", bound=Hashable)


class Interval(NamedTuple):
    low: float
    high: float


class Verdict(StrEnum):
    SIGNIFICANT = "significant"
    ROUNDING = "depends on rounding"
    NOT = "not significant"
    CANNOT = "cannot be judged"


@dataclass(frozen=True)
class Paired:
    """First method minus second, unit by unit.

    `t_interval` and `bootstrap` (BCa) hold the mean difference with 95% confidence; below some ten units the bootstrap is too
    narrow and the t interval the one to quote. `p` is two-sided, `least_p` the least value it can take with so many units that
    differ: the sign of a difference of 0 changes nothing. `d_z` = mean / deviation of the differences; `hedges_g` is d_z
    without its bias in small samples; `rank_biserial` = (positive ranks - negative ranks) / all ranks of the absolute
    differences. `d_z` is None where no difference deviates from the mean, `hedges_g` also with two units, where its correction
    does not exist.
    """

    differences: tuple[float, ...]
    t_interval: Interval
    bootstrap: Interval
    p: float
    least_p: float
    d_z: float | None
    hedges_g: float | None
    rank_biserial: float

    @property
    def units(self) -> int:
        return len(self.differences)

    @property
    def mean(self) -> float:
        return float(np.mean(self.differences))

    def verdict(self, alpha: float = ALPHA) -> Verdict:
        """CANNOT where no outcome with so many units that differ could be significant: for 0.05 that is below six."""
        if self.least_p > alpha:
            return Verdict.CANNOT
        return Verdict.SIGNIFICANT if self.p <= alpha else Verdict.NOT


def compare(first: Mapping[Unit, float], second: Mapping[Unit, float], seed: int = 0) -> Paired:
    """Compare two methods over matched units (task, seed, origin or tuples of them): unit -> score.

    Raises NotComparable where a unit lacks its partner, with fewer than two units, or for a score that is no number.
    """
    if lonely := first.keys() ^ second.keys():
        raise NotComparable(
            f"only one method has a score for {_listed(lonely)}; run the other there too, or leave them out"
        )
    d = np.array([first[unit] - second[unit] for unit in first], dtype=float)
    _check(d, "two units with scores of both methods")
    n, mean, deviation = len(d), float(d.mean()), float(d.std(ddof=1))
    spread, moved = _deviates(d), d[np.abs(d) > SAME]
    d_z = mean / deviation if spread else None
    return Paired(
        differences=tuple(d.tolist()),
        t_interval=t_interval(d),
        bootstrap=_bootstrap(d, seed) if spread else Interval(mean, mean),
        p=_sign_flips(moved, seed),
        least_p=min(1.0, 2.0 ** (1 - len(moved))) if 2 ** len(moved) <= RESAMPLES else 2 / (RESAMPLES + 1),
        d_z=d_z,
        hedges_g=None if d_z is None or n < 3 else d_z * _unbiasing(n - 1),
        rank_biserial=_rank_biserial(d),
    )


def t_interval(values: Sequence[float] | np.ndarray) -> Interval:
    """The mean of two values or more with 95% confidence, by Student's t; the mean itself where no value deviates from it."""
    d = np.asarray(values, dtype=float)
    mean = float(d.mean())
    if not _deviates(d):
        return Interval(mean, mean)
    return Interval(*map(float, stats.t.interval(LEVEL, len(d) - 1, mean, stats.sem(d))))


def _deviates(d: np.ndarray) -> bool:
    return not np.allclose(d, d[0], rtol=0, atol=SAME)


def _listed(units: Iterable[Hashable]) -> str:
    names = sorted(map(str, units))
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _check(values: np.ndarray, needed: str) -> None:
    if len(values) < 2:
        raise NotComparable(f"{len(values)} found where a comparison needs at least {needed}; run more seeds or tasks")
    if not np.isfinite(values).all():
        raise NotComparable("a score is infinite or no number; leave out the run that failed")


def _bootstrap(d: np.ndarray, seed: int) -> Interval:
    rng = generator(seed, "paired bootstrap")
    low, high = stats.bootstrap(
        (d,), np.mean, confidence_level=LEVEL, method="BCa", random_state=rng
    ).confidence_interval
    return Interval(float(low), float(high))


def _sign_flips(d: np.ndarray, seed: int) -> float:
    """P(|mean| >= observed) when the sign of every difference is a coin's."""
    if len(d) < 2:  # one coin, or none: either side is as far out
        return 1.0
    rng = generator(seed, "sign flips")
    test = stats.permutation_test(
        (d,), np.mean, permutation_type="samples", n_resamples=RESAMPLES, vectorized=True, random_state=rng
    )
    return float(test.pvalue)


def _unbiasing(df: int) -> float:
    """Hedges' exact correction: Gamma(df/2) / (sqrt(df/2) Gamma((df - 1)/2)), near 1 - 3 / (4 df - 1)."""
    return float(np.exp(special.gammaln(df / 2) - special.gammaln((df - 1) / 2)) / np.sqrt(df / 2))


def _rank_biserial(d: np.ndarray) -> float:
    """Of the differences that are not 0; 0 where all are."""
    d = d[d != 0]
    ranks = stats.rankdata(np.abs(d))
    return float((np.sign(d) * ranks).sum() / ranks.sum()) if len(d) else 0.0


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction: the i-th smallest of m p-values becomes the largest of (m - j + 1) p_j over j <= i.

    A corrected value at most alpha is significant; the chance of any false one in the family is then at most alpha.
    """
    p = np.asarray(p_values, dtype=float)
    if not ((p >= 0) & (p <= 1)).all():
        raise NotComparable(f"p-values lie between 0 and 1, not {p_values}")
    order = np.argsort(p, kind="stable")
    corrected = np.empty(len(p))
    corrected[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)), 1)
    return corrected.tolist()


@dataclass(frozen=True)
class Ranking:
    """Methods over tasks: mean ranks (1 is best), the p-value of Friedman's test, Nemenyi's critical difference."""

    ranks: dict[str, float]
    tasks: int
    p: float
    critical_difference: float

    def differ(self, first: str, second: str) -> bool:
        """Whether Nemenyi's test tells two methods apart."""
        return abs(self.ranks[first] - self.ranks[second]) >= self.critical_difference


def rank_methods(scores: Mapping[str, Mapping[Unit, float]], alpha: float = ALPHA) -> Ranking:
    """Friedman's and Nemenyi's tests of at least three methods over the same tasks: method -> task -> score, more is better.

    CD = q_alpha sqrt(k (k + 1) / (6 N)) for k methods on N tasks; q_alpha is the studentized range's quantile with infinite
    degrees of freedom over sqrt(2). Friedman's p is the chi-squared approximation, rough below some ten tasks.
    """
    if len(scores) < 3:
        raise NotComparable(f"{len(scores)} methods cannot be ranked over tasks; give three or more, or compare() two")
    tasks = list(next(iter(scores.values())))
    for method, of_method in scores.items():
        if lonely := of_method.keys() ^ set(tasks):
            raise NotComparable(
                f"not every method has a score for {_listed(lonely)} (see {method}); leave these out of all"
            )
    table = np.array([[of_method[task] for task in tasks] for of_method in scores.values()], dtype=float)
    _check(table.T, "two tasks with scores of all methods")
    k, n = table.shape
    ranks = stats.rankdata(-table, axis=0)
    q = stats.studentized_range.ppf(1 - alpha, k, np.inf) / np.sqrt(2)
    tied = (ranks == ranks[0]).all()  # no task tells any two methods apart: Friedman's statistic is 0 / 0
    return Ranking(
        ranks=dict(zip(scores, ranks.mean(axis=1).tolist(), strict=True)),
        tasks=n,
        p=1.0 if tied else float(stats.friedmanchisquare(*table).pvalue),
        critical_difference=float(q * np.sqrt(k * (k + 1) / (6 * n))),
    )


@dataclass(frozen=True)
class Summary:
    """What a published table says of one method: mean, deviation with n - 1 (None: not given), number of runs."""

    mean: float
    deviation: float | None
    runs: int


def published_t_test(first: Summary, second: Summary) -> float:
    """Two-sided p-value of the independent two-sample t-test from summaries: pooled where both have as many runs, Welch's
    where not. With Bonferroni's alpha this is the published procedure; runs that share an origin are not independent.

    Raises NotComparable without a deviation, with fewer than two runs, or where both deviations are 0.
    """
    a, b = _deviations(first, second)
    if a == b == 0:
        raise NotComparable("both deviations are 0: t divides by them; print more decimals or the single scores")
    pooled = first.runs == second.runs
    return float(
        stats.ttest_ind_from_stats(first.mean, a, first.runs, second.mean, b, second.runs, equal_var=pooled).pvalue
    )


def _deviations(first: Summary, second: Summary) -> tuple[float, float]:
    for each in (first, second):
        if each.deviation is None or each.deviation < 0 or each.runs < 2:
            raise NotComparable(f"{each} cannot be tested; a t-test needs a deviation and at least two runs of each")
    return first.deviation or 0.0, second.deviation or 0.0


def difference_interval(first: Summary, second: Summary) -> Interval:
    """95% interval (Welch's) of first minus second at the printed values: what a difference that is not significant may be."""
    a, b = _deviations(first, second)
    shares = np.array([a**2 / first.runs, b**2 / second.runs])
    error = np.sqrt(shares.sum())
    df = shares.sum() ** 2 / (shares**2 / [first.runs - 1, second.runs - 1]).sum() if error else 1.0
    half = stats.t.ppf((1 + LEVEL) / 2, df) * error
    return Interval(float(first.mean - second.mean - half), float(first.mean - second.mean + half))


def p_range(first: Summary, second: Summary, half: float = HALF) -> Interval:
    """Least and greatest p of `published_t_test` where each mean and deviation is known to +-`half`.

    p falls with the gap of the means, so the gap takes its two extremes. With the ratio of the deviations held, the degrees
    of freedom stay and p rises with their size, so p is least on the box's two lower edges and greatest on its two upper
    ones. Pooled, the corners are enough; Welch's degrees of freedom change along an edge and can outweigh the error, so the
    edges are scanned.
    """
    a, b = _deviations(first, second)
    gap = abs(first.mean - second.mean)
    (a_low, a_high), (b_low, b_high) = ((max(0.0, s - half), s + half) for s in (a, b))
    along_a, along_b = np.linspace(a_low, a_high, 501), np.linspace(b_low, b_high, 501)

    def p(gap: float, deviation_a: float, deviation_b: float) -> np.ndarray:
        """On the two edges that meet at a corner of the box."""
        edges = np.r_[along_a, np.full(501, deviation_a)], np.r_[np.full(501, deviation_b), along_b]
        n_a, n_b = first.runs, second.runs
        return np.asarray(stats.ttest_ind_from_stats(gap, edges[0], n_a, 0, edges[1], n_b, equal_var=n_a == n_b).pvalue)

    low = 0.0 if a_low == b_low == 0 else p(gap + 2 * half, a_low, b_low).min()
    return Interval(float(low), float(p(max(0.0, gap - 2 * half), a_high, b_high).max()))


@dataclass(frozen=True)
class Judged:
    """`range` holds p for all scores that round to the printed ones; without it `reason` says why nothing can be said."""

    verdict: Verdict
    range: Interval | None = None
    reason: str = ""


def judge_rounded(first: Summary, second: Summary, alpha: float, half: float = HALF) -> Judged:
    """The published test's verdict as far as rounding allows one. A deviation printed as 0 may be anything down to none, where
    t has no bound; it cannot be judged."""
    if first.deviation is None or second.deviation is None:
        return Judged(Verdict.CANNOT, reason="a deviation is missing")
    if first.deviation == 0 or second.deviation == 0:
        return Judged(Verdict.CANNOT, reason="deviation 0")
    found = p_range(first, second, half)
    return Judged(verdict_of(found, alpha), found)


def verdict_of(found: Interval, alpha: float) -> Verdict:
    """What a range of p-values says at a level."""
    if found.high <= alpha:
        return Verdict.SIGNIFICANT
    return Verdict.NOT if found.low > alpha else Verdict.ROUNDING


def holm_judged(family: Sequence[Judged], alpha: float = ALPHA) -> list[Judged]:
    """A family after Holm's correction. Corrected values never fall when a p rises, so the ends of the ranges give the ends;
    what cannot be judged stays in the family with p = 1."""
    ends = [judged.range or Interval(1.0, 1.0) for judged in family]
    lows, highs = (holm(p) for p in zip(*ends, strict=True)) if ends else ([], [])
    return [
        Judged(verdict_of(Interval(low, high), alpha), Interval(low, high)) if judged.range else judged
        for judged, low, high in zip(family, lows, highs, strict=True)
    ]
