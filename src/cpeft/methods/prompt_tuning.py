"""Prompt tuning (Lester, Al-Rfou, Constant 2021): one trained matrix in front of every input.

    input = [P ; Embed(x)],  P of shape (P, D)

For encoder-decoder models only the encoder input is extended. SPoT (Vu et al. 2022) is prompt tuning that starts from a
source prompt, so it is an initialisation (`prompt.init = "mnli"`) and no method of its own.
"""

import torch
from torch import Tensor, nn

from cpeft.methods.base import METHODS, MethodInputs, MethodShape, PromptContext, PromptMethod, PromptOutput
from cpeft.options.method import PromptTuningOptions


@METHODS.register("prompt_tuning")
class PromptTuning(PromptMethod):
    """One matrix `weight` (P, D), the same for every row and task of the run."""

    Options = PromptTuningOptions

    def build(self, options: PromptTuningOptions, shape: MethodShape) -> None:
        self.weight = nn.Parameter(torch.empty(shape.rows, shape.width))
        self.origin = nn.Buffer(torch.empty(shape.rows, shape.width))

    def initialise(self, inputs: MethodInputs) -> None:
        self.weight.copy_(inputs.initial_PD)
        self.origin.copy_(inputs.initial_PD)

    def forward(self, context: PromptContext) -> PromptOutput:
        return PromptOutput(self.weight.expand(len(context.x_BLD), -1, -1))

    def matrices(self) -> dict[str, tuple[Tensor, Tensor | None]]:
        return {"+".join(self.tasks): (self.weight, self.origin)}
