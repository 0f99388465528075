"""Which values of a search are the best: the rule of a study that uses them, and of the report that marks them."""

import math
from collections.abc import Iterable

from cpeft.store.result import SearchResult


def mean_validation(tries: Iterable[SearchResult]) -> float | None:
    """The mean validation score of runs with the same values, over tasks and seeds; None if one of them has no finite score."""
    scores = [each.validation for each in tries]
    known = [score for score in scores if score is not None and math.isfinite(score)]
    return math.fsum(known) / len(known) if known and len(known) == len(scores) else None


def best_place(tries: Iterable[SearchResult]) -> int | None:
    """The place in the grid of the values with the best mean validation score, the first of equal ones; None where no values
    have a score. `tries` are all runs of one variant."""
    by_place: dict[int, list[SearchResult]] = {}
    for each in tries:
        by_place.setdefault(each.place, []).append(each)
    means = {place: mean for place, own in sorted(by_place.items()) if (mean := mean_validation(own)) is not None}
    higher = all(each.higher_is_better for own in by_place.values() for each in own)
    return (max if higher else min)(means, key=lambda place: means[place]) if means else None
