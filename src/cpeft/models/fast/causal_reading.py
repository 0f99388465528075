"""Texts that a decoder-only model has read behind their prompts, in its packed form.

A pass yields keys and values. Those of a prompt are kept until it changes, so that each prompt is computed once
for all rows and batches; those of a text serve every label (`label_trie.py`) and `generate`, so that a text is read once.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import DynamicCache

from cpeft.models.fast.label_trie import LabelTrie
from cpeft.models.fast.packed_llama import LEAD, Known, PackedLlama, behind, distinct, shared_lead
from cpeft.models.fast.packed_t5 import AT_ONCE
from cpeft.models.fast.reading import Reading
from cpeft.models.fast.rows import PackedRows

NODES = 2**13  # of a trie, over all rows, in one pass
KEPT = 64  # prompts whose keys and values are kept


class KeptPrompts:
    """Keys and values of prompts by number, until a prompt changes or `KEPT` others were wanted after it. The `lead` that all
    texts so far had in common counts as a part of every prompt."""

    def __init__(self, packed: PackedLlama) -> None:
        self.packed = packed
        self._known: dict[int, tuple[Tensor, Known]] = {}
        self._lead: Tensor | None = None

    def lead(self, source_BL: Int[Tensor, "B L"], mask_BL: Tensor) -> int:
        """How many tokens these texts and those before them have in common; where they have too few, a new beginning is made
        with these."""
        count = shared_lead(source_BL, mask_BL)
        if count and self._lead is not None:
            both = min(count, len(self._lead))
            before = int((source_BL[0, :both] == self._lead[:both]).long().cumprod(0).sum())
            count = before if before >= LEAD else count
        self._lead = source_BL[0, :count].clone() if count else self._lead
        return count

    def of(self, numbers: Sequence[int], prompt_KPD: Float[Tensor, "K P D"]) -> Known:
        """Keys and values of these prompts by layer, [2, K, keys, P, width]; missing ones are computed in one pass."""
        missing = [
            place
            for place, number in enumerate(numbers)
            if number not in self._known or not torch.equal(self._known[number][0], prompt_KPD[place])
        ]
        if missing:
            made = self.packed.read_prompts(prompt_KPD[missing])
            for i, place in enumerate(missing):
                self._known.pop(numbers[place], None)
                own = [layer[:, i : i + 1].clone() for layer in made]
                self._known[numbers[place]] = prompt_KPD[place].clone(), own
        wanted = [self._known[number][1] for number in numbers]
        for number in list(self._known)[:-KEPT]:
            del self._known[number]
        return [torch.cat(layers, 1) for layers in zip(*wanted, strict=True)]


@dataclass(frozen=True)
class CausalReading(Reading):
    """`known` by layer and span of rows: keys and values [2, rows, keys, P + length, width]; `last_BD` is the hidden
    state behind every text, in the order of `rows`, and `token_B` the last token of every text of the batch."""

    packed: PackedLlama
    known: list[list[Tensor]]
    last_BD: Float[Tensor, "B D"]
    token_B: Int[Tensor, "B"]

    def node_logits(self, trie: LabelTrie) -> Iterator[Tensor]:
        at_once = max(AT_ONCE // len(self.packed.embed.weight), 1)
        for first, count in self._pieces(max(NODES // len(trie), 1)):
            hidden = self.last_BD[first : first + count, None]
            if len(trie) > 1:
                hidden = torch.cat([hidden, self._below(trie, first, count)], 1)
            yield from map(self.packed.logits, hidden.flatten(0, 1).split(at_once))

    def _pieces(self, most: int) -> Iterator[tuple[int, int]]:
        """The rows in their order, as (first, count), at most so many together."""
        total = len(self.last_BD)
        for first in range(0, total, most):
            yield first, min(most, total - first)

    def _below(self, trie: LabelTrie, first: int, count: int) -> Float[Tensor, "B M D"]:
        """The hidden states of the nodes below the root behind some of the texts, all in one pass."""
        spans, cuts = [], []
        for number, (start, size, length) in enumerate(self.rows.spans):
            low, high = max(first, start), min(first + count, start + size)
            if low < high:
                spans.append((low - first, high - low, length))
                cuts.append((number, slice(low - start, high - start)))
        nodes = len(trie) - 1
        rows = PackedRows(torch.arange(count), tuple((start, size, nodes) for start, size, _ in spans))
        before = self.known[0][0].shape[3] - self.rows.spans[0][2]  # the prompt's rows
        depth_M = trie.depth_M[1:] - 1
        positions_N = torch.cat([(before + length + depth_M).repeat(size) for _, size, length in spans])
        contexts = [[layer[number][:, cut] for number, cut in cuts] for layer in self.known]
        x_ND = self.packed.embed(torch.tensor(trie.tokens[1:])).repeat(count, 1)
        own_MM = torch.zeros(nodes, nodes).masked_fill(~trie.sees_MM[1:, 1:], float("-inf"))
        x_ND, _ = self.packed.read(x_ND, rows, positions_N, contexts, own_MM)
        return self.packed.norm(x_ND).view(count, nodes, -1)

    def resumed(self, chosen: Sequence[int] | None = None) -> dict[str, Any]:
        """Texts on the right, their prompts before them, padding on the left; the last token of each is read again, for
        `generate` must read a token before it generates one."""
        rows = self.by_row(chosen)
        lengths = [self.known[0][span].shape[3] for span, _ in rows]
        longest, weight = max(lengths), self.packed.embed.weight
        x_BSD = weight.new_zeros(len(rows), longest, weight.shape[1])
        x_BSD[:, -1] = self.packed.embed(self.token_B if chosen is None else self.token_B[list(chosen)])
        mask_BS = torch.arange(longest) >= longest - torch.tensor(lengths)[:, None]
        known: dict[str, Any] = {"inputs_embeds": x_BSD, "attention_mask": mask_BS.long()}
        if longest > 1:
            cache = DynamicCache(config=self.packed.model.config)
            for number, layer in enumerate(self.known):
                _, _, keys, _, width = layer[0].shape
                kv = weight.new_zeros(2, len(rows), keys, longest - 1, width)
                for place, ((span, i), length) in enumerate(zip(rows, lengths, strict=True)):
                    kv[:, place, :, longest - length :] = layer[span][:, i, :, :-1]
                cache.update(*kv.unbind(0), number)
            known["past_key_values"] = cache
        return known


def read_texts(
    kept: KeptPrompts | None, packed: PackedLlama, prompt_BPD: Tensor, alike_B: Tensor, x_BLD: Tensor, source_BL: Tensor,
    mask_BL: Tensor, extras: dict[str, Tensor],
) -> CausalReading:  # fmt: skip
    """Read texts behind their prompts, each prompt once: rows of one number in `alike_B` have the same, and `kept` knows
    prompts by these numbers (None: they are of these rows alone)."""
    numbers, prompt_KPD, owner_B = distinct(prompt_BPD.to(x_BLD.dtype), alike_B)
    lead = kept.lead(source_BL, mask_BL) if kept and len(prompt_KPD) < len(x_BLD) else 0
    prompt_KPD, rest_BL = behind(prompt_KPD, x_BLD[0, :lead]), mask_BL[:, lead:]
    prompts = kept.of(numbers, prompt_KPD) if kept else packed.read_prompts(prompt_KPD)
    rows = PackedRows.of(rest_BL.sum(1).tolist())
    order_B, length = rows.order_B, prompt_KPD.shape[1]
    owners = owner_B[order_B].split([count for _, count, _ in rows.spans])
    # a copy for every row, so of one layer at a time
    contexts = ([layer[:, owner] for owner in owners] for layer in prompts)
    positions_N = torch.cat([torch.arange(length, length + n).repeat(count) for _, count, n in rows.spans])
    x_ND, known = packed.read(x_BLD[order_B, lead:][rest_BL[order_B]], rows, positions_N, contexts)
    ends_B = rows.length_B.cumsum(0) - 1
    last_B = torch.where(mask_BL, torch.arange(mask_BL.shape[1]), -1).max(1).values
    token_B = source_BL[torch.arange(len(source_BL)), last_B]
    return CausalReading(rows, extras, packed, known, packed.norm(x_ND[ends_B]), token_B)
