"""BitFit (Ben Zaken et al. 2022): the bias terms of the model are trained, nothing else.

T5 and LLaMA have none. What is called BitFit on T5 (the baseline of ATTEMPT among others) adds a bias of zeros to the linear
layers first and trains that: `biases = "added"`. The output layer over the vocabulary gets none.
"""

import torch
from torch import nn

from cpeft.baselines.base import Baseline
from cpeft.errors import ConfigError
from cpeft.methods import METHODS
from cpeft.models.loading import FrozenLM
from cpeft.options.method import BitFitOptions


@METHODS.register("bitfit")
class BitFit(Baseline):
    """Every bias of the model. The default rate is the one of the baselines of ATTEMPT (Asai et al. 2022)."""

    Options = BitFitOptions
    rate = 3e-4

    def change(self, options: BitFitOptions, lm: FrozenLM) -> None:
        if options.biases == "added":
            for module in lm.model.modules():
                if (
                    isinstance(module, nn.Linear)
                    and module.bias is None
                    and module is not lm.model.get_output_embeddings()
                ):
                    module.bias = nn.Parameter(torch.zeros_like(module.weight[:, 0]))
        biases = [p for name, p in lm.model.named_parameters() if name.rpartition(".")[2] == "bias"]
        if not biases:
            raise ConfigError(
                f"{lm.name} has no bias terms for method 'bitfit' to train; method.biases = 'added' puts zeros on its "
                "linear layers first"
            )
        for bias in biases:
            bias.requires_grad_(True)
