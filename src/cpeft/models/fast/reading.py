"""Rows that a packed form has read: label scores in one pass, and generation from the same states."""

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
from cpeft.models.fast.rows import PackedRows


@dataclass(frozen=True)
class Answers:
    """By row of a batch: the tokens of greedy decoding until they leave the tree of labels, the one that leaves it included;
    and the log-probability (nats) of every label with its end token. None where it was not wanted."""

    greedy: list[tuple[int, ...]] | None
    scores_BC: Float[Tensor, "B C"] | None


@dataclass(frozen=True)
class Reading(ABC):
    """Where the rows lie, and the method's extras of every row of the batch."""

    rows: PackedRows
    extras: dict[str, Tensor]

    @abstractmethod
    def node_logits(self, trie: LabelTrie) -> Iterator[Tensor]:
        """Logits at every node of a trie for every row in the order of `rows`, in parts that bound the memory used."""

    @abstractmethod
    def resumed(self, chosen: Sequence[int] | None = None) -> dict[str, Any]:
        """The inputs with which the model's `generate` continues from these rows of the batch, or from all."""

    @abstractmethod
    def part(self, chosen: Sequence[int]) -> "Reading":
        """These rows of the batch, each once, as a batch of their own."""

    @torch.no_grad()
    def answers(self, trie: LabelTrie, greedy: bool = True, scored: bool = True) -> Answers:
        """What the labels of `trie` get from every row of the batch, greedy texts and scores as wanted, in one pass."""
        tokens = sorted({token for path in trie.paths for _, token in path})
        best, logp = list[Tensor](), list[Tensor]()
        for logits in self.node_logits(trie):
            best += [logits.argmax(-1)] if greedy else []
            logp += [logits.log_softmax(-1)[:, tokens]] if scored else []
        back_B = self.rows.order_B.argsort()
        texts = (
            [trie.greedy_tokens(row) for row in torch.cat(best).view(-1, len(trie))[back_B].tolist()]
            if greedy
            else None
        )
        return Answers(texts, _label_scores(trie, tokens, torch.cat(logp))[back_B] if scored else None)

    def by_row(self, chosen: Sequence[int] | None) -> list[tuple[int, int]]:
        """The span of each row of the batch that is chosen, or of each, and its place there."""
        order = self.rows.order_B.tolist()
        places = [(span, i) for span, (_, count, _) in enumerate(self.rows.spans) for i in range(count)]
        found = dict(zip(order, places, strict=True))
        return [found[i] for i in (range(len(order)) if chosen is None else chosen)]


def extras_of(extras: dict[str, Tensor], chosen: Sequence[int]) -> dict[str, Tensor]:
    """A method's extras of some rows of a batch."""
    return {name: value[list(chosen)] for name, value in extras.items()}


def _label_scores(trie: LabelTrie, tokens: list[int], logp_NU: Tensor) -> Float[Tensor, "B C"]:
    """The sum over each label's path, from the log-probabilities of `tokens` at every node of every row."""
    column = {token: place for place, token in enumerate(tokens)}
    logp_BMU = logp_NU.view(-1, len(trie), len(tokens))
    paths = [([node for node, _ in path], [column[token] for _, token in path]) for path in trie.paths]
    return torch.stack([logp_BMU[:, nodes, columns].sum(-1) for nodes, columns in paths], 1)


@dataclass(frozen=True)
class EncoderReading(Reading):
    """The encoder's output `y_ND` for packed rows."""

    packed: PackedT5
    y_ND: Float[Tensor, "N D"]

    def node_logits(self, trie: LabelTrie) -> Iterator[Tensor]:
        return self.packed.node_logits(self.y_ND, self.rows, trie)

    def part(self, chosen: Sequence[int]) -> "EncoderReading":
        rows, taken = self.rows.part(chosen)
        spans = self.rows.split(self.y_ND)
        y_ND = torch.cat([spans[number][places].flatten(0, 1) for number, places in taken])
        return EncoderReading(rows, extras_of(self.extras, chosen), self.packed, y_ND)

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
