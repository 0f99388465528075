"""A trained method on disk: `state.safetensors` and `method.json`, enough to evaluate without the recipe.

The state holds all tensors of the method, frozen sources included, so a run folder needs no other run.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

from cpeft.config import changed, parse
from cpeft.data.options import DataOptions
from cpeft.errors import PromptError, PromptMismatch, UnknownName
from cpeft.files import read_json, write_json
from cpeft.methods.base import MethodShape
from cpeft.models.loading import FrozenLM
from cpeft.models.prompted import PromptedLM
from cpeft.options.method import METHOD_OPTIONS, MethodOptions
from cpeft.plugins import check_names_none
from cpeft.prompts.soft_prompt import read_tensors
from cpeft.store.run_folder import METHOD_CARD, METHOD_STATE

FIELDS = ("options", "shape", "sources", "model", "embedding", "tasks", "data", "subset")


@dataclass(frozen=True)
class SavedMethod:
    """What `save_method` wrote: the method's options and sizes, its tensors, and the text options it was trained under."""

    options: MethodOptions
    shape: MethodShape
    state: dict[str, Tensor]
    data: DataOptions
    subset: int


def save_method(learner: PromptedLM, options: MethodOptions, folder: Path, card: dict[str, Any]) -> None:
    """Write the method of a learner; `card` adds what evaluation needs to know of the run (evaluation and model options)."""
    folder.mkdir(parents=True, exist_ok=True)
    lm, method = learner.lm, learner.method
    state = {key: value.detach().cpu().contiguous() for key, value in method.state_dict().items()}
    save_file(state, folder / METHOD_STATE, metadata={"format": "pt"})
    known = {
        "options": {"name": options.name, **changed(options)}, "shape": [method.stored_length, lm.width],
        "live": method.live, "sources": list(method.source_names), "model": lm.name, "revision": lm.revision,
        "embedding": lm.fingerprint, "dtype": lm.dtype, "tasks": list(method.tasks),
        "data": learner.data.model_dump(mode="json"), "subset": learner.subset, **learner.model_parts,
    }  # fmt: skip
    write_json(folder / METHOD_CARD, {**card, **known})


def read_card(folder: Path) -> dict[str, Any]:
    """What `method.json` in a folder says; raises PromptError where it is none or lacks a field."""
    file = folder / METHOD_CARD
    card = read_json(file)
    if lacking := [key for key in FIELDS if key not in card]:
        raise PromptError(f"{file}: it lacks {', '.join(lacking)}")
    if not isinstance(card["options"], dict) or not isinstance(card["options"].get("name"), str):
        raise PromptError(f"{file}: 'options' names no method")
    return card


def read_saved(folder: Path, lm: FrozenLM) -> SavedMethod:
    """The method in a folder; raises PromptMismatch for a model with another embedding table, configuration, tokenizer or chat
    template, UnknownName for a method that is not registered, PromptError for what is no method."""
    file = folder / METHOD_CARD
    card = read_card(folder)
    check_names_none(card, file)
    if card["embedding"] != lm.fingerprint:
        raise PromptMismatch(f"{folder}: trained on {card['model']}, whose embedding table is not the one of {lm.name}")
    lm.check_same(str(folder), card)
    try:
        kind = METHOD_OPTIONS.get(card["options"]["name"])
    except UnknownName as error:
        raise UnknownName(f"{file}: {error}; where a plugin defines it, pass --plugin FILE") from None
    options = parse(kind, card["options"], "options", file)
    try:
        rows, width = card["shape"]
        shape = MethodShape(tuple(card["tasks"]), rows, width, tuple(card["sources"]), card.get("live"))
    except (TypeError, ValueError):
        raise PromptError(f"{file}: 'shape', 'tasks' or 'sources' is not what a trained method has") from None
    data = parse(DataOptions, card["data"], "data", file)
    return SavedMethod(options, shape, read_tensors(folder / METHOD_STATE), data, card["subset"])
