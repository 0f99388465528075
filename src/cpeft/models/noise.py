"""The frozen model's own dropout, which published runs trained through."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from cpeft.options.training import BaseDropout

PROJECTIONS = ("q", "q_proj", "query", "c_attn", "qkv_proj", "query_key_value")  # a module with one of these attends
RATES = ("dropout", "attention_dropout", "attn_dropout")  # of its probabilities: a number, or a module that has it


@contextmanager
def base_dropout(model: Any, kind: BaseDropout, seed: int) -> Iterator[None]:
    """Within the block the model's dropout is on, with random bits from `seed`. `outside-attention` leaves the
    probabilities of attention whole, so that fused kernels can compute it; `off` changes nothing."""
    if kind == "off":
        yield
        return
    silent = _attention_rates(model) if kind == "outside-attention" else []
    rates = [getattr(owner, name) for owner, name in silent]
    torch.manual_seed(seed)
    model.train()
    for owner, name in silent:
        setattr(owner, name, 0.0)
    try:
        yield
    finally:
        model.eval()
        for (owner, name), rate in zip(silent, rates, strict=True):
            setattr(owner, name, rate)


def _attention_rates(model: nn.Module) -> list[tuple[Any, str]]:
    """The attributes that hold the dropout rates of attention's probabilities: objects and names."""
    found: list[tuple[Any, str]] = []
    for module in model.modules():
        if any(hasattr(module, name) for name in PROJECTIONS):
            held = [(name, getattr(module, name, None)) for name in RATES]
            found += [(rate, "p") for _, rate in held if isinstance(rate, nn.Dropout)]
            found += [(module, name) for name, rate in held if isinstance(rate, float)]
    return found
