"""LoRA (Hu et al. 2022), as peft implements it: W x + (alpha / R) B A x, with A random and B zero at first."""

from cpeft.baselines.base import Baseline
from cpeft.baselines.from_peft import inject, transposed
from cpeft.methods import METHODS
from cpeft.models.loading import FrozenLM
from cpeft.options.method import LoraOptions


@METHODS.register("lora")
class Lora(Baseline):
    """A and B of every target. The default rate is the one of Hu et al. for GPT-2."""

    Options = LoraOptions
    rate = 2e-4

    def change(self, options: LoraOptions, lm: FrozenLM) -> None:
        from peft import LoraConfig

        config = LoraConfig(
            r=options.rank, lora_alpha=options.alpha, target_modules=list(options.targets) or None,
            fan_in_fan_out=transposed(lm),
        )  # fmt: skip
        inject(lm, options.name, config)
