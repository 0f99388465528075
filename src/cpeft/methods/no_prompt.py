"""No prompt at all: the frozen model as it is, the zero-shot row of every table.

Nothing is trained; a run of this method is its evaluation.
"""

from typing import Literal

from cpeft.methods.base import METHODS, MethodOptions, PromptContext, PromptMethod, PromptOutput


class NoPromptOptions(MethodOptions):
    """No options."""

    name: Literal["no_prompt"] = "no_prompt"


@METHODS.register("no_prompt")
class NoPrompt(PromptMethod):
    """A prompt of zero rows."""

    Options = NoPromptOptions
    length = 0

    def forward(self, context: PromptContext) -> PromptOutput:
        return PromptOutput(context.x_BLD[:, :0].float())
