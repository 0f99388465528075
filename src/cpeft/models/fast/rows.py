"""Where the rows of a batch lie in one packed matrix [N, D]: real tokens behind one another, no padding."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import torch
from jaxtyping import Int
from torch import Tensor


@dataclass(frozen=True)
class PackedRows:
    """`order_B` from longest to shortest, and `spans` of like rows as (first row, rows, length)."""

    order_B: Int[Tensor, "B"]
    spans: tuple[tuple[int, int, int], ...]

    @classmethod
    def of(cls, lengths: Sequence[int], before: Sequence[int] = ()) -> "PackedRows":
        """Rows of these lengths, `before` each of which so many others stand that are not packed (a prompt's); rows of a span
        are alike in both."""
        kinds = list(zip(lengths, before or [0] * len(lengths), strict=True))
        order = sorted(range(len(lengths)), key=lambda i: kinds[i], reverse=True)
        spans, first = [], 0
        for (length, _), group in groupby(order, key=kinds.__getitem__):
            count = len(list(group))
            spans.append((first, count, length))
            first += count
        return cls(torch.tensor(order), tuple(spans))

    @property
    def length_B(self) -> Int[Tensor, "B"]:
        """The length of each row, in their order."""
        return torch.tensor([length for _, count, length in self.spans for _ in range(count)])

    @property
    def longest(self) -> int:
        return self.spans[0][2]

    def split(self, x: Tensor) -> list[Tensor]:
        """[N, ...] as one [rows, length, ...] per span."""
        parts = x.split([count * length for _, count, length in self.spans])
        return [part.unflatten(0, (count, length)) for part, (_, count, length) in zip(parts, self.spans, strict=True)]

    def part(self, chosen: Sequence[int]) -> tuple["PackedRows", list[tuple[int, Tensor]]]:
        """Where the `chosen` rows of the batch lie if the others are left out; and what to take: spans, and places there."""
        new = {old: place for place, old in enumerate(chosen)}
        order, spans, taken = self.order_B.tolist(), list[tuple[int, int, int]](), []
        places: list[int] = []
        for number, (first, count, length) in enumerate(self.spans):
            if wanted := [i for i in range(count) if order[first + i] in new]:
                spans.append((len(places), len(wanted), length))
                places += [new[order[first + i]] for i in wanted]
                taken.append((number, torch.tensor(wanted)))
        return PackedRows(torch.tensor(places), tuple(spans)), taken
