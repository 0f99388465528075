"""T5's self-attention over packed rows, one function with a backward pass of its own. Its oracle is transformers' own module.

    y = x + drop(softmax(q k^T + bias) v W_o),  q, k, v = norm(x) W_qkv      (T5 does not scale by the width)

Attention is computed in float32 at least, because the CPU's bfloat16 attention is slow in its backward pass. Rows of up to
`SHORT` tokens keep their probabilities; longer ones go through torch's fused attention, which keeps none.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from cpeft.models.fast.dropout import Drops, dropped
from cpeft.models.fast.product import Product
from cpeft.models.fast.rows import PackedRows
from cpeft.models.fast.sublayers import SHORT, Norm, precise_dtype, residual

SINGLE = torch.float32  # of a norm's scale, whatever the model's number format


class SelfAttention:
    """The self-attention of an encoder block."""

    def __init__(self, layer: Any, arranged: bool) -> None:
        own = layer.SelfAttention
        self.heads = own.n_heads
        self.qkv, self.out = Product([own.q, own.k, own.v], arranged), Product([own.o], arranged)
        self.norm = Norm.of(layer.layer_norm, SINGLE)

    def __call__(self, x_ND: Tensor, rows: PackedRows, bias_1HSS: Tensor, drops: Drops | None) -> Float[Tensor, "N D"]:
        y: Tensor = _SelfAttention.apply(x_ND, self, rows, bias_1HSS, drops)
        return y


class _SelfAttention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x_ND: Tensor, layer: SelfAttention, rows: PackedRows, bias: Tensor, drops: Drops | None
    ) -> Tensor:
        normed, scale = layer.norm.forward(x_ND)
        qkv = layer.qkv.forward(normed)
        qkv = qkv.to(precise_dtype(qkv)).unflatten(-1, (3, layer.heads, -1))
        mixed = torch.empty_like(qkv[:, 0])
        ctx.spans = []
        for part, into, (_, _, length) in zip(rows.split(qkv), rows.split(mixed), rows.spans, strict=True):
            span = _Span(part, bias[:, :, :length, :length], drops, ctx.needs_input_grad[0])
            into.copy_(span.out)
            ctx.spans.append(span)
        y, ctx.kept = residual(layer.out, mixed.flatten(1).to(x_ND.dtype), x_ND, drops)
        ctx.layer, ctx.rows, ctx.shape = layer, rows, qkv.shape
        ctx.save_for_backward(x_ND, scale)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g_ND: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        x_ND, scale = ctx.saved_tensors
        g_mixed = ctx.layer.out.backward(dropped(g_ND, ctx.kept)).to(precise_dtype(g_ND)).unflatten(-1, ctx.shape[2:])
        g_qkv = g_mixed.new_empty(ctx.shape)
        for span, part, into in zip(ctx.spans, ctx.rows.split(g_mixed), ctx.rows.split(g_qkv), strict=True):
            span.backward(part, into)
        del ctx.spans
        g_normed = ctx.layer.qkv.backward(g_qkv.flatten(1).to(x_ND.dtype))
        return ctx.layer.norm.backward(g_normed, x_ND, scale).add_(g_ND), None, None, None, None


class _Span:
    """Attention of rows of one length: `out` [rows, length, heads, width] from their [rows, length, 3, heads, width]."""

    def __init__(self, qkv: Tensor, bias: Tensor, drops: Drops | None, learns: bool) -> None:
        q, k, v = qkv.transpose(1, 3).unbind(2)  # [rows, heads, length, width]
        drop = None if drops is None else drops.attention
        self.fused = qkv.shape[1] > SHORT and drop is None
        if self.fused:
            with torch.set_grad_enabled(learns):
                self.leaves = q, k, v = [each.detach().requires_grad_(learns) for each in (q, k, v)]
                self.mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=bias, scale=1.0)
        else:
            self.q, self.k, self.v = q, k, v
            self.p = torch.softmax(_times(q, k.mT).add_(bias), -1)
            self.kept = None if drop is None else drop.draw(self.p.shape)
            self.mixed = _times(dropped(self.p, self.kept), v)

    @property
    def out(self) -> Tensor:
        return self.mixed.detach().transpose(1, 2)

    def backward(self, g: Tensor, into: Tensor) -> None:
        """Write the gradient for q, k and v, given that of `out`."""
        g, into = g.transpose(1, 2), into.transpose(1, 3)
        if self.fused:
            for place, gradient in enumerate(torch.autograd.grad(self.mixed, self.leaves, g)):
                into[:, :, place] = gradient
            return
        into[:, :, 2] = _times(dropped(self.p, self.kept).mT, g)
        g_s = torch._softmax_backward_data(dropped(_times(g, self.v.mT), self.kept), self.p, -1, self.p.dtype)
        into[:, :, 0] = _times(g_s, self.k)
        into[:, :, 1] = _times(g_s.mT, self.q)


def _times(a: Tensor, b: Tensor) -> Tensor:
    """Product of [rows, heads, n, m] matrices; of a single row without the copies that make several rows one batch."""
    return torch.bmm(a[0], b[0]).unsqueeze(0) if len(a) == 1 else torch.matmul(a, b)
