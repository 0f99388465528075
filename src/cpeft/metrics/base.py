"""A metric: predictions and references to a number, and what there is to know of that number.

A metric takes the predicted texts, the accepted answers of each row (the canonical one first) and a `MetricContext`, and
returns a float. The decorator `metric` registers it under its names and states its range:

    @metric("token_count", low=0.0, high=math.inf, higher_is_better=False)
    def token_count(predictions, references, context): ...
"""

import math
import operator
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from cpeft.registry import Registry


@dataclass(frozen=True)
class MetricContext:
    """What a metric may need beside the texts: the closed label set in code order, and each row's group."""

    labels: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()


References = Sequence[tuple[str, ...]]
Compute = Callable[[Sequence[str], References, MetricContext], float]
NO_LABEL = "\0no label"  # in the place of every text outside the label set: one class, which no reference has
Unit = Literal["row", "group"]


@dataclass(frozen=True, kw_only=True)
class Scale:
    """What the values of a metric mean: `low` and `high` bound them, and so every interval of them; `higher_is_better` decides
    which checkpoint is kept and which method is best."""

    low: float = 0.0
    high: float = 100.0
    higher_is_better: bool = True

    @property
    def best(self) -> Callable[[Iterable[float]], float]:
        """`max`, or `min` where lower is better."""
        return max if self.higher_is_better else min


@dataclass(frozen=True, kw_only=True)
class Metric(Scale):
    """A registered metric; calling it computes it.

    `mean_over` names what it is a mean of: each row's, or each group's, own score between `low` and `high`. Resamples of a mean
    over rows need no second pass through the metric, and at either end of its range a mean gets the interval of a proportion.
    None: it is no such mean, as F1 and correlations are not.
    """

    compute: Compute
    mean_over: Unit | None = None

    def __call__(self, predictions: Sequence[str], references: References, context: MetricContext) -> float:
        return self.compute(predictions, references, context)

    @property
    def about(self) -> str:
        """The first line of the function's docstring."""
        return (self.compute.__doc__ or "").strip().partition("\n")[0]


METRICS: Registry[Metric] = Registry("metric", "cpeft.metrics")


def metric(
    *names: str, low: float = 0.0, high: float = 100.0, higher_is_better: bool = True, mean_over: Unit | None = None
) -> Callable[[Compute], Metric]:
    """Decorator: register a function as a metric under one or more names. Raises ValueError for bounds that bound nothing, and
    for a mean over rows or groups without finite bounds."""
    if not low < high or (mean_over and not (math.isfinite(low) and math.isfinite(high))):
        raise ValueError(f"metric {names}: low = {low} and high = {high} are no bounds of it")

    def declare(compute: Compute) -> Metric:
        made = Metric(compute=compute, low=low, high=high, higher_is_better=higher_is_better, mean_over=mean_over)
        for name in names:
            METRICS.add(name, made)
        return made

    return declare


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
