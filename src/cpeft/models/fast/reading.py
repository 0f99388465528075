"""Rows that an encoder has read: asked for a label in one pass, and from the same states what they say otherwise."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from cpeft.models.fast.label_trie import LabelTrie
from cpeft.models.fast.packed_t5 import PackedT5
from cpeft.models.fast.rows import Rows


@dataclass(frozen=True)
class Reading:
    """The encoder's output `y_ND` for packed rows, and the method's notes on every row."""

    packed: PackedT5
    y_ND: Float[Tensor, "N D"]
    rows: Rows
    notes: dict[str, Tensor]

    @torch.no_grad()
    def said(self, trie: LabelTrie) -> list[int]:
        """The label of `trie` that greedy decoding says for every row, -1 where it says none."""
        return self.packed.said(self.y_ND, self.rows, trie)

    @torch.no_grad()
    def label_scores(self, trie: LabelTrie) -> Float[Tensor, "B C"]:
        """The log-probability (nats) of every label of `trie` for every row."""
        return self.packed.label_scores(self.y_ND, self.rows, trie)

    def padded(self, chosen: Sequence[int] | None = None) -> tuple[Float[Tensor, "B S D"], Bool[Tensor, "B S"]]:
        """The output for these rows of the batch, or for all, as a padded batch with its mask."""
        order, rows = self.rows.order_B.tolist(), self.rows
        parts = [row for span in rows.split(self.y_ND) for row in span]
        by_row = dict(zip(order, parts, strict=True))
        wanted = [by_row[i] for i in (range(len(order)) if chosen is None else chosen)]
        lengths = torch.tensor([len(row) for row in wanted])
        states_BSD = torch.nn.utils.rnn.pad_sequence(wanted, batch_first=True)
        return states_BSD, torch.arange(states_BSD.shape[1]) < lengths[:, None]
