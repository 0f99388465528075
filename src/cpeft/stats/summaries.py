"""Published summaries: what means and deviations that were rounded to one decimal allow one to say.

`published_t_test` is the test the task prompt vectors study ran on them; it takes runs as independent and, with as many runs
on both sides, their spreads as equal. `judge_rounded` asks whether its verdict holds for every score that rounds to what is
printed; `judge_figure` sets seeds of one's own against a figure that was printed alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from cpeft.errors import NotComparable
from cpeft.stats.intervals import ALPHA, LEVEL, Interval, Verdict
from cpeft.stats.many import holm

HALF = 0.05  # half a unit of the one decimal that published tables print
FEWEST = 3  # seeds, below which a deviation says too little


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


def p_range(first: Summary, second: Summary) -> Interval:
    """Least and greatest p of `published_t_test` where each mean and deviation is known to +-`HALF`.

    p falls with the gap of the means, so the gap takes its two extremes. With the ratio of the deviations held, the degrees
    of freedom stay and p rises with their size, so p is least on the box's two lower edges and greatest on its two upper
    ones. Pooled, the corners are enough; Welch's degrees of freedom change along an edge and can outweigh the error, so the
    edges are scanned.
    """
    a, b = _deviations(first, second)
    gap = abs(first.mean - second.mean)
    (a_low, a_high), (b_low, b_high) = ((max(0.0, s - HALF), s + HALF) for s in (a, b))
    along_a, along_b = np.linspace(a_low, a_high, 501), np.linspace(b_low, b_high, 501)

    def p(gap: float, deviation_a: float, deviation_b: float) -> np.ndarray:
        """On the two edges that meet at a corner of the box."""
        edges = np.r_[along_a, np.full(501, deviation_a)], np.r_[np.full(501, deviation_b), along_b]
        n_a, n_b = first.runs, second.runs
        return np.asarray(stats.ttest_ind_from_stats(gap, edges[0], n_a, 0, edges[1], n_b, equal_var=n_a == n_b).pvalue)

    low = 0.0 if a_low == b_low == 0 else p(gap + 2 * HALF, a_low, b_low).min()
    return Interval(float(low), float(p(max(0.0, gap - 2 * HALF), a_high, b_high).max()))


@dataclass(frozen=True)
class Judged:
    """`range` holds p for all scores that round to the printed ones; without it `reason` says why nothing can be said."""

    verdict: Verdict
    range: Interval | None = None
    reason: str = ""


def judge_rounded(first: Summary, second: Summary, alpha: float) -> Judged:
    """The published test's verdict as far as rounding allows one. A deviation printed as 0 may be anything down to none, where
    t has no bound; it cannot be judged."""
    if first.deviation is None or second.deviation is None:
        return Judged(Verdict.CANNOT, reason="a deviation is missing")
    if first.deviation == 0 or second.deviation == 0:
        return Judged(Verdict.CANNOT, reason="deviation 0")
    found = p_range(first, second)
    return Judged(verdict_of(found, alpha), found)


def verdict_of(found: Interval, alpha: float) -> Verdict:
    """What a range of p-values says at a level."""
    if found.high <= alpha:
        return Verdict.SIGNIFICANT
    return Verdict.NOT if found.low > alpha else Verdict.ROUNDING


def holm_judged(family: Sequence[Judged]) -> list[Judged]:
    """A family after Holm's correction. Corrected values never fall when a p rises, so the ends of the ranges give the ends;
    what cannot be judged stays in the family with p = 1."""
    ends = [judged.range or Interval(1.0, 1.0) for judged in family]
    lows, highs = (holm(p) for p in zip(*ends, strict=True)) if ends else ([], [])
    return [
        Judged(verdict_of(Interval(low, high), ALPHA), Interval(low, high)) if judged.range else judged
        for judged, low, high in zip(family, lows, highs, strict=True)
    ]


def judge_figure(own: Summary, printed: float) -> Judged:
    """Seeds of our own against one printed figure: Student's one-sample t-test, as far as rounding of `printed` allows one.

    The figure has no deviation and no number of runs, so it is taken as exact but for its rounding. The test says how far our
    mean lies from what was printed, and nothing of how far theirs would lie from another try.
    """
    if own.deviation is None or own.runs < FEWEST:
        return Judged(Verdict.CANNOT, reason=f"fewer than {FEWEST} seeds")
    if own.deviation == 0:
        return Judged(Verdict.CANNOT, reason="deviation 0")
    error, gap = own.deviation / own.runs**0.5, abs(own.mean - printed)
    ends = (2 * stats.t.sf(max(0.0, distance) / error, own.runs - 1) for distance in (gap + HALF, gap - HALF))
    found = Interval(*map(float, ends))
    return Judged(verdict_of(found, ALPHA), found)
