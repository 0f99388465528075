"""Products with frozen matrices, kept in the layout that oneDNN computes in.

Why: a general product rearranges its matrix at every call, and MKL, which torch calls in float32, uses AVX-512 on Intel's
processors alone; a matrix that never changes is rearranged once for the forward and once for the backward pass, and a ReLU or a
sum costs no pass of its own. What it gains is in `studies/speed`. Its oracle is `torch.nn.functional.linear`, which is
also what runs in float64, where oneDNN has nothing; in float32 where MKL is as fast with half the memory (Intel's processors)
or faster (processors with AVX2 and no more); and for models that would not fit into memory three times.
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
        if arranged:
            self._ahead, self._back = _arrange(weight.detach()), _arrange(weight.detach().t().contiguous())
            return
        self.plain = weight.detach()
        if len(linears) > 1:  # the layers' own become views, so nothing is held twice
            for linear, part in zip(linears, weight.split([linear.out_features for linear in linears]), strict=True):
                linear.weight.data = part

    def __call__(self, x: Tensor) -> Tensor:
        y: Tensor = _Product.apply(x, self)
        return y

    def forward(self, x: Float[Tensor, "N I"], relu: bool = False) -> Float[Tensor, "N O"]:
        """The product, and max(., 0) of it; without gradient."""
        if self.plain is None:
            kind = "relu" if relu else "none"
            return torch.ops.mkldnn._linear_pointwise(x, self._ahead, self.bias, kind, [], "")  # type: ignore[no-any-return]
        y = F.linear(x, self.plain, self.bias)
        return y.relu_() if relu else y

    def onto(self, x: Float[Tensor, "N I"], y: Float[Tensor, "N O"]) -> Float[Tensor, "N O"]:
        """y plus the product; without gradient."""
        if self.plain is None:
            return torch.ops.mkldnn._linear_pointwise(x, y, self._ahead, self.bias, "add")  # type: ignore[no-any-return]
        return torch.addmm(y if self.bias is None else y + self.bias, x, self.plain.t())

    def backward(self, g: Float[Tensor, "N O"]) -> Float[Tensor, "N I"]:
        """The gradient for x, given that of the product: g W."""
        if self.plain is None:
            return torch.ops.mkldnn._linear_pointwise(g, self._back, None, "none", [], "")  # type: ignore[no-any-return]
        return g @ self.plain


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


def arranges(model: nn.Module) -> bool:
    """Whether a model's matrices are kept in oneDNN's layout here: in float32 where that is faster than MKL, in bfloat16 where
    the processor has it, with memory for two more copies of the layers."""
    ops, weight = torch.ops.mkldnn, next(model.parameters())
    if not torch.backends.mkldnn.is_available() or not hasattr(ops, "_reorder_linear_weight"):
        return False
    mkl_is_fast = torch.backends.mkl.is_available() and (
        torch.backends.cpu.get_cpu_capability() == "AVX2" or _intel(CPU_INFO)
    )
    known = weight.dtype == torch.float32 and not mkl_is_fast
    known |= weight.dtype == torch.bfloat16 and ops._is_mkldnn_bf16_supported()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    copies = 2 * sum(module.weight.nbytes for module in model.modules() if isinstance(module, nn.Linear))
    return known and SHARE * copies < memory


def _intel(info: Path) -> bool:
    """Whether this is one of Intel's processors; False where the system does not say."""
    return info.exists() and "GenuineIntel" in info.read_text()
