"""Rows as token ids, and batches of them.

Nothing is padded to a fixed length: a batch is as wide as its longest row (`max_length` reproduces published code that
padded every row to one width). What was cut to fit is counted, so that a run can report it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from cpeft.data.options import Loss
from cpeft.data.rows import EncodedRow

IGNORE = -100  # label of positions without loss, transformers' convention


@dataclass(frozen=True)
class Batch:
    """`source_BL` ids, `mask_BL` True on real tokens, `target_BT` ids with IGNORE as padding, `task_B`."""

    source_BL: Int[Tensor, "B L"]
    mask_BL: Bool[Tensor, "B L"]
    target_BT: Int[Tensor, "B T"]
    task_B: Int[Tensor, "B"]

    def __len__(self) -> int:
        return int(self.source_BL.shape[0])

    def to(self, device: torch.device | str) -> "Batch":
        return Batch(*(tensor.to(device) for tensor in vars(self).values()))


def collate(rows: Sequence[EncodedRow], pad: int, max_length: int | None = None) -> Batch:
    """Rows as one batch, padded on the right to the longest row or to `max_length` tokens."""
    width = max(max_length or 0, 1, *(len(row.source) for row in rows))
    height = max(1, *(len(row.target) for row in rows))
    source_BL = torch.tensor([[*row.source, *[pad] * (width - len(row.source))] for row in rows])
    target_BT = torch.tensor([[*row.target, *[IGNORE] * (height - len(row.target))] for row in rows])
    mask_BL = torch.arange(width) < torch.tensor([[len(row.source)] for row in rows])
    return Batch(source_BL, mask_BL, target_BT, torch.tensor([row.task for row in rows]))


def micro_batches(
    items: Sequence[int], width: Callable[[int], int], budget: int, enough: int | None = None
) -> list[list[int]]:
    """Split items into groups of like width, each of at most `budget` padded tokens (a single item may exceed it). A group of
    `enough` tokens takes no item that it would pad by an eighth."""
    groups: list[list[int]] = []
    widest = 0
    for item in sorted(items, key=lambda i: (-width(i), i)):
        count = len(groups[-1]) if groups else 0
        padded = enough is not None and count * widest >= enough and 8 * width(item) < 7 * widest
        if groups and (count + 1) * widest <= budget and not padded:
            groups[-1].append(item)
        else:
            groups.append([item])
            widest = width(item)
    return groups


@dataclass(frozen=True)
class BatchLayout:
    """How rows become batches: pad id, width to pad to (None: the longest row), extra tokens per row, and which tokens have
    loss."""

    pad: int
    max_length: int | None = None
    extra: int = 0
    counts_target: bool = False  # decoder-only rows carry their target in the same sequence
    loss: Loss = "answer"

    def width(self, row: EncodedRow) -> int:
        return self.extra + max(len(row.source), self.max_length or 0) + (len(row.target) if self.counts_target else 0)

    def loss_tokens(self, row: EncodedRow) -> int:
        """The number of tokens of a row that have loss."""
        return len(row.target) + (len(row.source) if self.loss == "sequence" else 0)

    def batch(self, rows: Sequence[EncodedRow]) -> Batch:
        return collate(rows, self.pad, self.max_length)
