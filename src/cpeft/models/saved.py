"""A trained method on disk: `state.safetensors` and `method.json`, enough to evaluate without the recipe.

The state holds all tensors of the method, frozen sources included, so a run folder needs no other run.
"""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from cpeft.config import changed, parse
from cpeft.data.options import DataOptions
from cpeft.errors import PromptMismatch
from cpeft.files import read_json, write_json
from cpeft.methods.base import METHODS, MethodInputs
from cpeft.models.loading import FrozenLM
from cpeft.models.prompted import PromptedLM
from cpeft.options.method import MethodOptions
from cpeft.prompts.soft_prompt import SoftPrompt, read_tensors
from cpeft.store.run_folder import METHOD_CARD, METHOD_STATE


def save_method(learner: PromptedLM, options: MethodOptions, folder: Path, card: dict[str, Any]) -> None:
    """Write the method of a learner; `card` adds what evaluation needs to know of the run (task names, text options)."""
    folder.mkdir(parents=True, exist_ok=True)
    lm, method = learner.lm, learner.method
    state = {key: value.detach().cpu().contiguous() for key, value in method.state_dict().items()}
    save_file(state, folder / METHOD_STATE, metadata={"format": "pt"})
    known = {
        "options": {"name": options.name, **changed(options)}, "shape": [method.stored, lm.width], "live": method.live,
        "sources": list(getattr(method, "source_names", ())), "model": lm.name, "revision": lm.revision,
        "embedding": lm.fingerprint, "dtype": lm.dtype, "tasks": list(method.tasks),
        "data": learner.data.model_dump(mode="json"), "subset": learner.subset, **learner.model_parts,
    }  # fmt: skip
    write_json(folder / METHOD_CARD, {**card, **known})


def read_saved(folder: Path, lm: FrozenLM) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Card and state that `save_method` wrote; raises PromptMismatch for a model with another embedding
    table, configuration, tokenizer or chat template."""
    card = read_json(folder / METHOD_CARD)
    if card["embedding"] != lm.fingerprint:
        raise PromptMismatch(f"{folder}: trained on {card['model']}, whose embedding table is not the one of {lm.name}")
    lm.check_same(str(folder), card)
    return card, read_tensors(folder / METHOD_STATE)


def load_method(folder: Path, lm: FrozenLM) -> PromptedLM:
    """The learner that `save_method` wrote, on a model with the same embedding table."""
    card, state = read_saved(folder, lm)
    cls = METHODS.get(card["options"]["name"])
    options = parse(cls.Options, card["options"], "options", folder / METHOD_CARD)
    rows, width = card["shape"]
    blank = torch.zeros(max(rows, 1), width)  # of the sizes of the state that replaces it
    sources = {name: SoftPrompt(blank) for name in card["sources"]}
    inputs = MethodInputs(tuple(card["tasks"]), blank, sources, state=lambda reference: state, live=card.get("live"))
    method = cls(options, inputs)
    method.load_state_dict(state)
    data = parse(DataOptions, card["data"], "data", folder / METHOD_CARD)
    return PromptedLM(lm, method, data, card["subset"])
