"""Rows that a packed form has read: asked for a label in one pass, and from the same states what they say otherwise."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from transformers.modeling_outputs import BaseModelOutput

from cpeft.models.fast.label_trie import LabelTrie
from cpeft.models.fast.packed_t5 import PackedT5
from cpeft.models.fast.rows import Rows


@dataclass(frozen=True)
class Reading(ABC):
    """Where the rows lie, and the method's notes on every row of the batch."""

    rows: Rows
    notes: dict[str, Tensor]

    @abstractmethod
    def asked(self, trie: LabelTrie) -> Iterator[Tensor]:
        """Logits at every node of a trie for every row in the order of `rows`, as many at once as memory is meant to hold."""

    @abstractmethod
    def resumed(self, chosen: Sequence[int] | None = None) -> dict[str, Any]:
        """What the model's `generate` goes on from for these rows of the batch, or for all."""

    @torch.no_grad()
    def said(self, trie: LabelTrie) -> list[tuple[int, ...]]:
        """What greedy decoding says for every row of the batch until it leaves `trie`, the token that leaves it included."""
        best_BM = torch.cat([logits.argmax(-1) for logits in self.asked(trie)]).view(-1, len(trie))
        said = dict(zip(self.rows.order_B.tolist(), map(trie.said, best_BM.tolist()), strict=True))
        return [said[i] for i in range(len(said))]

    @torch.no_grad()
    def label_scores(self, trie: LabelTrie) -> Float[Tensor, "B C"]:
        """The log-probability (nats) of every label of `trie`, with its end token, for every row of the batch."""
        tokens = sorted({token for path in trie.paths for _, token in path})
        column = {token: place for place, token in enumerate(tokens)}
        parts = [logits.log_softmax(-1)[:, tokens] for logits in self.asked(trie)]
        logp_BMU = torch.cat(parts).view(-1, len(trie), len(tokens))
        scores = [
            logp_BMU[:, [node for node, _ in path], [column[token] for _, token in path]].sum(-1) for path in trie.paths
        ]
        return torch.stack(scores, 1)[self.rows.order_B.argsort()]

    def by_row(self, chosen: Sequence[int] | None) -> list[tuple[int, int]]:
        """The span of each row of the batch that is chosen, or of each, and its place there."""
        order = self.rows.order_B.tolist()
        places = [(span, i) for span, (_, count, _) in enumerate(self.rows.spans) for i in range(count)]
        found = dict(zip(order, places, strict=True))
        return [found[i] for i in (range(len(order)) if chosen is None else chosen)]


@dataclass(frozen=True)
class EncoderReading(Reading):
    """The encoder's output `y_ND` for packed rows."""

    packed: PackedT5
    y_ND: Float[Tensor, "N D"]

    def asked(self, trie: LabelTrie) -> Iterator[Tensor]:
        return self.packed.asked(self.y_ND, self.rows, trie)

    def resumed(self, chosen: Sequence[int] | None = None) -> dict[str, Any]:
        states_BSD, mask_BS = self.padded(chosen)
        return {"encoder_outputs": BaseModelOutput(last_hidden_state=states_BSD), "attention_mask": mask_BS.long()}

    def padded(self, chosen: Sequence[int] | None = None) -> tuple[Float[Tensor, "B S D"], Bool[Tensor, "B S"]]:
        """The output for these rows of the batch, or for all, as a padded batch with its mask."""
        spans = self.rows.split(self.y_ND)
        wanted = [spans[span][i] for span, i in self.by_row(chosen)]
        lengths = torch.tensor([len(row) for row in wanted])
        states_BSD = torch.nn.utils.rnn.pad_sequence(wanted, batch_first=True)
        return states_BSD, torch.arange(states_BSD.shape[1]) < lengths[:, None]
