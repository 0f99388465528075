"""Full fine-tuning: every parameter of the model is trained."""

from cpeft.baselines.base import Baseline
from cpeft.methods import METHODS
from cpeft.models.loading import FrozenLM
from cpeft.options.method import FineTuningOptions


@METHODS.register("fine_tuning")
class FineTuning(Baseline):
    """Every parameter of the model. The default rate is the one of the baselines of ATTEMPT (Asai et al. 2022)."""

    Options = FineTuningOptions
    rate = 3e-4

    def change(self, options: FineTuningOptions, lm: FrozenLM) -> None:
        lm.model.requires_grad_(True)
