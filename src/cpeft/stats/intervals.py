"""The level of tests and intervals, verdicts, and Student's t interval.

A t interval holds the mean of independent, normal values with 95% confidence from two values on, by the spread of these very
values. What varies between them decides what it speaks of: values of several seeds of one task speak of that task, values of
several tasks of tasks as such.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

import numpy as np
from scipy import special

LEVEL = 0.95  # of intervals
ALPHA = 0.05
SAME = 1e-9  # differences up to this are rounding


class Interval(NamedTuple):
    low: float
    high: float


class Verdict(StrEnum):
    SIGNIFICANT = "significant"
    ROUNDING = "depends on rounding"
    NOT = "not significant"
    CANNOT = "cannot be judged"


def t_interval(values: Sequence[float] | np.ndarray) -> Interval:
    """The mean of two values or more with 95% confidence, by Student's t; the mean itself where no value deviates from it."""
    d = np.asarray(values, dtype=float)
    mean = float(d.mean())
    if not deviates(d):
        return Interval(mean, mean)
    half = float(special.stdtrit(len(d) - 1, (1 + LEVEL) / 2) * d.std(ddof=1) / np.sqrt(len(d)))
    return Interval(mean - half, mean + half)


def deviates(values: np.ndarray) -> bool:
    """Whether any value differs from the others by more than rounding."""
    return not np.allclose(values, values[0], rtol=0, atol=SAME)
