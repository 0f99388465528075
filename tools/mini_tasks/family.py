"""A family of generated rows: what writes the rows of one `mini/*` task.

A family draws one row for a given label. Splits are filled one after the other from one seeded generator, each label equally
often; a text that was drawn before is not taken again, so no row is shared by splits.
"""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from cpeft.tasks.mini import SIZES

SEED = 20_240

Draw = Callable[[random.Random, int], dict[str, Any]]


@dataclass(frozen=True)
class Family:
    """`draw(rng, code)` gives the columns of one row with label `code` (a place in `words`); families without label words
    get code 0 and put their own answer into the row."""

    name: str
    fields: tuple[tuple[str, str], ...]
    words: tuple[str, ...]
    draw: Draw

    def key(self, row: Mapping[str, Any]) -> tuple[str, ...]:
        """What makes a row distinct: the text of its fields, without regard to case."""
        return tuple(str(row[column]).lower() for _, column in self.fields)


@lru_cache(maxsize=32)
def rows(family: Family) -> dict[str, list[dict[str, Any]]]:
    """The rows of every split."""
    rng = random.Random(f"{family.name} {SEED}")
    seen: set[tuple[str, ...]] = set()
    splits: dict[str, list[dict[str, Any]]] = {}
    for split, size in SIZES.items():
        codes = [i % (len(family.words) or 1) for i in range(size)]
        splits[split] = [_new(family, code, rng, seen) for code in rng.sample(codes, size)]
    return splits


def _new(family: Family, code: int, rng: random.Random, seen: set[tuple[str, ...]]) -> dict[str, Any]:
    """A row that was not drawn before, noted in `seen`."""
    while family.key(row := family.draw(rng, code)) in seen:
        pass
    seen.add(family.key(row))
    return {**row, "label": code} if family.words else row
