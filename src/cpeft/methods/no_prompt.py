"""No prompt at all: the frozen model as it is, the zero-shot row of every table.

Nothing is trained; a run of this method is its evaluation.
"""

from typing import Literal

import torch

from cpeft.methods.base import METHODS, MethodOptions, PromptContext, PromptMethod, PromptOutput


class NoPromptOptions(MethodOptions):
    """No options."""

    name: Literal["no_prompt"] = "no_prompt"


@METHODS.register("no_prompt")
class NoPrompt(PromptMethod):
    """A prompt of zero rows."""

    Options = NoPromptOptions

    @property
    def length(self) -> int:
        return 0

    def forward(self, context: PromptContext) -> PromptOutput:
        B, _, D = context.x_BLD.shape
        return PromptOutput(torch.zeros(B, 0, D, device=context.x_BLD.device))
