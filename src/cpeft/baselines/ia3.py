"""IA3 (Liu et al. 2022), as peft implements it: keys, values and the hidden layer of the feed-forward block times trained
vectors, which are ones at first."""

from cpeft.baselines.base import Baseline
from cpeft.baselines.from_peft import inject, transposed
from cpeft.errors import ConfigError
from cpeft.methods import METHODS
from cpeft.models.loading import FrozenLM
from cpeft.options.method import IA3Options


@METHODS.register("ia3")
class IA3(Baseline):
    """A vector for every target. The default rate is the one of Liu et al."""

    Options = IA3Options
    rate = 3e-3

    def change(self, options: IA3Options, lm: FrozenLM) -> None:
        from peft import IA3Config

        if stray := set(options.feed_forward) - set(options.targets):
            raise ConfigError(f"method.feed_forward names {sorted(stray)}, which method.targets does not")
        targets = list(options.targets) or None
        feed_forward = list(options.feed_forward) if options.targets else None
        config = IA3Config(
            target_modules=targets, feedforward_modules=feed_forward, fan_in_fan_out=transposed(lm)
        )  # fmt: skip
        inject(lm, options.name, config)
