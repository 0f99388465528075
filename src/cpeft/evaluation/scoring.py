"""Scores with intervals.

The interval is the percentile bootstrap over test rows: rows (or groups of rows scored together) are drawn again with
replacement and the metric computed anew. It says how sure a score is for this trained prompt; how much training itself
varies is what several seeds are for.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cpeft.metrics import METRICS, MetricContext
from cpeft.seeds import generator


@dataclass(frozen=True)
class Score:
    """A metric's value with the bounds of its 95% interval, 0 to 100 (correlations -100 to 100)."""

    value: float
    low: float
    high: float


def score_texts(
    metric: str,
    predictions: Sequence[str],
    references: Sequence[tuple[str, ...]],
    labels: tuple[str, ...] = (),
    groups: Sequence[str] = (),
    resamples: int = 0,
) -> Score:
    """One metric over predicted texts; `resamples` = 0 leaves the bounds at the value."""
    compute = METRICS.get(metric)
    value = compute(predictions, references, MetricContext(labels, tuple(groups)))
    if not resamples or not predictions:
        return Score(value, value, value)
    units = _units(len(predictions), groups)
    rng = generator(0, "bootstrap", metric)
    draws = []
    for _ in range(resamples):
        picked = [units[i] for i in rng.integers(len(units), size=len(units))]
        rows = [row for unit in picked for row in unit]
        names = tuple(f"{number}" for number, unit in enumerate(picked) for _ in unit) if groups and groups[0] else ()
        context = MetricContext(labels, names)
        draws.append(compute([predictions[r] for r in rows], [references[r] for r in rows], context))
    low, high = np.percentile(draws, [2.5, 97.5])
    return Score(value, float(low), float(high))


def _units(rows: int, groups: Sequence[str]) -> list[list[int]]:
    """Rows that are drawn together: groups where rows have one, else each row alone."""
    if not groups or not groups[0]:
        return [[row] for row in range(rows)]
    units: dict[str, list[int]] = {}
    for row, group in enumerate(groups):
        units.setdefault(group, []).append(row)
    return list(units.values())
