"""T5 over packed rows: what transformers' T5 computes, without work on padding.

Why: a batch padded to its longest row spends a fifth (short texts) to nearly half (SQuAD) of its products on padding, computes
query, key and value apart, and builds one float mask per layer. Here the real tokens of all rows stand behind one another in
one matrix [N, D]; linear layers see that matrix, attention sees rows of like length together, the position bias is made once
per stack, and logits are computed at label positions alone. What it gains is in `studies/speed`; its oracle is
transformers' own module.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from cpeft.data.encode import IGNORE, Batch
from cpeft.models.fast.agreement import agree, check_batch, is_plain
from cpeft.models.fast.dropout import Drops
from cpeft.models.fast.label_trie import LabelTrie
from cpeft.models.fast.product import Product, arranges
from cpeft.models.fast.rows import PackedRows
from cpeft.models.fast.sublayers import FeedForward, Norm
from cpeft.models.fast.t5_attention import SINGLE, SelfAttention
from cpeft.models.losses import precise, row_losses

KINDS = ("T5ForConditionalGeneration", "MT5ForConditionalGeneration")
AT_ONCE = 2**24  # logits held at once


def _feed_forward(layer: Any, arranged: bool) -> FeedForward:
    dense = layer.DenseReluDense
    into = [dense.wi_0, dense.wi_1] if hasattr(dense, "wi_0") else [dense.wi]
    return FeedForward(Norm.of(layer.layer_norm, SINGLE), into, dense.act, dense.wo, arranged)


class _EncoderBlock:
    """The sublayers of one encoder block."""

    def __init__(self, block: Any, arranged: bool) -> None:
        self.attention = SelfAttention(block.layer[0], arranged)
        self.feed_forward = _feed_forward(block.layer[1], arranged)


class _DecoderBlock:
    """The matrices of one decoder block. Targets are short, so it is composed of single operations."""

    def __init__(self, block: Any, arranged: bool) -> None:
        own, cross = block.layer[0].SelfAttention, block.layer[1].EncDecAttention
        self.norm, self.cross_norm = (Norm.of(layer.layer_norm, SINGLE) for layer in block.layer[:2])
        self.qkv, self.out = Product([own.q, own.k, own.v], arranged), Product([own.o], arranged)
        self.cross_q, self.cross_out = Product([cross.q], arranged), Product([cross.o], arranged)
        self.cross_kv = Product([cross.k, cross.v], arranged)
        self.feed_forward = _feed_forward(block.layer[2], arranged)


class PackedT5:
    """The packed forward passes of one frozen T5 (v1.0, v1.1 and mT5 alike). In training mode the module's dropout is on, at
    all of its places and at its rates, with random bits seeded by torch's generator."""

    def __init__(self, model: Any) -> None:
        config, arranged = model.config, arranges(model)
        self.model, self.heads = model, config.num_heads
        self.encoder = [_EncoderBlock(block, arranged) for block in model.encoder.block]
        self.decoder = [_DecoderBlock(block, arranged) for block in model.decoder.block]
        self.vocabulary = Product([model.lm_head], arranged)
        self.scale = (
            model.model_dim**-0.5 if getattr(config, "scale_decoder_outputs", config.tie_word_embeddings) else 1.0
        )
        self._bias: dict[bool, Tensor] = {}

    def pack(self, prompt_BPD: Tensor, x_BLD: Tensor, mask_BL: Tensor) -> tuple[Float[Tensor, "N D"], PackedRows]:
        """Prompts and real tokens of all rows in one matrix."""
        joined_BSD = torch.cat([prompt_BPD.to(x_BLD.dtype), x_BLD], 1)
        mask_BS = torch.cat([mask_BL.new_ones(prompt_BPD.shape[:2]), mask_BL], 1)
        rows = PackedRows.of(mask_BS.sum(1).tolist())
        places_BS = torch.arange(mask_BS.numel()).view(mask_BS.shape)[rows.order_B]
        return joined_BSD.flatten(0, 1)[places_BS[mask_BS[rows.order_B]]], rows

    @staticmethod
    def pack_each(rows: Sequence[Float[Tensor, "S D"]]) -> tuple[Float[Tensor, "N D"], PackedRows]:
        """Rows of any lengths, each a prompt and its text, in one matrix."""
        packed = PackedRows.of([len(row) for row in rows])
        return torch.cat([rows[i] for i in packed.order_B.tolist()]), packed

    def encode(self, x_ND: Float[Tensor, "N D"], rows: PackedRows, drops: Drops | None = None) -> Float[Tensor, "N D"]:
        """The encoder's output for packed rows."""
        bias = self._bias_of(rows.longest, decoder=False)
        x_ND = _thinned(x_ND, drops)
        for block in self.encoder:
            x_ND = block.feed_forward(block.attention(x_ND, rows, bias, drops), drops)
        return _thinned(self._last_norm(x_ND, decoder=False), drops)

    def decode(
        self, ids_BT: Int[Tensor, "B T"], y_ND: Tensor, rows: PackedRows, bias_HTT: Tensor, drops: Drops | None = None
    ) -> Float[Tensor, "B T D"]:
        """The decoder's output for input ids in the order of `rows`, under an additive self-attention bias."""
        x_BTD = _thinned(self.model.decoder.embed_tokens(ids_BT), drops)
        for block in self.decoder:
            q, k, v = block.qkv(block.norm(x_BTD)).unflatten(-1, (3, self.heads, -1)).unbind(2)
            x_BTD = x_BTD + _thinned(block.out(_attend(q, k, v, bias_HTT, drops).to(x_BTD.dtype)), drops)
            q = block.cross_q(block.cross_norm(x_BTD)).unflatten(-1, (self.heads, -1))
            k, v = block.cross_kv(y_ND).unflatten(-1, (2, self.heads, -1)).unbind(1)
            parts = zip(q.split([n for _, n, _ in rows.spans]), rows.split(k), rows.split(v), strict=True)
            done = [_attend(*part, None, drops) for part in parts]
            x_BTD = x_BTD + _thinned(block.cross_out(torch.cat(done).to(x_BTD.dtype)), drops)
            x_BTD = block.feed_forward(x_BTD.flatten(0, 1), drops).unflatten(0, x_BTD.shape[:2])
        return _thinned(self._last_norm(x_BTD, decoder=True), drops)

    def losses(self, prompt_BPD: Tensor, x_BLD: Tensor, batch: Batch) -> Float[Tensor, "B"]:
        """Summed cross-entropy (nats) of every row's target, as `example_losses` defines it."""
        drops = self._drops() if self.model.training else None
        x_ND, rows = self.pack(prompt_BPD, x_BLD, batch.mask_BL)
        target_BT = batch.target_BT[rows.order_B]
        starts_BT = self.model.prepare_decoder_input_ids_from_labels(labels=target_BT)
        length = target_BT.shape[1]
        causal = torch.full((length, length), float("-inf")).triu(1)
        bias = self._bias_of(length, decoder=True)[:, :, :length, :length] + causal
        hidden_BTD = self.decode(starts_BT, self.encode(x_ND, rows, drops), rows, bias, drops)
        known_BT = target_BT != IGNORE
        logits = self.logits(hidden_BTD[known_BT])
        token_losses = F.cross_entropy(logits, target_BT[known_BT], reduction="none")
        owner = rows.order_B[:, None].expand_as(known_BT)[known_BT]
        return token_losses.new_zeros(len(batch)).index_add(0, owner, token_losses)

    def node_logits(self, y_ND: Tensor, rows: PackedRows, trie: LabelTrie) -> Iterator[Tensor]:
        """Logits at every node of a trie for every row in the order of `rows`, in parts that bound the memory used."""
        count, depth = len(rows.order_B), trie.depth_M
        longest = int(depth.max()) + 1
        bias = self._bias_of(longest, decoder=True)[:, :, depth[:, None], depth[None, :]]
        bias = bias.masked_fill(~trie.sees_MM, float("-inf"))
        ids_BM = trie.inputs(self.model.config.decoder_start_token_id).expand(count, -1)
        hidden = self.decode(ids_BM, y_ND, rows, bias).flatten(0, 1)
        at_once = max(AT_ONCE // len(self.model.lm_head.weight), 1)
        return map(self.logits, hidden.split(at_once))

    def logits(self, hidden: Tensor) -> Tensor:
        """Logits, float32 at least."""
        return precise(self.vocabulary(hidden * self.scale))

    def _last_norm(self, x: Tensor, decoder: bool) -> Tensor:
        stack = self.model.decoder if decoder else self.model.encoder
        return Norm.of(stack.final_layer_norm, SINGLE)(x)

    def _drops(self) -> Drops | None:
        """The module's dropout of one pass. Attention has a rate of its own, which training may set to 0."""
        rate = self.model.encoder.dropout.p
        of_attention = self.model.encoder.block[0].layer[0].SelfAttention.dropout
        return Drops.of(rate, of_attention, int(torch.randint(2**62, ())))

    def _bias_of(self, length: int, decoder: bool) -> Float[Tensor, "1 H S S"]:
        """The position bias of a stack for rows up to `length`; kept, as a shorter one is its upper left corner."""
        known = self._bias.get(decoder)
        if known is None or known.shape[-1] < length:
            stack = self.model.decoder if decoder else self.model.encoder
            bias = stack.block[0].layer[0].SelfAttention.compute_bias(length, length).detach()
            known = self._bias[decoder] = bias.to(torch.promote_types(bias.dtype, torch.float32)).contiguous()
        return known


def _thinned(x: Tensor, drops: Drops | None) -> Tensor:
    """x after the dropout of layers."""
    return x if drops is None else drops.layers.draw(x.shape).of(x)


def _attend(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, drops: Drops | None) -> Tensor:
    """Attention of [rows, length, heads, width], unscaled as T5's: [rows, length, heads * width], float32 at least."""
    kind = torch.promote_types(q.dtype, torch.float32)
    q, k, v = (x.transpose(1, 2).to(kind) for x in (q, k, v))
    if drops is None or drops.attention is None:
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=bias, scale=1.0)
    else:
        scores = q @ k.mT if bias is None else q @ k.mT + bias
        p = scores.softmax(-1)
        mixed = drops.attention.draw(p.shape).of(p) @ v
    return mixed.transpose(1, 2).flatten(2)


def packed_t5(model: Any) -> PackedT5 | None:
    """The packed form of a frozen model on the CPU, or None where it is another kind of model, changed in any way, or does not
    agree with its own module."""
    if type(model).__name__ not in KINDS or not is_plain(model, biases=False):
        return None
    packed, training = PackedT5(model), model.training
    model.eval()  # dropout agrees in distribution alone
    agrees = _agrees(packed, model)
    model.train(training)
    return packed if agrees else None


def _agrees(packed: PackedT5, model: Any) -> bool:
    """Whether loss and gradient of a prompt are those of the module, on the actual weights and rows of unlike lengths."""
    batch = check_batch(model)

    def by_module(prompt_BPD: Tensor, x_BLD: Tensor) -> Tensor:
        joined = torch.cat([prompt_BPD, x_BLD], 1)
        mask = torch.cat([batch.mask_BL.new_ones(prompt_BPD.shape[:2]), batch.mask_BL], 1).long()
        starts = model.prepare_decoder_input_ids_from_labels(labels=batch.target_BT)
        logits = model(inputs_embeds=joined, attention_mask=mask, decoder_input_ids=starts, use_cache=False).logits
        return row_losses(logits, batch.target_BT)

    return agree(model, batch, lambda prompt_BPD, x_BLD: packed.losses(prompt_BPD, x_BLD, batch), by_module)
