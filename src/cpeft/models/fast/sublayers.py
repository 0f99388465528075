"""What sublayers of T5 and LLaMA share over packed rows: the norm, and the feed-forward sublayer as one function with a
backward pass of its own.

Why: composed of single operations, a sublayer reads and writes its activations a dozen times beside its products. Here the
norm, the products and the residual stand in one function that keeps what its backward pass needs and no more. The oracle is
transformers' own module.

    feed forward y = x + drop(drop(act(norm(x) W_in)) W_out),  gated: act(norm(x) W_gate) * (norm(x) W_up) in the middle
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from cpeft.models.fast.dropout import Drops, Kept, dropped
from cpeft.models.fast.product import Product

SHORT = 192  # positions of a row up to which attention keeps its probabilities


@dataclass(frozen=True)
class Norm:
    """Root mean square norm: w * x * s, s = 1 / sqrt(mean(x^2) + eps), and s in `kind`, or float32 at least where that is None.
    (T5's module takes s in float32 whatever x is. LLaMA's rounds x with it, which no packed form repeats.)"""

    weight: Float[Tensor, "*H D"]
    eps: float
    kind: torch.dtype | None = None

    @classmethod
    def of(cls, module: Any, kind: torch.dtype | None = None) -> "Norm":
        return cls(module.weight.detach(), module.variance_epsilon, kind)

    def __call__(self, x: Tensor) -> Tensor:
        """The normed rows, with gradient."""
        scale = torch.rsqrt(x.to(self.kind or precise_dtype(x)).pow(2).mean(-1, keepdim=True) + self.eps)
        return self.weight * (x * scale).to(x.dtype)

    def forward(self, x_ND: Tensor) -> tuple[Float[Tensor, "*N D"], Float[Tensor, "*N 1"]]:
        """The normed rows, and s; without gradient."""
        whole_ND = x_ND.to(self.kind or precise_dtype(x_ND))
        scale_N1 = torch.linalg.vecdot(whole_ND, whole_ND).div_(x_ND.shape[-1]).add_(self.eps).rsqrt_().unsqueeze(-1)
        return (x_ND * scale_N1).to(x_ND.dtype).mul_(self.weight), scale_N1

    def backward(self, g_ND: Tensor, x_ND: Tensor, scale_N1: Tensor) -> Float[Tensor, "*N D"]:
        """The gradient for x: s (g w) - x s^3 <g w, x> / D."""
        g_ND = (g_ND * self.weight).to(precise_dtype(x_ND))
        along_N1 = torch.linalg.vecdot(g_ND, x_ND.to(g_ND.dtype)).to(scale_N1.dtype).unsqueeze(-1)
        g_ND.mul_(scale_N1).add_(x_ND.to(scale_N1.dtype) * along_N1.mul_(scale_N1.pow(3)).div_(-x_ND.shape[-1]))
        return g_ND.to(x_ND.dtype)


def residual(product: Product, inner: Tensor, x_ND: Tensor, drops: Drops | None) -> tuple[Tensor, Kept | None]:
    """x plus the product, with dropout between them."""
    if drops is None:
        return product.onto(inner, x_ND), None
    kept = drops.layers.draw(x_ND.shape)
    return kept.of(product.forward(inner)).add_(x_ND), kept


class FeedForward:
    """The feed-forward sublayer of a block: `into` is one layer, or those of gate and value."""

    def __init__(self, norm: Norm, into: Sequence[nn.Linear], act: Any, back: nn.Linear, arranged: bool) -> None:
        self.norm, self.act, self.gated = norm, act, len(into) == 2
        self.into, self.back = Product(into, arranged), Product([back], arranged)
        self.relu = isinstance(act, nn.ReLU) and not self.gated

    def __call__(self, x_ND: Tensor, drops: Drops | None = None) -> Float[Tensor, "N D"]:
        y: Tensor = _FeedForward.apply(x_ND, self, drops)
        return y

    def inner(self, projected: Tensor) -> Tensor:
        """The input of the second product, from the output of the first."""
        if not self.gated:
            return self.act(projected)  # type: ignore[no-any-return]
        gate, value = projected.chunk(2, -1)
        return self.act(gate) * value  # type: ignore[no-any-return]


class _FeedForward(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x_ND: Tensor, layer: FeedForward, drops: Drops | None) -> Tensor:
        normed, scale = layer.norm.forward(x_ND)
        projected = layer.into.forward(normed, relu=layer.relu)
        inner = projected if layer.relu else layer.inner(projected)
        ctx.inner_kept = None if drops is None else drops.layers.draw(inner.shape)
        inner = dropped(inner, ctx.inner_kept)
        y, ctx.kept = residual(layer.back, inner, x_ND, drops)
        ctx.layer = layer
        ctx.save_for_backward(x_ND, scale, projected > 0 if layer.relu else projected)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g_ND: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        x_ND, scale, projected = ctx.saved_tensors
        layer = ctx.layer
        g = dropped(layer.back.backward(dropped(g_ND, ctx.kept)), ctx.inner_kept)
        if layer.relu:
            g = g.mul_(projected)
        else:
            with torch.enable_grad():
                projected = projected.requires_grad_(True)
                (g,) = torch.autograd.grad(layer.inner(projected), projected, g)
        return layer.norm.backward(layer.into.backward(g), x_ND, scale).add_(g_ND), None, None


def precise_dtype(x: Tensor) -> torch.dtype:
    """Float32 at least."""
    return torch.promote_types(x.dtype, torch.float32)
