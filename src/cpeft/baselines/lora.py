"""LoRA (Hu et al. 2022), as peft implements it: W x + (alpha / R) B A x, with A random and B zero at first."""

from typing import Literal

from cpeft.baselines.base import BASELINES, Baseline
from cpeft.baselines.from_peft import PeftOptions, inject, transposed
from cpeft.config import Count
from cpeft.models.loading import FrozenLM


class LoraOptions(PeftOptions):
    """`targets` the layers that get A and B, by the ends of their names; none named: peft's for the architecture, the query and
    value projections as a rule."""

    name: Literal["lora"] = "lora"
    rank: Count = 8
    alpha: Count = 16
    targets: tuple[str, ...] = ()


@BASELINES.register("lora")
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
