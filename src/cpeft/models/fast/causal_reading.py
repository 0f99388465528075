"""Texts that a decoder-only model has read behind their prompts, in its packed form.

A pass yields keys and values. Those of a prompt are kept until it changes, so that each prompt is computed once
for all rows and batches; those of a text serve every label (`label_trie.py`) and `generate`, so that a text is read once.
"""

from collections.abc import Hashable, Iterator, Sequence, Set
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import DynamicCache

from cpeft.models.fast.label_trie import LabelTrie
from cpeft.models.fast.packed_llama import LEAD, Known, PackedLlama, behind, distinct, shared_lead
from cpeft.models.fast.packed_t5 import AT_ONCE
from cpeft.models.fast.reading import Reading, extras_of
from cpeft.models.fast.rows import PackedRows
from cpeft.models.fast.tensor_file import TensorFile, mapped

NODES = 2**13  # of a trie, over all rows, in one pass
KEPT_BYTES = 2**28  # of keys and values of prompts: 58 prompts of 100 rows on a model of 135 million parameters


class KeptPrompts:
    """Keys and values of prompts by key, until the prompt of a key changes; above `most_bytes` those go that were not used for
    longest, to the `disk` where there is one, and stay there when they are read back. The `lead` that all texts so far had in
    common counts as a part of every prompt. `hits` (in memory), `read_back` and `misses` count."""

    def __init__(self, packed: PackedLlama, most_bytes: int = KEPT_BYTES, disk: TensorFile | None = None) -> None:
        self.packed, self.most_bytes, self.disk = packed, most_bytes, disk
        self.hits = self.read_back = self.misses = self.bytes = 0
        # prompt and keys and values of all layers, from the one not used for longest to the last used
        self._known: dict[Hashable, tuple[Tensor, Tensor]] = {}
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

    def of(self, keys: Sequence[Hashable], prompts: Sequence[Float[Tensor, "P D"]]) -> list[Known]:
        """Keys and values of each of these prompts by layer, [2, 1, keys, P, width]; missing ones are computed."""
        wanted, missing = set(keys), []
        for place, key in enumerate(keys):
            if not self._finds(key, prompts[place]):
                missing.append(place)
            self._make_room(wanted)
        made = read_each(self.packed, [prompts[place] for place in missing])
        for place, known in zip(missing, made, strict=True):
            prompt_PD, layers = prompts[place], mapped((len(known), *known[0].shape), known[0].dtype)
            copy_PD = mapped(prompt_PD.shape, prompt_PD.dtype).copy_(prompt_PD)
            self._keep(keys[place], copy_PD, torch.stack(known, out=layers))
            self._make_room(wanted)
        return [list(self._known[key][1]) for key in keys]

    def _make_room(self, wanted: Set[Hashable]) -> None:
        """Evict one after the other, so that what comes next can use the memory of what went; but not those wanted now."""
        while (
            self.bytes > self.most_bytes
            and (oldest := next((k for k in self._known if k not in wanted), None)) is not None
        ):
            self._evict(oldest)

    def _finds(self, key: Hashable, prompt_PD: Tensor) -> bool:
        """Whether those of this prompt are in memory, or were on the disk and are in memory now. Those of another prompt under
        the key are forgotten, so that what memory and disk have under a key is the same."""
        if key in self._known and torch.equal(self._known[key][0], prompt_PD):
            self.hits += 1
            self._known[key] = self._known.pop(key)
            return True
        self._forget(key)
        if self.disk and (stored := self.disk.get(key)):
            if torch.equal(stored[0], prompt_PD):
                self.read_back += 1
                self._keep(key, *stored)
                return True
            self.disk.forget(key)
        self.misses += 1
        return False

    def _keep(self, key: Hashable, prompt_PD: Tensor, known: Tensor) -> None:
        self._forget(key)
        self._known[key] = prompt_PD, known
        self.bytes += prompt_PD.nbytes + known.nbytes

    def _evict(self, key: Hashable) -> None:
        """From memory; written once, however often it is read back."""
        if self.disk and key in self.disk:
            self.disk.touch(key)
        elif self.disk:
            self.disk.put(key, self._known[key])
        self._forget(key)

    def _forget(self, key: Hashable) -> None:
        if key in self._known:
            prompt_PD, known = self._known.pop(key)
            self.bytes -= prompt_PD.nbytes + known.nbytes


@dataclass(frozen=True)
class CausalReading(Reading):
    """`known` by layer and span of rows: keys and values [2, rows, keys, P + length, width] of prompt and text; `last_BD` is
    the hidden state behind every text, in the order of `rows`, and `token_B` the last token of every text of the batch."""

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
        depth_M = trie.depth_M[1:] - 1
        ends = [self.known[0][number].shape[3] for number, _ in cuts]
        positions_N = torch.cat([(end + depth_M).repeat(size) for end, (_, size, _) in zip(ends, spans, strict=True)])
        contexts = [[layer[number][:, cut] for number, cut in cuts] for layer in self.known]
        x_ND = self.packed.embed(torch.tensor(trie.tokens[1:])).repeat(count, 1)
        own_MM = torch.zeros(nodes, nodes).masked_fill(~trie.sees_MM[1:, 1:], float("-inf"))
        x_ND, _ = self.packed.read(x_ND, rows, positions_N, contexts, own_MM)
        return self.packed.norm(x_ND).view(count, nodes, -1)

    def part(self, chosen: Sequence[int]) -> "CausalReading":
        rows, taken = self.rows.part(chosen)
        known = [[layer[number][:, places] for number, places in taken] for layer in self.known]
        first = [self.rows.spans[number][0] + places for number, places in taken]
        extras = extras_of(self.extras, chosen)
        return CausalReading(
            rows, extras, self.packed, known, self.last_BD[torch.cat(first)], self.token_B[list(chosen)]
        )

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
    prompt_KPD = behind(prompt_KPD, x_BLD[0, :lead])
    prompts = kept.of(numbers, list(prompt_KPD)) if kept else read_each(packed, list(prompt_KPD))
    return read_behind(packed, prompts, owner_B, x_BLD[:, lead:], source_BL[:, lead:], mask_BL[:, lead:], extras)


def read_behind(
    packed: PackedLlama,
    prompts: Sequence[Known],
    owner_B: Int[Tensor, "B"],
    x_BLD: Tensor,
    source_BL: Tensor,
    mask_BL: Tensor,
    extras: dict[str, Tensor],
) -> CausalReading:
    """Read texts behind keys and values of prompts of any lengths, by layer [2, 1, keys, P, width]; `owner_B` is the place of
    each row's."""
    lengths = [prompt[0].shape[3] for prompt in prompts]
    rows = PackedRows.of(mask_BL.sum(1).tolist(), [lengths[owner] for owner in owner_B.tolist()])
    order_B = rows.order_B
    owners = [part.tolist() for part in owner_B[order_B].split([count for _, count, _ in rows.spans])]
    # a copy for every row, so of one layer at a time
    contexts = ([_side_by_side([prompts[k][i] for k in own]) for own in owners] for i in range(len(packed.blocks)))
    starts = [lengths[own[0]] for own in owners]
    spans = zip(starts, rows.spans, strict=True)
    positions_N = torch.cat([torch.arange(start, start + n).repeat(count) for start, (_, count, n) in spans])
    x_ND, known = packed.read(x_BLD[order_B][mask_BL[order_B]], rows, positions_N, contexts)
    ends_B = rows.length_B.cumsum(0) - 1
    last_B = torch.where(mask_BL, torch.arange(mask_BL.shape[1]), -1).max(1).values
    token_B = source_BL[torch.arange(len(source_BL)), last_B]
    return CausalReading(rows, extras, packed, known, packed.norm(x_ND[ends_B]), token_B)


def _side_by_side(layers: list[Tensor]) -> Float[Tensor, "2 B H P W"]:
    """Keys and values of several rows' prompts; not copied where it is one prompt."""
    first = layers[0]
    if all(each is first for each in layers):
        return first.expand(-1, len(layers), -1, -1, -1)
    return torch.cat(layers, 1)


def read_each(packed: PackedLlama, prompts: Sequence[Float[Tensor, "P D"]]) -> list[Known]:
    """Keys and values of prompts of any lengths by layer, [2, 1, keys, P, width]; those of one length in one pass."""
    made: dict[int, Known] = {}
    for _, group in groupby(sorted(range(len(prompts)), key=lambda i: len(prompts[i])), lambda i: len(prompts[i])):
        places = list(group)
        layers = packed.read_prompts(torch.stack([prompts[i] for i in places]))
        made |= {i: [layer[:, k : k + 1] for layer in layers] for k, i in enumerate(places)}
    return [made[i] for i in range(len(prompts))]
