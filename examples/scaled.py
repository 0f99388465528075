"""A method of one's own: a fixed prompt times one trained number. The recipe own-method.toml loads it."""

from typing import Literal

import torch
from pydantic import Field
from torch import nn

from cpeft.methods import METHODS, MethodInputs, MethodOptions, MethodShape, PromptContext, PromptMethod, PromptOutput


class ScaledOptions(MethodOptions):
    """Options of the method; a number needs bounds."""

    name: Literal["scaled"] = "scaled"
    start: float = Field(1.0, ge=-100, le=100, description="The number that training begins with.")


@METHODS.register("scaled")
class Scaled(PromptMethod):
    """prompt = s P, with one trained number s."""

    Options = ScaledOptions

    def build(self, options: ScaledOptions, shape: MethodShape) -> None:
        self.start = options.start
        self.scale = nn.Parameter(torch.empty(()))
        self.weight = nn.Buffer(torch.empty(shape.rows, shape.width))

    def initialise(self, inputs: MethodInputs) -> None:
        self.scale.fill_(self.start)
        self.weight.copy_(inputs.initial_PD)

    def forward(self, context: PromptContext) -> PromptOutput:
        return PromptOutput((self.scale * self.weight).expand(context.x_BLD.shape[0], -1, -1))
