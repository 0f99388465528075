"""A bank: many trained prompts for one model, one per row of a batch.

Not a method to train: it lets rows of one batch name different prompts (`cpeft predict`), which is how one frozen model
serves many tasks at once.
"""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from cpeft.methods.base import MethodInputs, MethodOptions, PromptContext, PromptMethod, PromptOutput
from cpeft.prompts.soft_prompt import SoftPrompt, check_same_space


class PromptBank(PromptMethod):
    """`prompts_KPD` (K, P, D); a row's `task` is the index of its prompt. Raises PromptMismatch for mixed spaces."""

    Options = MethodOptions

    def __init__(self, prompts: Mapping[str, SoftPrompt]) -> None:
        check_same_space(*prompts.values())
        first = next(iter(prompts.values()))
        super().__init__(MethodOptions(name="bank"), MethodInputs(tuple(prompts), first.weight))
        self.register_buffer("prompts_KPD", torch.stack([prompt.weight for prompt in prompts.values()]))

    @property
    def length(self) -> int:
        return int(self._stack().shape[1])

    @property
    def by_task(self) -> bool:
        return True

    def _stack(self) -> Float[Tensor, "K P D"]:
        return torch.as_tensor(self.prompts_KPD)

    def forward(self, context: PromptContext) -> PromptOutput:
        return PromptOutput(self._stack()[context.task_B])
