"""Optimisers and schedules, one of each per run.

The default learning rate is `PILOT` times the root-mean-square entry of the embedding table, the scale of prompt rows: 0.3
suits T5 and few other models. Parameters of another scale have a default of their own.
"""

import math

import torch

from cpeft.methods.base import ParamGroup
from cpeft.options.training import OptimOptions

PILOT = 0.45  # the best of 0.15, 0.45 and 1.5 in the pilot recorded in studies/replication-minilm


def schedule_factor(options: OptimOptions, step: int, total: int) -> float:
    """The share of the learning rate used at `step` (counted from 0) of `total`."""
    warmup = round(options.warmup * total) if options.warmup < 1 else int(options.warmup)
    if step < warmup:
        return (step + 1) / warmup
    if options.schedule == "constant":
        return 1.0
    done = min((step - warmup) / max(total - warmup, 1), 1.0)
    left = 1 - done if options.schedule == "linear" else (1 + math.cos(math.pi * done)) / 2
    return options.floor + (1 - options.floor) * left


def make_optimizer(options: OptimOptions, groups: list[ParamGroup], scale: float) -> torch.optim.Optimizer:
    """An optimiser over the groups of one learner; `scale` is the rms entry of the embedding table."""
    default = options.lr if options.lr is not None else PILOT * scale
    settings = []
    for group in groups:
        rate = next(rate for rate in (group.lr, options.lr, group.default, default) if rate is not None)
        settings.append({"params": group.params, "name": group.name, "lr": rate, "initial_lr": rate})
    if options.name == "adafactor":
        from transformers.optimization import Adafactor  # Lester et al.: no parameter scaling, no relative steps

        return Adafactor(  # type: ignore[no-any-return,no-untyped-call]
            settings, lr=default, weight_decay=options.weight_decay, scale_parameter=False, relative_step=False
        )
    return torch.optim.AdamW(
        settings, lr=default, betas=options.betas, weight_decay=options.weight_decay, foreach=False
    )
