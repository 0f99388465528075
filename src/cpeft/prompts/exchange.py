"""Prompts of other programs: peft folders, ATTEMPT's `.pt`/`.bin` files, numpy arrays.

A T5 prompt saved by peft (or the replication's fork of it, or trained here with `prompt.rows = "doubled"`) holds twice
`num_virtual_tokens` rows, of which the model only ever read the first half. Such a prompt is recognised by its
configuration; the live rows are kept and the dead ones are reported. `load_stored` returns the dead ones too, for studies.
Foreign pickles are opened by `torch.load(weights_only=True)`, which refuses code.
"""

import json
import os
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from safetensors.torch import save
from torch import Tensor

from cpeft.errors import PromptError
from cpeft.files import read_json, replace_bytes
from cpeft.prompts.card import checked
from cpeft.prompts.soft_prompt import PEFT_KEY, Provenance, SoftPrompt, read_tensors


def load_prompt(path: str | Path) -> SoftPrompt:
    """A prompt from a cpeft or peft folder, a `.pt`/`.bin`/`.pth` file, `.safetensors` or `.npy`; raises PromptError
    that describes the path if it is none of these."""
    return replace(load_stored(path)[0], dead=None)


def load_stored(path: str | Path, live: int | None = None) -> tuple[SoftPrompt, Float[Tensor, "N D"] | None]:
    """The prompt of `load_prompt`, with the stored rows that the model never reads as its `dead`, and those rows, None if there
    are none. `live` is the number of rows that the model reads, for a file that does not record it: the bare matrix of a
    doubled prompt, or of its origin."""
    prompt = _load(Path(path), live)
    if prompt.dead is None:
        return prompt, None
    dropped = f"doubled layout: {prompt.length} live rows kept, {prompt.length} rows the model never read dropped"
    note = "; ".join(filter(None, (prompt.provenance.note, dropped)))
    return replace(prompt, provenance=replace(prompt.provenance, note=note)), prompt.dead.weight


def _load(path: Path, live: int | None) -> SoftPrompt:
    if not os.path.exists(path):  # unlike Path.exists, False for a text too long to be a name
        raise PromptError(f"{path}: no such prompt")
    if path.is_dir():
        if (path / "cpeft.json").exists():
            return SoftPrompt.load(path)
        if (path / "adapter_config.json").exists():
            return _from_peft(path)
        raise PromptError(f"{path}: a folder without cpeft.json or adapter_config.json is not a prompt")
    if path.suffix not in READERS:
        raise PromptError(f"{path}: '{path.suffix}' is none of {', '.join(READERS)} or a prompt folder")
    weight = _read_matrix(path)
    if live not in (None, len(weight), len(weight) / 2):
        raise PromptError(f"{path}: holds {len(weight)} rows, of which {live} cannot be live")
    return SoftPrompt.from_stored_rows(weight, live or len(weight), Provenance(note=f"imported from {path.name}"))


def _from_peft(folder: Path) -> SoftPrompt:
    path = folder / "adapter_config.json"
    config = checked(_PeftConfig, read_json(path), path)
    if config.peft_type != "PROMPT_TUNING":
        raise PromptError(f"{folder}: peft type {config.peft_type} is not PROMPT_TUNING")
    safe = folder / "adapter_model.safetensors"
    weight = _read_matrix(safe if safe.exists() else folder / "adapter_model.bin")
    live, kind = config.num_virtual_tokens or len(weight), config.task_type
    if len(weight) != live and not (len(weight) == 2 * live and kind == "SEQ_2_SEQ_LM"):
        raise PromptError(f"{folder}: {len(weight)} rows stored, but num_virtual_tokens is {live}")
    seq2seq = None if kind is None else kind == "SEQ_2_SEQ_LM"
    known = Provenance(config.base_model_name_or_path or "", config.revision, encoder_decoder=seq2seq, method="peft")
    return SoftPrompt.from_stored_rows(weight, live, known)


@dataclass(frozen=True)
class _PeftConfig:
    """The fields of `adapter_config.json` that are read."""

    peft_type: str | None = None
    task_type: str | None = None
    num_virtual_tokens: int | None = None
    base_model_name_or_path: str | None = None
    revision: str | None = None


def _read_npy(path: Path) -> Tensor:
    try:
        with path.open("rb") as file:
            return torch.from_numpy(np.lib.format.read_array(file, allow_pickle=False).astype(np.float32))
    except (ValueError, TypeError, OSError, EOFError, MemoryError) as error:
        raise PromptError(f"{path}: not a plain numpy array ({error})") from None


def _read_pt(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise PromptError(f"{path}: no such file") from None
    except Exception as error:  # the restricted unpickler raises errors of any class for damaged files
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise PromptError(f"{path}: refused, it is damaged or holds more than tensors ({reason})") from None


READERS = {".npy": _read_npy, ".safetensors": read_tensors, ".pt": _read_pt, ".bin": _read_pt, ".pth": _read_pt}


def _read_matrix(path: Path) -> Tensor:
    content: Any = READERS[path.suffix](path)
    if isinstance(content, dict):
        matrices = {k: v for k, v in content.items() if isinstance(v, Tensor) and v.dim() == 2}
        content = matrices.get(PEFT_KEY, next(iter(matrices.values())) if len(matrices) == 1 else None)
        if content is None:
            found = ", ".join(map(str, matrices)) or "none"
            raise PromptError(f"{path}: expected '{PEFT_KEY}' or a single matrix, found {found}")
    if not isinstance(content, Tensor) or content.dim() != 2:
        raise PromptError(f"{path}: expected one matrix of prompt rows, found {type(content).__name__}")
    return content.float()


def export_prompt(prompt: SoftPrompt, path: Path, form: str = "peft") -> Path:
    """Write a prompt for other programs. `peft`: a folder for `PeftModel.from_pretrained`; `prompt_embeds`: one safetensors
    file with the tensor `prompt_embeds` (P, D), the form serving engines take; `npy`: a numpy array."""
    if form == "peft":
        return prompt.save(path)
    if form == "prompt_embeds":
        card = {"model": prompt.provenance.model, "task": prompt.provenance.task}
        content = save({"prompt_embeds": prompt.weight}, metadata={"format": "pt", "cpeft": json.dumps(card)})
    elif form == "npy":
        np.save(array := BytesIO(), prompt.weight.numpy(), allow_pickle=False)
        content = array.getvalue()
    else:
        raise PromptError(f"unknown form '{form}'; use peft, prompt_embeds or npy")
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_bytes(path, content)
    return path
