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
    metric: str, predictions: Sequence[str], references: Sequence[tuple[str, ...]],
    labels: tuple[str, ...] = (), groups: Sequence[str] = (), resamples: int = 0,
) -> Score:  # fmt: skip
    """One metric over predicted texts; `resamples` = 0 leaves the bounds at the value."""
    compute = METRICS.get(metric)
    value = compute(predictions, references, MetricContext(labels, tuple(groups)))
    if not resamples or not predictions:
        return Score(value, value, value)
    grouped = bool(groups and groups[0])
    together: dict[str | int, list[int]] = {}
    for row in range(len(predictions)):
        together.setdefault(groups[row] if grouped else row, []).append(row)
    units = list(together.values())
    rng = generator(0, "bootstrap", metric)
    draws = []
    for _ in range(resamples):
        picked = [(str(n), row) for n, i in enumerate(rng.integers(len(units), size=len(units))) for row in units[i]]
        context = MetricContext(labels, tuple(name for name, _ in picked) if grouped else ())
        draws.append(compute([predictions[r] for _, r in picked], [references[r] for _, r in picked], context))
    low, high = np.percentile(draws, [2.5, 97.5])
    return Score(value, float(low), float(high))
