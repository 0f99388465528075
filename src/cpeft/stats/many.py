"""Many comparisons at once: Holm's correction (1979) of a family, and ranks of methods over tasks (Demšar 2006)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from cpeft.errors import NotComparable
from cpeft.seeds import generator
from cpeft.stats.intervals import ALPHA
from cpeft.stats.paired import Unit, check, listed

RESAMPLES = 1 << 13  # orders of the methods on every task


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction: the i-th smallest of m p-values becomes the largest of (m - j + 1) p_j over j <= i.

    A corrected value at most alpha is significant; the chance of any false one in the family is then at most alpha, however
    the comparisons depend on one another.
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
        """Whether two mean ranks lie further apart than the critical difference. Where all methods are alike, the chance that
        any two do is at most alpha; a rank depends on the other methods too, so a single pair is judged by `compare_tasks`."""
        return abs(self.ranks[first] - self.ranks[second]) >= self.critical_difference


def rank_methods(scores: Mapping[str, Mapping[Unit, float]]) -> Ranking:
    """Friedman's and Nemenyi's tests of at least three methods over the same tasks: method -> task -> score, more is better.

    Friedman's p is by permutation: were all methods alike, any order of them would be as likely on every task. CD = q_alpha
    sqrt(k (k + 1) / (6 N)) for k methods on N tasks; q_alpha is the studentized range's quantile with infinite degrees of
    freedom over sqrt(2).
    """
    if len(scores) < 3:
        raise NotComparable(f"{len(scores)} methods cannot be ranked over tasks; give three or more, or compare() two")
    tasks = list(next(iter(scores.values())))
    for method, of_method in scores.items():
        if lonely := of_method.keys() ^ set(tasks):
            raise NotComparable(
                f"not every method has a score for {listed(lonely)} (see {method}); leave these out of all"
            )
    table = np.array([[of_method[task] for task in tasks] for of_method in scores.values()], dtype=float)
    check(table.T, "two tasks with scores of all methods")
    k, n = table.shape
    ranks = stats.rankdata(-table, axis=0)
    q = stats.studentized_range.ppf(1 - ALPHA, k, np.inf) / np.sqrt(2)
    return Ranking(
        ranks=dict(zip(scores, ranks.mean(axis=1).tolist(), strict=True)),
        tasks=n,
        p=_friedman(ranks),
        critical_difference=float(q * np.sqrt(k * (k + 1) / (6 * n))),
    )


def _friedman(ranks: np.ndarray) -> float:
    """P(the rank sums [k] lie as far from one another as observed) when the ranks of every task [k, n] come in any order."""
    rng = generator(0, "friedman")
    sums = np.zeros((RESAMPLES, len(ranks)))
    for of_task in ranks.T:
        sums += rng.permuted(np.tile(of_task, (RESAMPLES, 1)), axis=1)
    as_far = sums.var(axis=1) >= ranks.sum(axis=1).var() * (1 - 1e-9)
    return float((1 + as_far.sum()) / (1 + RESAMPLES))
