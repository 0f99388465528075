"""Do gains rise with similarity over pairs of a source and a target? Spearman's rank correlation and its permutation test.

Pairs that share a source or a target are not independent: a source that helps every target, or a target that gains from
every source, moves many pairs at once. So the test compares the sources of each target with one another, and permutes whole
sources, the same way on all targets: the similarities of one take the place of another's. That needs every source on every
target. With S sources p is at least 1 / S!, so below four sources nothing can be significant.
"""

from collections.abc import Hashable, Mapping
from itertools import permutations
from math import factorial
from typing import NamedTuple, TypeVar

import numpy as np
from scipy import stats

from cpeft.seeds import generator
from cpeft.stats.intervals import ALPHA

RESAMPLES = 1 << 13  # permutations: exact up to seven sources
Name = TypeVar("Name", bound=Hashable)
Grid = Mapping[tuple[Name, Name], tuple[float, float]]  # (source, target): similarity, gain


class Correlation(NamedTuple):
    """`rho` is None where nothing can be ranked, `p` where `why` says so."""

    rho: float | None
    p: float | None
    why: str = ""


def rank_correlation(grid: Grid[Name]) -> Correlation:
    """Spearman's rho over all pairs; p is two-sided, of the ranks within targets, over permutations of whole sources."""
    x, y = (stats.rankdata(values) for values in zip(*grid.values(), strict=True))
    if not (np.ptp(x) and np.ptp(y)):
        return Correlation(None, None, "all gains or all similarities are equal")
    rho = float(stats.spearmanr(x, y).statistic)
    sources, targets = (list(dict.fromkeys(pair[i] for pair in grid)) for i in (0, 1))
    if len(grid) < len(sources) * len(targets):
        return Correlation(rho, None, "not every source was tried on every target")
    if 1 / factorial(len(sources)) > ALPHA:
        return Correlation(rho, None, "too few sources")
    places = {pair: i for i, pair in enumerate(grid)}
    cells_ST = np.array([[places[source, target] for target in targets] for source in sources])
    x_ST, y_ST = (ranks[cells_ST] - ranks[cells_ST].mean(axis=0) for ranks in (x, y))
    products_SS = x_ST @ y_ST.T  # of the similarities of one source with the gains of another
    orders_RS = _orders(len(sources))
    sums_R = products_SS[orders_RS, np.arange(len(sources))].sum(axis=1)
    as_far = np.abs(sums_R) >= abs(np.trace(products_SS)) - 1e-9
    exact = len(orders_RS) == factorial(len(sources))
    return Correlation(rho, float(as_far.mean() if exact else (1 + as_far.sum()) / (1 + len(orders_RS))))


def _orders(size: int) -> np.ndarray:
    if factorial(size) <= RESAMPLES:
        return np.array(list(permutations(range(size))))
    return generator(0, "rank correlation").permuted(np.tile(np.arange(size), (RESAMPLES, 1)), axis=1)
