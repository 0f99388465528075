"""Products with frozen matrices, by the faster of the libraries that torch calls.

In float32 torch multiplies by MKL, which uses AVX-512 on Intel's processors alone: on AMD's, oneDNN is twice as fast with the
same matrix. In bfloat16 a matrix is kept in the layout that oneDNN computes in, once for the forward and once for the backward
pass, since the gain is more than rearranging it at every call costs. What this gains is in `studies/speed`. The oracle is
`torch.nn.functional.linear`, which is also what runs in float64, where oneDNN has nothing; in float32 on Intel's processors and
on those with AVX2 and no more; and in bfloat16 for models that would not fit into memory three times.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

CPU_INFO = Path("/proc/cpuinfo")
SHARE = 8  # rearranged matrices may fill this part of the machine's memory


class Product:
    """x [..., inputs] -> x W^T + b [..., outputs] for the frozen weights W and biases b of linear layers, one below the
    other, with a gradient for x alone. `plain` is W where it is not `arranged`."""

    plain: Float[Tensor, "O I"] | None = None
    bias: Float[Tensor, "O"] | None = None

    def __init__(self, linears: Sequence[nn.Linear], arranged: bool) -> None:
        if any(linear.bias is not None for linear in linears):  # one without adds nothing
            none = [linear.weight.new_zeros(linear.out_features) for linear in linears]
            biases = [
                zero if linear.bias is None else linear.bias.detach()
                for linear, zero in zip(linears, none, strict=True)
            ]
            self.bias = torch.cat(biases)
        weight = torch.cat([linear.weight.detach() for linear in linears]) if len(linears) > 1 else linears[0].weight
        weight = weight.detach()
        self._by_onednn = arranged or (weight.dtype == torch.float32 and has_onednn() and not mkl_is_fast())
        if arranged:
            self._ahead, self._back = _arrange(weight), _arrange(weight.t().contiguous())
            return
        self.plain = self._ahead = weight
        self._back = weight.t()
        if len(linears) > 1:  # the layers' own become views, so nothing is held twice
            for linear, part in zip(linears, weight.split([linear.out_features for linear in linears]), strict=True):
                linear.weight.data = part

    def __call__(self, x: Tensor) -> Tensor:
        y: Tensor = _Product.apply(x, self)
        return y

    def forward(self, x: Float[Tensor, "N I"], relu: bool = False) -> Float[Tensor, "N O"]:
        """The product, and max(., 0) of it; without gradient."""
        if self._by_onednn:
            kind = "relu" if relu else "none"
            return torch.ops.mkldnn._linear_pointwise(x, self._ahead, self.bias, kind, [], "")  # type: ignore[no-any-return]
        y = F.linear(x, self._ahead, self.bias)
        return y.relu_() if relu else y

    def onto(self, x: Float[Tensor, "N I"], y: Float[Tensor, "N O"]) -> Float[Tensor, "N O"]:
        """y plus the product; without gradient."""
        if self._by_onednn:
            return torch.ops.mkldnn._linear_pointwise(x, y, self._ahead, self.bias, "add")  # type: ignore[no-any-return]
        return torch.addmm(y if self.bias is None else y + self.bias, x, self._back)

    def backward(self, g: Float[Tensor, "N O"]) -> Float[Tensor, "N I"]:
        """The gradient for x, given that of the product: g W."""
        if self._by_onednn:
            return torch.ops.mkldnn._linear_pointwise(g, self._back, None, "none", [], "")  # type: ignore[no-any-return]
        return g @ self._ahead


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, product: Product) -> Tensor:
        ctx.product = product
        y: Tensor = product.forward(x.reshape(-1, x.shape[-1])).unflatten(0, x.shape[:-1])
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        return ctx.product.backward(g.reshape(-1, g.shape[-1])).unflatten(0, g.shape[:-1]), None


def _arrange(weight: Float[Tensor, "O I"]) -> Tensor:
    return torch.ops.mkldnn._reorder_linear_weight(weight)  # type: ignore[no-any-return]


def has_onednn() -> bool:
    """Whether this torch can multiply by oneDNN on matrices of any layout."""
    return torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_reorder_linear_weight")


def mkl_is_fast() -> bool:
    """Whether MKL is as fast as oneDNN in float32 (Intel's processors) or faster (processors with AVX2 and no more)."""
    return torch.backends.mkl.is_available() and (torch.backends.cpu.get_cpu_capability() == "AVX2" or _intel(CPU_INFO))


def arranges(model: nn.Module) -> bool:
    """Whether a model's matrices are kept in oneDNN's layout here: in bfloat16 where the processor has it, with memory for two
    more copies of the layers."""
    if next(model.parameters()).dtype != torch.bfloat16 or not has_onednn():
        return False
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    copies = 2 * sum(module.weight.nbytes for module in model.modules() if isinstance(module, nn.Linear))
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported()) and SHARE * copies < memory


def _intel(info: Path) -> bool:
    """Whether this is one of Intel's processors; False where the system does not say."""
    return info.exists() and "GenuineIntel" in info.read_text()
