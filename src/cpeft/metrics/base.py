"""A metric: predictions and references to a number.

Every metric takes the predicted texts, the accepted answers of each row (first the canonical one) and a
`MetricContext`, and returns a float between 0 and 100 (correlations between -100 and 100).
"""

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from cpeft.registry import Registry


@dataclass(frozen=True)
class MetricContext:
    """What a metric may need beside the texts: the closed label set in code order, and each row's group."""

    labels: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()


References = Sequence[tuple[str, ...]]
Metric = Callable[[Sequence[str], References, MetricContext], float]

METRICS: Registry[Metric] = Registry("metric", "cpeft.metrics")
NO_LABEL = "\0no label"  # in the place of every text outside the label set: one class, which no reference has
Unit = Literal["row", "group"]


def mean_over(unit: Unit) -> Callable[[Metric], Metric]:
    """Decorator of a metric that is the mean of what each row, or each group of rows, scores by itself, 0 to 100: its resamples
    need no second pass through the metric, and at either end of the range it gets the interval of a proportion."""

    def declare(metric: Metric) -> Metric:
        setattr(metric, "unit", unit)  # noqa: B010
        return metric

    return declare


def unit_of(metric: Metric) -> Unit | None:
    """What the metric is a mean over, None where it is no mean (F1, correlations) or does not say so."""
    return getattr(metric, "unit", None)


def best(
    predictions: Sequence[str],
    references: References,
    form: Callable[[str], str],
    compare: Callable[[str, str], float] = operator.eq,
) -> float:
    """The mean over rows of the best comparison of forms with an accepted answer, times 100; 0 without rows."""
    scores = [
        max(compare(form(text), form(answer)) for answer in answers)
        for text, answers in zip(predictions, references, strict=True)
    ]
    return 100.0 * sum(scores) / len(scores) if scores else 0.0
