"""Causal self-attention of the LLaMA family over packed rows, texts behind prompts that they share; one function with a
backward pass of its own. Its oracle is transformers' own module.

    y = x + softmax(q k^T / sqrt(width)) v W_o,  q, k, v = norm(x) W_qkv,  q and k turned by position (Qwen 3: normed)

Tokens stand as `Layout` says: every prompt once, then the texts. A prompt sees itself; a text sees its prompt and itself, so
the gradient for a prompt's keys and values is the sum over its texts. Attention is computed in float32 at least, because the
CPU's bfloat16 attention is slow in its backward pass; rows of up to `SHORT` positions keep their probabilities, longer ones go
through torch's fused attention, which keeps none.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from cpeft.models.fast.product import Product
from cpeft.models.fast.rows import PackedRows
from cpeft.models.fast.sublayers import SHORT, Norm, precise_dtype


class Angles(NamedTuple):
    """Cosines and sines by position and pair of elements: the rotation of rotary positions."""

    cos_N1W: Float[Tensor, "N 1 W"]
    sin_N1W: Float[Tensor, "N 1 W"]

    def turn(self, x_NHW: Tensor) -> None:
        """Rotate each element of the first half of the last dimension with its fellow of the second, in place."""
        one, other = x_NHW.chunk(2, -1)
        turned = one * self.sin_N1W
        one.mul_(self.cos_N1W).addcmul_(other, self.sin_N1W, value=-1)
        other.mul_(self.cos_N1W).add_(turned)

    def first(self, count: int) -> "Angles":
        return Angles(self.cos_N1W[:count], self.sin_N1W[:count])

    @property
    def back(self) -> "Angles":
        """The opposite rotation, which is that of gradients."""
        return Angles(self.cos_N1W, -self.sin_N1W)


@dataclass(frozen=True)
class Layout:
    """K prompts of P positions behind one another, then texts, packed; `owner_B` says for each text, in the order of `rows`,
    behind which prompt it stands."""

    prompts: int
    length: int
    rows: PackedRows
    owner_B: Int[Tensor, "B"]
    angles: Angles

    @property
    def head(self) -> int:
        """How many positions the prompts take together."""
        return self.prompts * self.length


class CausalAttention:
    """The attention of a block: `keys` heads of keys and values, `group` times as many of queries."""

    def __init__(self, norm: Any, attention: Any, arranged: bool) -> None:
        self.norm, self.width, self.scale = Norm.of(norm), attention.head_dim, attention.scaling
        self.group = attention.num_key_value_groups
        self.keys = attention.k_proj.out_features // self.width
        self.queries = self.group * self.keys
        self.qkv = Product([attention.q_proj, attention.k_proj, attention.v_proj], arranged)
        self.out = Product([attention.o_proj], arranged)
        self.head_norm = None
        if hasattr(attention, "q_norm"):
            one, other = Norm.of(attention.q_norm), Norm.of(attention.k_norm)
            weights = [one.weight.expand(self.queries, -1), other.weight.expand(self.keys, -1)]
            self.head_norm = Norm(torch.cat(weights), one.eps)

    def __call__(self, x_ND: Tensor, layout: Layout, learns: int, kept_C: Tensor | None = None) -> Float[Tensor, "C D"]:
        """The rows of `kept_C`, or all, after attention; the first `learns` rows of x get a gradient. Of prompts
        only keys and values are computed where none of their rows is kept."""
        y: Tensor = _CausalAttention.apply(x_ND, self, layout, learns, kept_C)
        return y

    def read(
        self, x_ND: Tensor, rows: PackedRows, angles: Angles, contexts: Sequence[Tensor | None], own_LL: Tensor
    ) -> tuple[Float[Tensor, "N D"], list[Tensor]]:
        """Without gradient: rows after attention, and the keys and values that each span of them saw and made, for later
        passes. Rows see their context, keys and values [2, rows, keys, C, width] by span, and themselves as `own_LL` says."""
        _, qkv = self.heads(self.norm.forward(x_ND)[0], angles)
        mixed = x_ND.new_empty(len(x_ND), self.queries, self.width)
        known = []
        for part, into, context in zip(rows.split(qkv), rows.split(mixed), contexts, strict=True):
            length = part.shape[1]
            span = Span(self, part, context, own_LL[:length, :length], learns=False)
            into.copy_(span.out)
            known.append(span.kv)
        return self.out.onto(mixed.flatten(1), x_ND), known

    def nothing(self, rows: int, like: Tensor) -> Float[Tensor, "2 B H 0 W"]:
        """The keys and values of no positions."""
        return like.new_empty(2, rows, self.keys, 0, self.width, dtype=precise_dtype(like))

    def heads(self, normed_ND: Tensor, angles: Angles) -> tuple[Tensor | None, Float[Tensor, "N H W"]]:
        """Queries, keys and values by head, float32 at least; and the first two before their norm, where they have one."""
        qkv = self.qkv.forward(normed_ND)
        qkv = qkv.to(precise_dtype(qkv)).unflatten(-1, (-1, self.width))
        turned, plain = qkv[:, : self.queries + self.keys], None
        if self.head_norm:
            plain = turned.clone()
            turned.copy_(self.head_norm.forward(plain)[0])
        angles.turn(turned)
        return plain, qkv


class Span:
    """Attention of rows of one length, from their heads [rows, length, heads, width]; `kv` [2, rows, keys, C + length, width]
    are keys and values of their context and their own."""

    def __init__(
        self, layer: CausalAttention, heads: Tensor, context: Tensor | None, own_LL: Tensor, learns: bool
    ) -> None:
        (rows, length), keys, group = heads.shape[:2], layer.keys, layer.group
        self.layer, self.rows = layer, rows
        self.before = 0 if context is None else context.shape[3]
        own = heads[:, :, layer.queries :].unflatten(2, (2, keys)).permute(2, 0, 3, 1, 4)
        self.kv = heads.new_empty(2, rows, keys, self.before + length, layer.width)
        if context is not None:
            self.kv[:, :, :, : self.before] = context
        self.kv[:, :, :, self.before :] = own
        q = heads[:, :, : layer.queries].unflatten(2, (keys, group)).permute(0, 2, 3, 1, 4)
        self.fused = length * (self.before + length) > SHORT**2
        if self.fused:
            mask, how = F.pad(own_LL, (self.before, 0)), {"scale": layer.scale, "enable_gqa": True}
            with torch.set_grad_enabled(learns):
                q, k, v = self.leaves = [each.detach().requires_grad_(learns) for each in (q.flatten(1, 2), *self.kv)]
                mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, **how)
                self.mixed = mixed.unflatten(1, (keys, group))
            return
        self.q = q.reshape(rows * keys, group * length, -1)
        k, v = self.kv.flatten(1, 2)
        scores = _scaled(self.q, k.mT, layer.scale)
        if length > 1:
            scores.unflatten(1, (group, length))[..., self.before :] += own_LL
        self.p = torch.softmax(scores, -1)
        self.mixed = torch.bmm(self.p, v).view(rows, keys, group, length, -1)

    @property
    def out(self) -> Tensor:
        """[rows, length, queries, width]"""
        out: Tensor = self.mixed.detach().permute(0, 3, 1, 2, 4).flatten(2, 3)
        return out

    def backward(self, g: Tensor, into: Tensor | None) -> Tensor | None:
        """Given the gradient of `out`, write that for the rows' heads unless `into` is None; returns that for the context."""
        layer = self.layer
        g = g.unflatten(2, (layer.keys, layer.group)).permute(0, 2, 3, 1, 4)
        g_q, g_kv = self._fused_backward(g) if self.fused else self._plain_backward(g)
        if into is not None:
            by_group = into[:, :, : layer.queries].unflatten(2, (layer.keys, layer.group))
            by_group.copy_(g_q.view(g.shape).permute(0, 3, 1, 2, 4))
            own = into[:, :, layer.queries :].unflatten(2, (2, layer.keys))
            own.copy_(g_kv[:, :, :, self.before :].permute(1, 3, 0, 2, 4))
        return g_kv[:, :, :, : self.before] if self.before else None

    def _fused_backward(self, g: Tensor) -> tuple[Tensor, Tensor]:
        g_q, g_k, g_v = torch.autograd.grad(self.mixed, self.leaves, g)
        return g_q, torch.stack([g_k, g_v])

    def _plain_backward(self, g: Tensor) -> tuple[Tensor, Tensor]:
        g = g.reshape(self.q.shape)
        k, v = self.kv.flatten(1, 2)
        g_s = torch._softmax_backward_data(torch.bmm(g, v.mT), self.p, -1, self.p.dtype)
        g_kv = torch.empty_like(self.kv)
        torch.baddbmm(g_kv[0].flatten(0, 1), g_s.mT, self.q, beta=0, alpha=self.layer.scale, out=g_kv[0].flatten(0, 1))
        torch.bmm(self.p.mT, g, out=g_kv[1].flatten(0, 1))
        return _scaled(g_s, k, self.layer.scale), g_kv


def _scaled(a: Tensor, b: Tensor, scale: float) -> Tensor:
    """scale * a b of [batch, n, m] matrices, in one pass."""
    return torch.baddbmm(a.new_empty(len(a), a.shape[1], b.shape[2]), a, b, beta=0, alpha=scale)


def causal(length: int, like: Tensor) -> Float[Tensor, "L L"]:
    """The additive mask of rows that see themselves and what stands before."""
    return torch.full((length, length), float("-inf"), dtype=precise_dtype(like)).triu(1)


class _CausalAttention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x_ND: Tensor, layer: CausalAttention, layout: Layout, learns: int, kept_C: Tensor | None
    ) -> Tensor:
        normed, ctx.scale = layer.norm.forward(x_ND)
        ctx.plain, qkv = layer.heads(normed, layout.angles)
        mixed = x_ND.new_empty(len(x_ND), layer.queries, layer.width)
        head, rows, graded = layout.head, layout.rows, ctx.needs_input_grad[0]
        own_LL = causal(max(rows.longest, layout.length), qkv)
        prompt = None
        ctx.prompts_needed = kept_C is None or bool((kept_C < head).any())
        ctx.prompt, ctx.spans = None, []
        if head:
            parts = qkv[:head].unflatten(0, (layout.prompts, -1))
            if ctx.prompts_needed:
                ctx.prompt = Span(layer, parts, None, own_LL[: layout.length, : layout.length], graded)
                mixed[:head].unflatten(0, (layout.prompts, -1)).copy_(ctx.prompt.out)
            prompt = parts[:, :, layer.queries :].unflatten(2, (2, layer.keys)).permute(2, 0, 3, 1, 4)
        owners = layout.owner_B.split([count for _, count, _ in rows.spans])
        for part, into, owner in zip(rows.split(qkv[head:]), rows.split(mixed[head:]), owners, strict=True):
            length = part.shape[1]
            context = None if prompt is None else prompt[:, owner]
            span = Span(layer, part, context, own_LL[:length, :length], graded)
            into.copy_(span.out)
            ctx.spans.append(span)
        ctx.layer, ctx.layout, ctx.learns, ctx.kept, ctx.owners = layer, layout, learns, kept_C, owners
        ctx.save_for_backward(x_ND)
        mixed = mixed.flatten(1)
        return layer.out.onto(mixed, x_ND) if kept_C is None else layer.out.onto(mixed[kept_C], x_ND[kept_C])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g_CD: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        (x_ND,), layer, layout, learns = ctx.saved_tensors, ctx.layer, ctx.layout, ctx.learns
        g_mixed = layer.out.backward(g_CD).to(precise_dtype(g_CD))
        if ctx.kept is not None:
            g_mixed = g_mixed.new_zeros(len(x_ND), g_mixed.shape[1]).index_copy_(0, ctx.kept, g_mixed)
        g_qkv = _backward_spans(ctx, g_mixed.unflatten(1, (layer.queries, -1)))
        turned = g_qkv[:, : layer.queries + layer.keys]
        layout.angles.first(learns).back.turn(turned)
        if layer.head_norm:
            plain = ctx.plain[:learns]
            turned.copy_(layer.head_norm.backward(turned, plain, layer.head_norm.forward(plain)[1]))
        g_normed = layer.qkv.backward(g_qkv.flatten(1).to(x_ND.dtype))
        g_ND = layer.norm.backward(g_normed, x_ND[:learns], ctx.scale[:learns])
        if ctx.kept is not None:
            own = ctx.kept < learns  # in a model of one layer, the places in `kept_C` get no gradient
            g_ND.index_add_(0, ctx.kept[own], g_CD[own])
        else:
            g_ND += g_CD[:learns]
        if learns < len(x_ND):
            g_ND = torch.cat([g_ND, g_ND.new_zeros(len(x_ND) - learns, g_ND.shape[1])])
        return g_ND, None, None, None, None


def _backward_spans(ctx: Any, g_mixed: Tensor) -> Float[Tensor, "N H W"]:
    """The gradient for the heads of the rows that learn, given that for what attention mixed."""
    layer, layout, learns = ctx.layer, ctx.layout, ctx.learns
    head, rows = layout.head, layout.rows
    g_qkv = g_mixed.new_empty(learns, layer.queries + 2 * layer.keys, layer.width)
    parts = rows.split(g_qkv[head:]) if learns > head else [None] * len(rows.spans)
    g_prompt = g_mixed.new_zeros(2, layout.prompts, layer.keys, layout.length, layer.width)
    for span, g, into, owner in zip(ctx.spans, rows.split(g_mixed[head:]), parts, ctx.owners, strict=True):
        context = span.backward(g, into)
        if context is not None:
            g_prompt.index_add_(1, owner, context)
    del ctx.spans
    if head:
        own = g_qkv[:head].unflatten(0, (layout.prompts, -1))
        if ctx.prompt:
            ctx.prompt.backward(g_mixed[:head].unflatten(0, (layout.prompts, -1)), own)
        else:
            own.zero_()
        own[:, :, layer.queries :].unflatten(2, (2, layer.keys)).add_(g_prompt.permute(1, 3, 0, 2, 4))
    return g_qkv
