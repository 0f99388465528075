"""Multitask prompt tuning (Wang et al. 2023): one prompt shared by all tasks of a run, and a low-rank pair for each task.

With the shared prompt P* (P x D) and, for task k, u_k (P x R) and v_k (D x R), the prompt of a row of task k is

    P_k = P* o W_k,    W_k = sum_r u_kr v_kr^T            (o: Hadamard product; the paper has R = 1)

In front of its input a row has P_k, as in prompt tuning. W_k is all ones at first, so every task starts from the initial
prompt, which is the origin of the exported ones. The paper trains P* and the pairs of many source tasks first, with single-task
prompts as teachers, then adapts to one target; here is the decomposition alone, trained on the tasks of one run, without
distillation from teachers. A target that starts from an exported prompt (`prompt.init = "stage/task"`) is the second step.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from cpeft.methods import METHODS, MethodInputs, MethodShape, ParamGroup, PromptContext, PromptMethod, PromptOutput
from cpeft.options.method import MptOptions

SPREAD = 0.02  # standard deviation of u beyond the first rank; its v starts at zero


@METHODS.register("mpt")
class MultitaskPrompts(PromptMethod):
    """`shared_PD` (P, D), `u_TPR` (T, P, R) and `v_TDR` (T, D, R)."""

    Options = MptOptions
    by_task = True

    def build(self, options: MptOptions, shape: MethodShape) -> None:
        P, D, T, R = shape.rows, shape.width, len(shape.tasks), options.rank
        self.options = options
        self.shared_PD = nn.Parameter(torch.empty(P, D))
        self.u_TPR, self.v_TDR = nn.Parameter(torch.empty(T, P, R)), nn.Parameter(torch.zeros(T, D, R))
        self.origin = nn.Buffer(torch.empty(P, D))

    def initialise(self, inputs: MethodInputs) -> None:
        self.shared_PD.copy_(inputs.initial_PD)
        self.origin.copy_(inputs.initial_PD)
        rng = torch.Generator().manual_seed(inputs.seed)
        self.u_TPR.copy_(torch.randn(self.u_TPR.shape, generator=rng) * SPREAD)
        self.u_TPR[..., 0], self.v_TDR[..., 0] = 1.0, 1.0

    def forward(self, context: PromptContext) -> PromptOutput:
        return PromptOutput(self.prompts()[context.task_B])

    def prompts(self) -> Float[Tensor, "T P D"]:
        """P_k of every task."""
        return self.shared_PD * (self.u_TPR @ self.v_TDR.mT)

    def param_groups(self) -> list[ParamGroup]:
        pairs = ParamGroup("task", [self.u_TPR, self.v_TDR], self.options.task_lr, default=0.3)
        return [ParamGroup("prompt", [self.shared_PD]), pairs]

    def matrices(self) -> dict[str, tuple[Tensor, Tensor | None]]:
        return {task: (prompt_PD, self.origin) for task, prompt_PD in zip(self.tasks, self.prompts(), strict=True)}
