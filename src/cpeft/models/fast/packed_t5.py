"""T5 over packed rows: what transformers' T5 computes, without work on padding.

Why: a batch padded to its longest row spends a fifth (short texts) to nearly half (SQuAD) of its products on padding, computes
query, key and value apart, and builds one float mask per layer. Here the real tokens of all rows stand behind one another in
one matrix [N, D]; linear layers see that matrix, attention sees rows of like length together, the position bias is made once
per stack, keys and values of all cross-attentions come from one product, and the vocabulary is asked at label positions
alone. What it gains is in `docs/results/speed.md`; its oracle is transformers' own module.

In a bfloat16 model attention is computed in float32, because the CPU's backward pass through bfloat16 attention costs four
times as much.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from cpeft.data.encode import IGNORE, Batch
from cpeft.models.fast.label_trie import LabelTrie

KINDS = ("T5ForConditionalGeneration", "MT5ForConditionalGeneration")
AT_ONCE = 2**24  # logits held at once
AGREE = {
    torch.float64: 1e-6,
    torch.float32: 1e-3,
    torch.bfloat16: 0.1,
}  # relative error of loss and gradient in the check


@dataclass(frozen=True)
class Rows:
    """Where the rows of a batch lie in the packed matrix: `order_B` from longest to shortest, and `spans` of like length as
    (first row, rows, length)."""

    order_B: Int[Tensor, "B"]
    spans: tuple[tuple[int, int, int], ...]

    @classmethod
    def of(cls, lengths: Sequence[int]) -> "Rows":
        order = sorted(range(len(lengths)), key=lambda i: -lengths[i])
        spans, first = [], 0
        for length, group in groupby(order, key=lengths.__getitem__):
            count = len(list(group))
            spans.append((first, count, length))
            first += count
        return cls(torch.tensor(order), tuple(spans))

    @property
    def longest(self) -> int:
        return self.spans[0][2]

    def split(self, x: Tensor) -> list[Tensor]:
        """[N, ...] as one [rows, length, ...] per span."""
        parts = x.split([count * length for _, count, length in self.spans])
        return [part.unflatten(0, (count, length)) for part, (_, count, length) in zip(parts, self.spans, strict=True)]


class _Block:
    """The weights of one block; query, key and value stand in one matrix, of which the module's own become views."""

    def __init__(self, block: Any, decoder: bool) -> None:
        own, last = block.layer[0], block.layer[-1]
        self.qkv = _fuse([own.SelfAttention.q, own.SelfAttention.k, own.SelfAttention.v])
        self.out, self.norm = own.SelfAttention.o.weight, own.layer_norm
        if decoder:
            cross = block.layer[1]
            self.cross_q, self.cross_out = cross.EncDecAttention.q.weight, cross.EncDecAttention.o.weight
            self.cross_norm = cross.layer_norm
        ff = last.DenseReluDense
        self.gated = hasattr(ff, "wi_0")
        self.into = _fuse([ff.wi_0, ff.wi_1]) if self.gated else ff.wi.weight
        self.back, self.act, self.ff_norm = ff.wo.weight, ff.act, last.layer_norm

    def feed_forward(self, x: Tensor) -> Tensor:
        h = F.linear(_norm(x, self.ff_norm), self.into)
        if self.gated:
            gate, h = h.chunk(2, -1)
            return x + F.linear(self.act(gate) * h, self.back)
        return x + F.linear(self.act(h), self.back)


class PackedT5:
    """The packed forward passes of one frozen T5 (v1.0, v1.1 and mT5 alike)."""

    def __init__(self, model: Any) -> None:
        config = model.config
        self.model, self.heads = model, config.num_heads
        self.encoder = [_Block(block, decoder=False) for block in model.encoder.block]
        self.decoder = [_Block(block, decoder=True) for block in model.decoder.block]
        cross = [block.layer[1].EncDecAttention for block in model.decoder.block]
        self.cross_kv = _fuse([linear for each in cross for linear in (each.k, each.v)])
        self.scale = (
            model.model_dim**-0.5 if getattr(config, "scale_decoder_outputs", config.tie_word_embeddings) else 1.0
        )
        self._bias: dict[bool, Tensor] = {}

    def pack(self, prompt_BPD: Tensor, x_BLD: Tensor, mask_BL: Tensor) -> tuple[Float[Tensor, "N D"], Rows]:
        """Prompts and real tokens of all rows in one matrix."""
        joined_BSD = torch.cat([prompt_BPD.to(x_BLD.dtype), x_BLD], 1)
        mask_BS = torch.cat([mask_BL.new_ones(prompt_BPD.shape[:2]), mask_BL], 1)
        rows = Rows.of(mask_BS.sum(1).tolist())
        places_BS = torch.arange(mask_BS.numel()).view(mask_BS.shape)[rows.order_B]
        return joined_BSD.flatten(0, 1)[places_BS[mask_BS[rows.order_B]]], rows

    def encode(self, x_ND: Float[Tensor, "N D"], rows: Rows) -> Float[Tensor, "N D"]:
        """The encoder's output for packed rows."""
        bias = self._bias_of(rows.longest, decoder=False)
        for block in self.encoder:
            qkv = F.linear(_norm(x_ND, block.norm), block.qkv).unflatten(-1, (3, self.heads, -1))
            done = [
                _attend(part, bias[:, :, :length, :length]).flatten(0, 1)
                for part, (_, _, length) in zip(rows.split(qkv), rows.spans, strict=True)
            ]
            x_ND = block.feed_forward(x_ND + F.linear(torch.cat(done).to(x_ND.dtype), block.out))
        return _norm(x_ND, self.model.encoder.final_layer_norm)

    def decode(self, ids_BT: Int[Tensor, "B T"], y_ND: Tensor, rows: Rows, bias_HTT: Tensor) -> Float[Tensor, "B T D"]:
        """The decoder's output for input ids in the order of `rows`, under an additive self-attention bias."""
        x_BTD = self.model.decoder.embed_tokens(ids_BT)
        kv = F.linear(y_ND, self.cross_kv).unflatten(-1, (len(self.decoder), 2, self.heads, -1)).unbind(1)
        for block, kv_N2HK in zip(self.decoder, kv, strict=True):
            qkv = F.linear(_norm(x_BTD, block.norm), block.qkv).unflatten(-1, (3, self.heads, -1))
            x_BTD = x_BTD + F.linear(_attend(qkv, bias_HTT).to(x_BTD.dtype), block.out)
            q = F.linear(_norm(x_BTD, block.cross_norm), block.cross_q).unflatten(-1, (self.heads, -1))
            done = [
                _attend_to(part, *known.unbind(2))
                for part, known in zip(q.split([n for _, n, _ in rows.spans]), rows.split(kv_N2HK), strict=True)
            ]
            x_BTD = block.feed_forward(x_BTD + F.linear(torch.cat(done).to(x_BTD.dtype), block.cross_out))
        return _norm(x_BTD, self.model.decoder.final_layer_norm)

    def losses(self, prompt_BPD: Tensor, x_BLD: Tensor, batch: Batch) -> Float[Tensor, "B"]:
        """Summed cross-entropy (nats) of every row's target, as `example_losses` defines it."""
        x_ND, rows = self.pack(prompt_BPD, x_BLD, batch.mask_BL)
        target_BT = batch.target_BT[rows.order_B]
        starts_BT = self.model.prepare_decoder_input_ids_from_labels(labels=target_BT)
        length = target_BT.shape[1]
        causal = torch.full((length, length), float("-inf")).triu(1)
        bias = self._bias_of(length, decoder=True)[:, :, :length, :length] + causal
        hidden_BTD = self.decode(starts_BT, self.encode(x_ND, rows), rows, bias)
        known_BT = target_BT != IGNORE
        logits = self.logits(hidden_BTD[known_BT])
        token_losses = F.cross_entropy(logits, target_BT[known_BT], reduction="none")
        owner = rows.order_B[:, None].expand_as(known_BT)[known_BT]
        return token_losses.new_zeros(len(batch)).index_add(0, owner, token_losses)

    def said(self, y_ND: Tensor, rows: Rows, trie: LabelTrie) -> list[int]:
        """For every row, in the batch's order, the label that greedy decoding says, or -1."""
        count, depth = len(rows.order_B), trie.depth_M
        longest = int(depth.max()) + 1
        bias = self._bias_of(longest, decoder=True)[:, :, depth[:, None], depth[None, :]]
        bias = bias.masked_fill(~trie.sees_MM, float("-inf"))
        ids_BM = trie.inputs(self.model.config.decoder_start_token_id).expand(count, -1)
        hidden = self.decode(ids_BM, y_ND, rows, bias).flatten(0, 1)
        room = max(AT_ONCE // len(self.model.lm_head.weight), 1)
        best_BM = torch.cat([self.logits(part).argmax(-1) for part in hidden.split(room)]).view(count, len(trie))
        said = dict(zip(rows.order_B.tolist(), map(trie.said, best_BM.tolist()), strict=True))
        return [said[i] for i in range(count)]

    def unpack(self, y_ND: Tensor, rows: Rows) -> Float[Tensor, "B S D"]:
        """Packed rows as a padded batch, in the batch's order."""
        padded = y_ND.new_zeros(len(rows.order_B), rows.longest, y_ND.shape[-1])
        for (first, count, length), part in zip(rows.spans, rows.split(y_ND), strict=True):
            padded[rows.order_B[first : first + count], :length] = part
        return padded

    def logits(self, hidden: Tensor) -> Tensor:
        """Logits, float32 at least."""
        logits = F.linear(hidden * self.scale, self.model.lm_head.weight)
        return logits.to(torch.promote_types(logits.dtype, torch.float32))

    def _bias_of(self, length: int, decoder: bool) -> Float[Tensor, "1 H S S"]:
        """The position bias of a stack for rows up to `length`; kept, as a shorter one is its upper left corner."""
        known = self._bias.get(decoder)
        if known is None or known.shape[-1] < length:
            stack = self.model.decoder if decoder else self.model.encoder
            bias = stack.block[0].layer[0].SelfAttention.compute_bias(length, length).detach()
            known = self._bias[decoder] = bias.to(torch.promote_types(bias.dtype, torch.float32)).contiguous()
        return known


def _norm(x: Tensor, norm: Any) -> Tensor:
    """Root mean square norm, its variance in float32 as in the module."""
    variance = x.to(torch.float32).pow(2).mean(-1, keepdim=True)
    return norm.weight * (x * torch.rsqrt(variance + norm.variance_epsilon)).to(norm.weight.dtype)  # type: ignore[no-any-return]


def _attend(qkv: Tensor, bias: Tensor) -> Tensor:
    """Self-attention of [rows, length, 3, heads, width] with an additive bias."""
    q, k, v = qkv.unbind(2)
    return _attend_to(q, k, v, bias)


def _attend_to(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None = None) -> Tensor:
    """Attention of [rows, length, heads, width], unscaled as T5's: [rows, length, heads * width], float32 at least."""
    kind = torch.promote_types(q.dtype, torch.float32)
    q, k, v = (x.transpose(1, 2).to(kind) for x in (q, k, v))
    bias = None if bias is None else bias.to(kind)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=bias, scale=1.0).transpose(1, 2).flatten(2)


def _fuse(linears: Sequence[nn.Linear]) -> Tensor:
    """The weights below one another; the layers' own become views of them, so nothing is held twice."""
    fused = torch.cat([linear.weight.detach() for linear in linears])
    for linear, part in zip(linears, fused.split([linear.out_features for linear in linears]), strict=True):
        linear.weight.data = part
    return fused


def packed_t5(model: Any) -> PackedT5 | None:
    """The packed form of a frozen model on the CPU, or None where it is another kind of model, changed in any way, or does not
    agree with its own module. (On a GPU many small attentions would wait for their launches.)"""
    plain = all(type(module) is nn.Linear and module.bias is None for module in model.modules() if _is_linear(module))
    weights = list(model.parameters())
    alike = len({(p.dtype, p.device.type) for p in weights}) == 1 and not any(p.requires_grad for p in weights)
    hooked = any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    if type(model).__name__ not in KINDS or not plain or not alike or hooked or weights[0].device.type != "cpu":
        return None
    if weights[0].dtype not in AGREE:
        return None
    packed = PackedT5(model)
    return packed if _agrees(packed, model) else None


def _is_linear(module: Any) -> bool:
    return hasattr(module, "in_features") or hasattr(module, "base_layer")


def _agrees(packed: PackedT5, model: Any) -> bool:
    """Whether loss and gradient of a prompt are those of the module, on the actual weights and rows of unlike lengths."""
    rng = torch.Generator().manual_seed(0)
    vocabulary = model.get_input_embeddings().weight
    ids_BL = torch.randint(len(vocabulary), (3, 9), generator=rng)
    mask_BL = torch.arange(9) < torch.tensor([[9], [4], [6]])
    target_BT = torch.randint(1, len(vocabulary), (3, 3), generator=rng)
    target_BT[1, 2] = IGNORE
    batch = Batch(ids_BL, mask_BL, target_BT, torch.zeros(3, dtype=torch.long))
    x_BLD = model.get_input_embeddings()(ids_BL)
    found = []
    for way in (packed.losses, lambda *given: _module_losses(model, *given)):
        prompt_PD = vocabulary[torch.randint(len(vocabulary), (5,), generator=torch.Generator().manual_seed(1))].clone()
        prompt_PD.requires_grad_(True)
        with torch.enable_grad():
            loss_B = way(prompt_PD.expand(3, -1, -1), x_BLD, batch)
            (gradient,) = torch.autograd.grad(loss_B.sum(), prompt_PD)
        found.append((loss_B.detach().double(), gradient.double()))
    close = AGREE[vocabulary.dtype]
    return all(
        float((ours - theirs).norm()) <= close * float(theirs.norm()) for ours, theirs in zip(*found, strict=True)
    )


def _module_losses(model: Any, prompt_BPD: Tensor, x_BLD: Tensor, batch: Batch) -> Tensor:
    joined = torch.cat([prompt_BPD, x_BLD], 1)
    mask = torch.cat([batch.mask_BL.new_ones(prompt_BPD.shape[:2]), batch.mask_BL], 1)
    starts = model.prepare_decoder_input_ids_from_labels(labels=batch.target_BT)
    logits = model(inputs_embeds=joined, attention_mask=mask.long(), decoder_input_ids=starts, use_cache=False).logits
    precise = logits.to(torch.promote_types(logits.dtype, torch.float32)).transpose(1, 2)
    return F.cross_entropy(precise, batch.target_BT, ignore_index=IGNORE, reduction="none").sum(1)
