"""Greedy generation, one token of every row at a step. Rows join and leave between steps, so a row that comes late does not
wait for the longest answer of a batch."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor
from transformers import DynamicCache, EncoderDecoderCache
from transformers.modeling_outputs import BaseModelOutput

from cpeft.models.fast.causal_attention import causal
from cpeft.models.fast.causal_reading import CausalReading
from cpeft.models.fast.packed_llama import PackedLlama
from cpeft.models.fast.packed_t5 import PackedT5
from cpeft.models.fast.reading import EncoderReading, Reading
from cpeft.models.fast.rows import PackedRows

R = TypeVar("R", bound=Reading)
Tokens = list[tuple[Hashable, int]]


class Steps(ABC, Generic[R]):
    """Rows in generation, by key."""

    @abstractmethod
    def join(self, reading: R, keys: Sequence[Hashable]) -> Tokens:
        """Begin with the rows of a reading, a key for each; their first tokens."""

    @abstractmethod
    def step(self) -> Tokens:
        """The next token of every row."""

    @abstractmethod
    def leave(self, keys: Collection[Hashable]) -> None:
        """End these rows."""


def steps_of(packed: PackedLlama | PackedT5) -> "Steps[Any]":
    """Generation on a model's packed form, without rows yet."""
    return CausalSteps(packed) if isinstance(packed, PackedLlama) else EncoderSteps(packed)


@dataclass
class _Texts:
    """Rows of one length behind prompts of one length: `known` are keys and values by layer, [2, rows, keys, S, width]."""

    keys: list[Hashable]
    known: list[Tensor]
    last: list[int]


class CausalSteps(Steps[CausalReading]):
    """All rows in one pass, each behind its own keys and values."""

    def __init__(self, packed: PackedLlama) -> None:
        self.packed = packed
        self._groups: list[_Texts] = []

    @torch.no_grad()
    def join(self, reading: CausalReading, keys: Sequence[Hashable]) -> Tokens:
        ordered = [keys[i] for i in reading.rows.order_B.tolist()]
        first = self.packed.logits(reading.last_BD).argmax(-1).tolist()
        for number, (start, count, _) in enumerate(reading.rows.spans):
            span = slice(start, start + count)
            self._groups.append(_Texts(ordered[span], [layer[number] for layer in reading.known], first[span]))
        return list(zip(ordered, first, strict=True))

    @torch.no_grad()
    def step(self) -> Tokens:
        if not self._groups:
            return []
        spans, first = [], 0
        for group in self._groups:
            spans.append((first, len(group.keys), 1))
            first += len(group.keys)
        positions = [group.known[0].shape[3] for group in self._groups for _ in group.keys]
        x_ND = self.packed.embed(torch.tensor([token for group in self._groups for token in group.last]))
        contexts = zip(*(group.known for group in self._groups), strict=True)
        rows = PackedRows(torch.arange(first), tuple(spans))
        x_ND, known = self.packed.read(x_ND, rows, torch.tensor(positions), contexts, causal(1, x_ND))
        tokens = self.packed.logits(self.packed.norm(x_ND)).argmax(-1).tolist()
        for number, (group, (start, count, _)) in enumerate(zip(self._groups, spans, strict=True)):
            group.known, group.last = [layer[number] for layer in known], tokens[start : start + count]
        return [pair for group in self._groups for pair in zip(group.keys, group.last, strict=True)]

    def leave(self, keys: Collection[Hashable]) -> None:
        for group in self._groups:
            stay = [i for i, key in enumerate(group.keys) if key not in keys]
            if len(stay) < len(group.keys):
                group.keys, group.last = [group.keys[i] for i in stay], [group.last[i] for i in stay]
                group.known = [layer[:, stay] for layer in group.known]
        self._groups = [group for group in self._groups if group.keys]


@dataclass
class _Sources:
    """Rows that began together, and what their decoder has seen."""

    keys: list[Hashable]
    states_BSD: Tensor
    mask_BS: Tensor
    last_B: Tensor
    cache: EncoderDecoderCache


class EncoderSteps(Steps[EncoderReading]):
    """The module's decoder, a pass for the rows that began together."""

    def __init__(self, packed: PackedT5) -> None:
        self.model = packed.model
        self._groups: list[_Sources] = []

    @torch.no_grad()
    def join(self, reading: EncoderReading, keys: Sequence[Hashable]) -> Tokens:
        states_BSD, mask_BS = reading.padded()
        start_B = torch.full((len(keys),), self.model.config.decoder_start_token_id)
        cache = EncoderDecoderCache(DynamicCache(), DynamicCache())
        self._groups.append(_Sources(list(keys), states_BSD, mask_BS, start_B, cache))
        return self._next(self._groups[-1])

    @torch.no_grad()
    def step(self) -> Tokens:
        return [pair for group in self._groups for pair in self._next(group)]

    def _next(self, group: _Sources) -> Tokens:
        out = self.model(
            encoder_outputs=BaseModelOutput(last_hidden_state=group.states_BSD),
            attention_mask=group.mask_BS.long(),
            decoder_input_ids=group.last_B[:, None],
            past_key_values=group.cache,
            use_cache=True,
        )
        group.last_B = out.logits[:, -1].argmax(-1)
        return list(zip(group.keys, group.last_B.tolist(), strict=True))

    def leave(self, keys: Collection[Hashable]) -> None:
        for group in self._groups:
            stay = [i for i, key in enumerate(group.keys) if key not in keys]
            if 0 < len(stay) < len(group.keys):
                group.states_BSD, group.mask_BS, group.last_B = (
                    each[stay] for each in (group.states_BSD, group.mask_BS, group.last_B)
                )
                group.cache.batch_select_indices(torch.tensor(stay))
            group.keys = [group.keys[i] for i in stay]
        self._groups = [group for group in self._groups if group.keys]
