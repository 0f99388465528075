"""Prompt tuning (Lester, Al-Rfou, Constant 2021): one trained matrix in front of every input.

    input = [P ; Embed(x)],  P of shape (P, D)

For encoder-decoder models only the encoder input is extended. SPoT (Vu et al. 2022) is prompt tuning that starts from a
source prompt, so it is an initialisation (`prompt.init = "mnli"`) and no method of its own.
"""

from typing import Literal

import torch
from torch import Tensor, nn

from cpeft.methods.base import METHODS, MethodInputs, MethodOptions, PromptContext, PromptMethod, PromptOutput


class PromptTuningOptions(MethodOptions):
    """No options: length and start of the prompt stand in `[prompt]`."""

    name: Literal["prompt_tuning"] = "prompt_tuning"


@METHODS.register("prompt_tuning")
class PromptTuning(PromptMethod):
    """One matrix `weight` (P, D), the same for every row and task of the run."""

    Options = PromptTuningOptions

    def __init__(self, options: PromptTuningOptions, inputs: MethodInputs) -> None:
        super().__init__(options, inputs)
        weight_PD = inputs.initial_PD.detach().float().clone()
        self.weight = nn.Parameter(weight_PD)
        self.register_buffer("origin", weight_PD.clone())

    @property
    def length(self) -> int:
        return int(self.weight.shape[0])

    def forward(self, context: PromptContext) -> PromptOutput:
        return PromptOutput(self.weight.expand(context.x_BLD.shape[0], -1, -1))

    def matrices(self) -> dict[str, tuple[Tensor, Tensor | None]]:
        return {"+".join(self.tasks): (self.weight, torch.as_tensor(self.origin))}
