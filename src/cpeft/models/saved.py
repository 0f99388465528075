"""A trained method on disk: `state.safetensors` and `method.json`, enough to evaluate without the recipe.

The state holds everything the method multiplies with, frozen sources included, so a run folder needs no other run.
"""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from cpeft.config import changed, parse
from cpeft.data.options import DataOptions
from cpeft.errors import PromptMismatch
from cpeft.methods.base import METHODS, MethodInputs, MethodOptions
from cpeft.models.loading import FrozenLM
from cpeft.models.prompted import PromptedLM
from cpeft.prompts.soft_prompt import SoftPrompt, read_json, read_tensors, write_json


def save_method(learner: PromptedLM, options: MethodOptions, folder: Path, card: dict[str, Any]) -> None:
    """Write the method of a learner; `card` adds what evaluation needs to know of the run (task names, text options)."""
    folder.mkdir(parents=True, exist_ok=True)
    state = {key: value.detach().cpu().contiguous() for key, value in learner.method.state_dict().items()}
    save_file(state, folder / "state.safetensors", metadata={"format": "pt"})
    method = learner.method
    shape = [method.length, learner.lm.width]
    sources = list(getattr(method, "source_names", ()))
    own = {"options": {"name": options.name, **changed(options)}, "shape": shape, "sources": sources}
    lm = learner.lm
    known = {"model": lm.name, "revision": lm.revision, "embedding": lm.fingerprint, "dtype": lm.dtype}
    text = {"tasks": list(method.tasks), "data": learner.data.model_dump(mode="json")}
    write_json(folder / "method.json", {**card, **own, **known, **text})


def load_method(folder: Path, lm: FrozenLM) -> PromptedLM:
    """The learner that `save_method` wrote, on a model with the same embedding table.

    Raises PromptMismatch if the model is another one.
    """
    card = read_json(folder / "method.json")
    if card["embedding"] != lm.fingerprint:
        raise PromptMismatch(f"{folder}: trained on {card['model']}, whose embedding table is not the one of {lm.name}")
    state = read_tensors(folder / "state.safetensors")
    cls = METHODS.get(card["options"]["name"])
    options = parse(cls.Options, card["options"], "options", folder / "method.json")
    blank = torch.zeros(card["shape"]) if card["shape"][0] else torch.zeros(1, card["shape"][1])

    def trained(reference: str) -> dict[str, Tensor]:
        return state

    inputs = MethodInputs(
        tuple(card["tasks"]), blank, {name: SoftPrompt(blank) for name in card["sources"]}, state=trained
    )
    method = cls(options, inputs)
    method.load_state_dict(state)
    return PromptedLM(lm, method, parse(DataOptions, card["data"], "data", folder / "method.json"))
