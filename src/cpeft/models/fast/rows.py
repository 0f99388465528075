"""Where the rows of a batch lie in one packed matrix [N, D]: real tokens behind one another, no padding."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import torch
from jaxtyping import Int
from torch import Tensor


@dataclass(frozen=True)
class PackedRows:
    """`order_B` from longest to shortest, and `spans` of like length as (first row, rows, length)."""

    order_B: Int[Tensor, "B"]
    spans: tuple[tuple[int, int, int], ...]

    @classmethod
    def of(cls, lengths: Sequence[int]) -> "PackedRows":
        order = sorted(range(len(lengths)), key=lambda i: -lengths[i])
        spans, first = [], 0
        for length, group in groupby(order, key=lengths.__getitem__):
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
