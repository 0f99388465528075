"""A checkpoint: everything stateful of one run in one file, replaced atomically.

Tensors are safetensors; counters and the optimiser's plain numbers travel as JSON in the file's header. Nothing random is
stored: every draw is a function of seed and step.
"""

import json
import os
from pathlib import Path
from typing import Any
from uuid import uuid4

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from cpeft.errors import RunFailed

State = dict[str, Tensor]


def save_checkpoint(path: Path, counters: dict[str, Any], **states: State) -> None:
    """Write named tensor states and counters so that a reader sees the old file or the new one."""
    tensors = {
        f"{name}/{key}": value.detach().contiguous().cpu().clone()
        for name, state in states.items()
        for key, value in state.items()
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid4().hex}.tmp")  # two hosts may have the same pid
    save_file(tensors, temporary, metadata={"counters": json.dumps(counters)})
    with open(temporary, "rb") as file:
        os.fsync(file.fileno())
    os.replace(temporary, path)


def load_checkpoint(path: Path) -> tuple[dict[str, Any], dict[str, State]]:
    """Counters and states written by `save_checkpoint`; raises RunFailed for a damaged file."""
    states: dict[str, State] = {}
    try:
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118 (safe_open is no mapping)
                state, _, key = name.partition("/")
                states.setdefault(state, {})[key] = file.get_tensor(name)
            return json.loads(file.metadata()["counters"]), states
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        raise RunFailed(f"{path}: damaged checkpoint ({error}); delete it to begin the run again") from None


def optimizer_state(optimizer: torch.optim.Optimizer) -> tuple[State, dict[str, Any]]:
    """An optimiser's state as tensors, and its numbers that are not tensors."""
    slots = optimizer.state_dict()["state"].items()
    state = {f"{index}.{slot}": value for index, values in slots for slot, value in values.items()}
    tensors = {key: value for key, value in state.items() if isinstance(value, Tensor)}
    return tensors, {key: value for key, value in state.items() if key not in tensors}


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: State, numbers: dict[str, Any]) -> None:
    """The reverse of `optimizer_state`, for a fresh optimiser made with the same options."""
    full = optimizer.state_dict()
    for key, value in (tensors | numbers).items():
        index, _, slot = key.partition(".")
        full["state"].setdefault(int(index), {})[slot] = value
    optimizer.load_state_dict(full)
