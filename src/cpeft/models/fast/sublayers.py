"""T5's sublayers over packed rows, each one function with a backward pass of its own: x + f(norm(x)).

Why: composed of single operations, a sublayer reads and writes its activations a dozen times beside its products. Here the
norm, the products and the residual stand in one function that keeps what its backward pass needs and no more. The oracle is
transformers' own module.

    attention    y = x + drop(softmax(q k^T + bias) v W_o),  q, k, v = norm(x) W_qkv      (T5 does not scale by the width)
    feed forward y = x + drop(drop(act(norm(x) W_in)) W_out)

Attention is computed in float32 at least, because the CPU's bfloat16 attention is slow in its backward pass. Rows of up to
`SHORT` tokens keep their probabilities; longer ones go through torch's fused attention, which keeps none.
"""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from cpeft.models.fast.dropout import Drops, Kept, dropped
from cpeft.models.fast.product import Product
from cpeft.models.fast.rows import Rows

SHORT = 192


@dataclass(frozen=True)
class Norm:
    """Root mean square norm: w * x * s, s = 1 / sqrt(mean(x^2) + eps), and s in float32 whatever x is, as in the module."""

    weight: Float[Tensor, "D"]
    eps: float

    @classmethod
    def of(cls, module: Any) -> "Norm":
        return cls(module.weight.detach(), module.variance_epsilon)

    def __call__(self, x: Tensor) -> Tensor:
        """The normed rows, with gradient."""
        scale = torch.rsqrt(x.to(torch.float32).pow(2).mean(-1, keepdim=True) + self.eps)
        return self.weight * (x * scale).to(x.dtype)

    def forward(self, x_ND: Tensor) -> tuple[Float[Tensor, "N D"], Float[Tensor, "N 1"]]:
        """The normed rows, and s; without gradient."""
        x32 = x_ND.to(torch.float32)
        scale_N1 = torch.linalg.vecdot(x32, x32).div_(x_ND.shape[-1]).add_(self.eps).rsqrt_().unsqueeze(-1)
        return (x_ND * scale_N1).to(x_ND.dtype).mul_(self.weight), scale_N1

    def backward(self, g_ND: Tensor, x_ND: Tensor, scale_N1: Tensor) -> Float[Tensor, "N D"]:
        """The gradient for x: s (g w) - x s^3 <g w, x> / D."""
        g_ND = (g_ND * self.weight).to(_precise(x_ND))
        along_N1 = torch.linalg.vecdot(g_ND, x_ND.to(g_ND.dtype)).to(torch.float32).unsqueeze(-1)
        g_ND.mul_(scale_N1).add_(x_ND.to(torch.float32) * along_N1.mul_(scale_N1.pow(3)).div_(-x_ND.shape[-1]))
        return g_ND.to(x_ND.dtype)


class SelfAttention:
    """The self-attention of an encoder block."""

    def __init__(self, layer: Any, arranged: bool) -> None:
        own = layer.SelfAttention
        self.heads = own.n_heads
        self.qkv, self.out = Product([own.q, own.k, own.v], arranged), Product([own.o], arranged)
        self.norm = Norm.of(layer.layer_norm)

    def __call__(self, x_ND: Tensor, rows: Rows, bias_1HSS: Tensor, drops: Drops | None) -> Float[Tensor, "N D"]:
        y: Tensor = _SelfAttention.apply(x_ND, self, rows, bias_1HSS, drops)
        return y


class _SelfAttention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x_ND: Tensor, layer: SelfAttention, rows: Rows, bias: Tensor, drops: Drops | None) -> Tensor:
        normed, scale = layer.norm.forward(x_ND)
        qkv = layer.qkv.forward(normed)
        qkv = qkv.to(_precise(qkv)).unflatten(-1, (3, layer.heads, -1))
        mixed = torch.empty_like(qkv[:, 0])
        ctx.spans = []
        for part, into, (_, _, length) in zip(rows.split(qkv), rows.split(mixed), rows.spans, strict=True):
            span = _Span(part, bias[:, :, :length, :length], drops, ctx.needs_input_grad[0])
            into.copy_(span.out)
            ctx.spans.append(span)
        y, ctx.kept = _residual(layer.out, mixed.flatten(1).to(x_ND.dtype), x_ND, drops)
        ctx.layer, ctx.rows, ctx.shape = layer, rows, qkv.shape
        ctx.save_for_backward(x_ND, scale)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g_ND: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        x_ND, scale = ctx.saved_tensors
        g_mixed = ctx.layer.out.backward(dropped(g_ND, ctx.kept)).to(_precise(g_ND)).unflatten(-1, ctx.shape[2:])
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


def _residual(product: Product, inner: Tensor, x_ND: Tensor, drops: Drops | None) -> tuple[Tensor, Kept | None]:
    """x plus the product, with dropout between them."""
    if drops is None:
        return product.onto(inner, x_ND), None
    kept = drops.layers.draw(x_ND.shape)
    return kept.of(product.forward(inner)).add_(x_ND), kept


class FeedForward:
    """The feed-forward sublayer of a block, gated or not."""

    def __init__(self, layer: Any, arranged: bool) -> None:
        dense = layer.DenseReluDense
        self.gated = hasattr(dense, "wi_0")
        self.into = Product([dense.wi_0, dense.wi_1] if self.gated else [dense.wi], arranged)
        self.back, self.norm, self.act = Product([dense.wo], arranged), Norm.of(layer.layer_norm), dense.act
        self.relu = isinstance(dense.act, nn.ReLU) and not self.gated

    def __call__(self, x_ND: Tensor, drops: Drops | None) -> Float[Tensor, "N D"]:
        y: Tensor = _FeedForward.apply(x_ND, self, drops)
        return y

    def inner(self, told: Tensor) -> Tensor:
        """What stands between the two products, from the first."""
        if not self.gated:
            return self.act(told)  # type: ignore[no-any-return]
        gate, value = told.chunk(2, -1)
        return self.act(gate) * value  # type: ignore[no-any-return]


class _FeedForward(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x_ND: Tensor, layer: FeedForward, drops: Drops | None) -> Tensor:
        normed, scale = layer.norm.forward(x_ND)
        told = layer.into.forward(normed, relu=layer.relu)
        inner = told if layer.relu else layer.inner(told)
        ctx.inner_kept = None if drops is None else drops.layers.draw(inner.shape)
        inner = dropped(inner, ctx.inner_kept)
        y, ctx.kept = _residual(layer.back, inner, x_ND, drops)
        ctx.layer = layer
        ctx.save_for_backward(x_ND, scale, told > 0 if layer.relu else told)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g_ND: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        x_ND, scale, told = ctx.saved_tensors
        layer = ctx.layer
        g = dropped(layer.back.backward(dropped(g_ND, ctx.kept)), ctx.inner_kept)
        if layer.relu:
            g = g.mul_(told)
        else:
            with torch.enable_grad():
                told = told.requires_grad_(True)
                (g,) = torch.autograd.grad(layer.inner(told), told, g)
        return layer.norm.backward(layer.into.backward(g), x_ND, scale).add_(g_ND), None, None


def _precise(x: Tensor) -> torch.dtype:
    """Float32 at least."""
    return torch.promote_types(x.dtype, torch.float32)
