"""Whether a packed form may replace transformers' module: checked on the loaded weights with one small batch.

A model qualifies where it lies on the CPU in one number format, frozen, its linear layers torch's own and no hook in it. (On a
GPU many small attentions would wait for their launches.) Loss and gradient of random prompts must then be those of the module.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from cpeft.data.encode import IGNORE, Batch
from cpeft.models.greedy import one_piece

# Relative error of loss and gradient that rounding explains.
AGREE = {torch.float64: 1e-6, torch.float32: 1e-3, torch.bfloat16: 0.1}
LENGTHS, PROMPT, TOKENS = (7, 3, 5), 4, 3  # of the check: sources, prompt rows, tokens of a target

Way = Callable[[Tensor, Tensor], Tensor]


def is_plain(model: Any, biases: bool) -> bool:
    """Whether a model is on the CPU and as transformers made it: nothing trained, hooked, quantised or put around its linear
    layers, which may have `biases` or may not."""
    linears = [m for m in model.modules() if hasattr(m, "in_features") or hasattr(m, "base_layer")]
    weights = list(model.parameters())
    hooks = [
        hook
        for module in model.modules()
        for hook in (*module._forward_hooks.values(), *module._forward_pre_hooks.values())
    ]
    return (
        all(type(linear) is nn.Linear and (biases or linear.bias is None) for linear in linears)
        and len({(weight.dtype, weight.device.type) for weight in weights}) == 1
        and not any(weight.requires_grad for weight in weights)
        and all(hook is one_piece for hook in hooks)
        and weights[0].device.type == "cpu"
        and weights[0].dtype in AGREE
    )


def check_batch(model: Any) -> Batch:
    """Random rows of unlike lengths, one target shorter than the others."""
    rng = torch.Generator().manual_seed(0)
    words, rows = len(model.get_input_embeddings().weight), len(LENGTHS)
    ids_BL = torch.randint(words, (rows, max(LENGTHS)), generator=rng)
    mask_BL = torch.arange(max(LENGTHS)) < torch.tensor(LENGTHS)[:, None]
    target_BT = torch.randint(1, words, (rows, TOKENS), generator=rng)
    target_BT[1, 2] = IGNORE
    return Batch(ids_BL, mask_BL, target_BT, torch.zeros(rows, dtype=torch.long))


def agree(model: Any, batch: Batch, ours: Way, theirs: Way, close: Mapping[torch.dtype, float] = AGREE) -> bool:
    """Whether two ways from prompts and embedded sources to losses give the same losses, and the same gradient of a prompt that
    all rows share, up to what `close` says of the model's number format."""
    vocabulary = model.get_input_embeddings().weight
    rng = torch.Generator().manual_seed(1)
    start_PD = vocabulary[torch.randint(len(vocabulary), (PROMPT,), generator=rng)]
    x_BLD = model.get_input_embeddings()(batch.source_BL)
    found = []
    for way in (ours, theirs):
        prompt_PD = start_PD.clone().requires_grad_(True)
        with torch.enable_grad():
            loss_B = way(prompt_PD.expand(len(batch), -1, -1), x_BLD)
            (gradient,) = torch.autograd.grad(loss_B.sum(), prompt_PD)
        found.append((loss_B.detach().double(), gradient.double()))
    bound = close[vocabulary.dtype]
    return all(float((a - b).norm()) <= bound * float(b.norm()) for a, b in zip(*found, strict=True))
