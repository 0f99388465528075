"""The mixture is a product of attention weights with stacked sources: no tensor of [batch, candidates, rows, width] exists."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from cpeft.methods import METHODS, MethodInputs, PromptContext
from cpeft.prompts.soft_prompt import SoftPrompt


class Largest(TorchDispatchMode):
    """Remembers the number of elements of the largest tensor that any operation, forward or backward, allocates."""

    def __init__(self):
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
        out = function(*arguments, **(keywords or {}))
        for tensor in out if isinstance(out, tuple | list) else [out]:
            if isinstance(tensor, torch.Tensor):
                self.elements = max(self.elements, tensor.untyped_storage().nbytes() // tensor.element_size())
        return out


@pytest.mark.parametrize("score", ["sub", "constant", "token", "linear", "dot"])
@pytest.mark.parametrize("targets", ["one", "per_task"])
def test_mixture_never_holds_a_tensor_of_batch_times_candidates_times_prompt(score, targets):
    B, S, P, D, L = 16, 24, 20, 32, 10
    rng = torch.Generator().manual_seed(0)
    sources = {str(i): SoftPrompt(torch.randn(P, D, generator=rng)) for i in range(S)}
    Attempt = METHODS.get("attempt")
    method = Attempt(
        Attempt.Options(score=score, targets=targets, bottleneck=8),
        MethodInputs(("a", "b"), torch.randn(P, D, generator=rng), sources),
    )
    context = PromptContext(
        torch.randn(B, L, D, generator=rng), torch.ones(B, L, dtype=torch.bool), torch.arange(B) % 2
    )
    with Largest() as largest:
        method(context).prompt_BPD.pow(2).sum().backward()
    assert largest.elements < B * S * P * D / 4
    assert largest.elements >= S * P * D  # the stacked sources themselves were seen, so the meter works
