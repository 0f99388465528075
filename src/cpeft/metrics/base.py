"""A metric: predictions and references to a number.

Every metric takes the predicted texts, the accepted answers of each row (first the canonical one) and a
`MetricContext`, and returns a float between 0 and 100 (correlations between -100 and 100).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cpeft.registry import Registry


@dataclass(frozen=True)
class MetricContext:
    """What a metric may need beside the texts: the closed label set in code order, and each row's group."""

    labels: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()


References = Sequence[tuple[str, ...]]
Metric = Callable[[Sequence[str], References, MetricContext], float]

METRICS: Registry[Metric] = Registry("metric", "cpeft.metrics")
