"""Prompt tuning (Lester, Al-Rfou, Constant 2021): one trained matrix in front of every input.

    input = [P ; Embed(x)],  P of shape (P, D)

For encoder-decoder models only the encoder input is extended. SPoT (Vu et al. 2022) is prompt tuning that starts from a
source prompt, so it is an initialisation (`prompt.init = "mnli"`) and no method of its own.
"""

from torch import Tensor, nn

from cpeft.methods.base import METHODS, MethodInputs, PromptContext, PromptMethod, PromptOutput
from cpeft.options.method import PromptTuningOptions


@METHODS.register("prompt_tuning")
class PromptTuning(PromptMethod):
    """One matrix `weight` (P, D), the same for every row and task of the run."""

    Options = PromptTuningOptions

    def __init__(self, options: PromptTuningOptions, inputs: MethodInputs) -> None:
        super().__init__(options, inputs)
        self.weight = nn.Parameter(inputs.initial_PD.detach().float().clone())
        self.origin = nn.Buffer(self.weight.detach().clone())

    def forward(self, context: PromptContext) -> PromptOutput:
        return PromptOutput(self.weight.expand(len(context.x_BLD), -1, -1))

    def matrices(self) -> dict[str, tuple[Tensor, Tensor | None]]:
        return {"+".join(self.tasks): (self.weight, self.origin)}
