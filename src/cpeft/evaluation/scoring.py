"""Scores with intervals.

The interval is the percentile bootstrap over test rows: rows (or groups of rows scored together) are resampled with
replacement and the metric is computed again. It shows the uncertainty of the score of this trained prompt; the variability of
training is measured by several seeds. If every row is entirely right, or every row entirely wrong, all resamples are equal and
the bootstrap interval would have no width; metrics that are means over rows, or over groups of rows, then get Wilson's interval
of a proportion. Among scores between 0 and 1 with a given mean, scores of 0 or 1 are the most likely to be all equal, so this
interval is never too narrow for rows that may be partly right.
"""

from collections.abc import Sequence

import numpy as np

from cpeft.metrics import METRICS, Metric, MetricContext
from cpeft.seeds import generator
from cpeft.store.result import Score


def score_texts(
    metric: str, predictions: Sequence[str], references: Sequence[tuple[str, ...]],
    labels: tuple[str, ...] = (), groups: Sequence[str] = (), resamples: int = 0,
) -> Score:  # fmt: skip
    """One metric over predicted texts; `resamples` = 0 leaves the bounds at the value. Rows of a group are drawn together."""
    compute = METRICS.get(metric)
    value = compute(predictions, references, MetricContext(labels, tuple(groups)))
    if not resamples or not predictions:
        return Score(value, value, value)
    if compute.mean_over and value in (compute.low, compute.high):
        units = len(set(groups)) if groups and groups[0] else len(predictions)
        low, high = wilson(units if value == compute.high else 0, units)
        span = (compute.high - compute.low) / 100.0
        return Score(value, compute.low + span * low, compute.low + span * high)
    rng = generator(0, "bootstrap", metric)
    if not (groups and groups[0]):
        from cpeft.metrics.resampled import resampled  # scikit-learn takes a second, and plans score nothing

        picks = np.stack([rng.integers(len(predictions), size=len(predictions)) for _ in range(resamples)])
        draws = resampled(metric, list(predictions), references, MetricContext(labels), picks)
    else:
        draws = _by_groups(compute, predictions, references, labels, groups, rng, resamples)
    ends = np.percentile(draws, [2.5, 97.5])
    return Score(value, float(ends[0]), float(ends[1]))


def wilson(right: int, of: int) -> tuple[float, float]:
    """The 95% interval of a proportion, in per cent (Wilson 1927)."""
    from scipy.stats import binomtest  # plans score nothing

    found = binomtest(right, of).proportion_ci(method="wilson")
    return 100.0 * float(found.low), 100.0 * float(found.high)


def _by_groups(
    compute: Metric, predictions: Sequence[str], references: Sequence[tuple[str, ...]], labels: tuple[str, ...],
    groups: Sequence[str], rng: np.random.Generator, resamples: int,
) -> np.ndarray:  # fmt: skip
    """Metric values of resampled groups; a group that is drawn twice counts as two groups."""
    together: dict[str, list[int]] = {}
    for row, group in enumerate(groups):
        together.setdefault(group, []).append(row)
    units = list(together.values())
    draws = []
    for _ in range(resamples):
        picked = [(str(n), row) for n, i in enumerate(rng.integers(len(units), size=len(units))) for row in units[i]]
        context = MetricContext(labels, tuple(name for name, _ in picked))
        draws.append(compute([predictions[r] for _, r in picked], [references[r] for _, r in picked], context))
    return np.array(draws)
