"""Dropout with cheap random bits.

Why: torch draws a float for every element, which costs a third of a training step on a CPU. Here an element takes 16 bits of a
64-bit generator, and what was kept is remembered in bytes for the backward pass. Bits depend on the seed alone, which the
training loop makes from a run's own seed, its step and its micro-batch: a run drops the same in any gang. Its oracle is
`torch.nn.functional.dropout`, in distribution.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Int8
from torch import Tensor

VALUES = 1 << 16  # of the bits of one element


class Kept(NamedTuple):
    """What a draw left: 1 where an element is kept, and the scale that keeps means."""

    mask: Int8[Tensor, "..."]
    scale: float

    def of(self, x: Tensor) -> Tensor:
        """x with what was dropped at 0; of a gradient too."""
        return (x * self.mask).mul_(self.scale)


class Dropout:
    """Drops with probability `rate`, rounded to a multiple of 2^-16; every draw is a new one."""

    def __init__(self, rate: float, seed: int) -> None:
        self.scale = 1 / (1 - rate)
        self._bits = np.random.SFC64(seed)
        self._least = round(rate * VALUES) - VALUES // 2

    def draw(self, shape: Sequence[int]) -> Kept:
        """For a tensor of this shape."""
        count = int(np.prod(shape))
        bits = torch.from_numpy(self._bits.random_raw(-(-count // 4)).view(np.int16))[:count]
        return Kept((bits >= self._least).view(torch.int8).view(tuple(shape)), self.scale)


class Drops(NamedTuple):
    """The dropouts of one pass: of everything but attention, and of attention's probabilities (None: none there)."""

    layers: Dropout
    attention: Dropout | None

    @classmethod
    def of(cls, rate: float, of_attention: float, seed: int) -> "Drops | None":
        """None where nothing is dropped."""
        if not (rate or of_attention):
            return None
        return cls(Dropout(rate, seed), Dropout(of_attention, seed + 1) if of_attention else None)


def dropped(x: Tensor, kept: Kept | None) -> Tensor:
    return x if kept is None else kept.of(x)
