"""Pearson and Spearman correlation of scores written as text, computed by scipy; between -100 and 100.

As published, a prediction that is no number counts as -1, which is below every score. Where either side is constant the
correlation is undefined and given as 0.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy import stats

from cpeft.errors import DataError
from cpeft.metrics.base import MetricContext, References, metric


def score(text: str) -> float:
    """The number that a text is, -1 if none."""
    try:
        value = float(text)
    except ValueError:
        return -1.0
    return value if math.isfinite(value) else -1.0


def correlation(predictions: Sequence[str], references: References, measure: Callable[..., Any]) -> float:
    """The measured correlation of predicted and true scores."""
    try:
        right = np.array([float(row[0]) for row in references])
    except ValueError as error:
        raise DataError(f"a correlation needs numbers as references: {error}") from None
    given = np.array([score(text) for text in predictions])
    if len(right) != len(given):
        raise DataError(f"{len(given)} predictions for {len(right)} references")
    defined = len(right) > 1 and np.ptp(given) > 0 and np.ptp(right) > 0
    return 100.0 * float(measure(given, right)[0]) if defined else 0.0


@metric("pearson", low=-100.0)
def pearson(predictions: Sequence[str], references: References, context: MetricContext) -> float:
    """Linear correlation."""
    return correlation(predictions, references, stats.pearsonr)


@metric("spearman", low=-100.0)
def spearman(predictions: Sequence[str], references: References, context: MetricContext) -> float:
    """Rank correlation."""
    return correlation(predictions, references, stats.spearmanr)
