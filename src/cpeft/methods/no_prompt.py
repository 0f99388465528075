"""No prompt at all: the frozen model as it is, the zero-shot row of every table.

Nothing is trained; a run of this method is its evaluation. Such a model often answers with other words than the labels, or
prefers one label whatever it reads, so the run reports greedy, choice and calibrated scores unless `eval.decode` selects them.
"""

from cpeft.methods.base import METHODS, PromptContext, PromptMethod, PromptOutput
from cpeft.options.method import NoPromptOptions


@METHODS.register("no_prompt")
class NoPrompt(PromptMethod):
    """A prompt of zero rows."""

    Options = NoPromptOptions
    length = 0

    def forward(self, context: PromptContext) -> PromptOutput:
        return PromptOutput(context.x_BLD[:, :0].float())
