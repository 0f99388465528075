"""A bank: many trained prompts for one model, one per row of a batch.

Not a method to train: it lets rows of one batch name different prompts (`cpeft predict`), which is how one frozen model
serves many tasks at once.
"""

from collections.abc import Mapping

import torch
from torch import nn

from cpeft.methods.base import MethodShape, PromptContext, PromptMethod, PromptOutput
from cpeft.options.method import MethodOptions
from cpeft.prompts.soft_prompt import SoftPrompt, check_same_space


class PromptBank(PromptMethod):
    """`prompts_KPD` (K, P, D); a row's `task` is the index of its prompt. Raises PromptMismatch for mixed spaces."""

    by_task = True

    def __init__(self, prompts: Mapping[str, SoftPrompt]) -> None:
        check_same_space(*prompts.values())
        stack_KPD = torch.stack([prompt.weight for prompt in prompts.values()])
        super().__init__(MethodOptions(name="bank"), MethodShape(tuple(prompts), *stack_KPD.shape[1:]))
        self.prompts_KPD = nn.Buffer(stack_KPD)

    def forward(self, context: PromptContext) -> PromptOutput:
        return PromptOutput(self.prompts_KPD[context.task_B])
