"""Comparisons that stand in one table, judged together: ours, and the published procedure beside it.

Ours: paired differences, the sign-flip test, Holm's correction over the table. As published (Task Prompt Vectors, the script
of its significance tests): the independent two-sample t-test of the runs of both sides, as if nothing paired them, and
Bonferroni's correction over the table; here of as many runs as there are, where the script wrote 10 for most.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cpeft.errors import NotComparable
from cpeft.stats.intervals import ALPHA, Verdict
from cpeft.stats.many import holm
from cpeft.stats.paired import Paired
from cpeft.stats.summaries import Summary, published_t_test

Sides = tuple[Summary, Summary]


@dataclass(frozen=True)
class Published:
    """The published procedure: p after its correction, None where the test cannot be made."""

    p: float | None
    verdict: Verdict


@dataclass(frozen=True)
class Tested:
    """A comparison with what its family makes of it: p after Holm's correction, and a verdict, CANNOT where no outcome of so
    many units could be significant, even with every other comparison as clear as it can be."""

    paired: Paired
    p: float
    verdict: Verdict
    published: Published | None

    @property
    def shown(self) -> str:
        """The verdict in words."""
        special = {Verdict.CANNOT: f"too few {self.paired.of}", Verdict.NOT: "not shown"}
        return special.get(self.verdict, self.verdict.value)


def judged(family: Sequence[Paired], published: Sequence[Sides] = ()) -> list[Tested]:
    """The comparisons of one table; `published` holds both sides of each, where the published procedure is asked for."""
    if not family:
        return []
    corrected = holm([paired.p for paired in family])
    least = holm([paired.least_p for paired in family])
    beside: list[Published | None] = [_as_published(*sides, len(family)) for sides in published]
    beside = beside or [None] * len(family)
    return [
        Tested(paired, p, Verdict.CANNOT if low > ALPHA else _verdict(p), other)
        for paired, p, low, other in zip(family, corrected, least, beside, strict=True)
    ]


def summed(values: Sequence[float]) -> Summary:
    """One value or more as a published table would print them."""
    return Summary(float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else None, len(values))


def _as_published(first: Summary, second: Summary, comparisons: int) -> Published:
    try:
        p = min(1.0, comparisons * published_t_test(first, second))
    except NotComparable:
        return Published(None, Verdict.CANNOT)
    return Published(p, _verdict(p))


def _verdict(p: float) -> Verdict:
    return Verdict.SIGNIFICANT if p <= ALPHA else Verdict.NOT
