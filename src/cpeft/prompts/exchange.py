"""Prompts of other programs: peft folders, ATTEMPT's `.pt`/`.bin` files, numpy arrays.

A T5 prompt saved by peft (or the replication's fork of it) holds twice `num_virtual_tokens` rows, of which the model only
ever read the first half; such a prompt is recognised by its own configuration, the live rows are kept and the dead ones
reported. Foreign pickles are opened by `torch.load(weights_only=True)`, which refuses code.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cpeft.errors import PromptError
from cpeft.prompts.soft_prompt import PEFT_KEY, Provenance, SoftPrompt, read_json, read_tensors


def load_prompt(path: str | Path) -> SoftPrompt:
    """A prompt from a cpeft or peft folder, a `.pt`/`.bin`/`.pth` file, `.safetensors` or `.npy`.

    Raises PromptError saying what the path is instead.
    """
    path = Path(path)
    if path.is_dir():
        if (path / "cpeft.json").exists():
            return SoftPrompt.load(path)
        if (path / "adapter_config.json").exists():
            return _from_peft(path)
        raise PromptError(f"{path}: a folder without cpeft.json or adapter_config.json is not a prompt")
    if not path.exists():
        raise PromptError(f"{path}: no such prompt")
    readers = {
        ".npy": _read_npy,
        ".safetensors": _read_safetensors,
        ".pt": _read_pt,
        ".bin": _read_pt,
        ".pth": _read_pt,
    }
    if path.suffix not in readers:
        raise PromptError(f"{path}: '{path.suffix}' is none of {', '.join(readers)} or a prompt folder")
    return SoftPrompt(readers[path.suffix](path), Provenance(note=f"imported from {path.name}"))


def _from_peft(folder: Path) -> SoftPrompt:
    config = read_json(folder / "adapter_config.json")
    if config.get("peft_type") != "PROMPT_TUNING":
        raise PromptError(f"{folder}: peft type {config.get('peft_type')} is not PROMPT_TUNING")
    safe = folder / "adapter_model.safetensors"
    weight = _only_matrix(read_tensors(safe), safe) if safe.exists() else _read_pt(folder / "adapter_model.bin")
    live, note = int(config.get("num_virtual_tokens") or weight.shape[0]), ""
    seq2seq = config.get("task_type") == "SEQ_2_SEQ_LM"
    if weight.shape[0] == 2 * live and seq2seq:
        note = f"doubled layout: {live} live rows kept, {live} rows the model never read dropped"
    elif weight.shape[0] != live:
        raise PromptError(f"{folder}: {weight.shape[0]} rows stored, but num_virtual_tokens is {live}")
    model, revision = config.get("base_model_name_or_path") or "", config.get("revision")
    kind = None if config.get("task_type") is None else seq2seq
    return SoftPrompt(weight[:live], Provenance(model, revision, encoder_decoder=kind, method="peft", note=note))


def _read_npy(path: Path) -> Tensor:
    try:
        with path.open("rb") as file:
            array = np.lib.format.read_array(file, allow_pickle=False).astype(np.float32)
    except (ValueError, TypeError, OSError, EOFError, MemoryError) as error:
        raise PromptError(f"{path}: not a plain numpy array ({error})") from None
    return _only_matrix(torch.from_numpy(array), path)


def _read_safetensors(path: Path) -> Tensor:
    return _only_matrix(read_tensors(path), path)


def _read_pt(path: Path) -> Tensor:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise PromptError(f"{path}: no such file") from None
    except Exception as error:  # the restricted unpickler meets damage with errors of any class
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise PromptError(f"{path}: refused, it is damaged or holds more than tensors ({reason})") from None
    return _only_matrix(content, path)


def _only_matrix(content: Any, path: Path) -> Tensor:
    if isinstance(content, dict):
        matrices = {k: v for k, v in content.items() if isinstance(v, Tensor) and v.dim() == 2}
        content = matrices.get(PEFT_KEY, next(iter(matrices.values())) if len(matrices) == 1 else None)
        if content is None:
            raise PromptError(
                f"{path}: expected '{PEFT_KEY}' or a single matrix, found {', '.join(matrices) or 'none'}"
            )
    if not isinstance(content, Tensor) or content.dim() != 2:
        raise PromptError(f"{path}: expected one matrix of prompt rows, found {type(content).__name__}")
    return content.float()


def export_prompt(prompt: SoftPrompt, path: Path, form: str = "peft") -> Path:
    """Write a prompt for other programs.

    `peft`: a folder for `PeftModel.from_pretrained`; `prompt_embeds`: one safetensors file with the tensor `prompt_embeds`
    (P, D), the form serving engines take; `npy`: a numpy array.
    """
    if form == "peft":
        return prompt.save(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    if form == "prompt_embeds":
        from safetensors.torch import save_file

        card = {"model": prompt.provenance.model, "task": prompt.provenance.task}
        save_file({"prompt_embeds": prompt.weight}, path, metadata={"format": "pt", "cpeft": json.dumps(card)})
    elif form == "npy":
        with path.open("wb") as file:  # given a name, numpy would add its own suffix
            np.save(file, prompt.weight.numpy(), allow_pickle=False)
    else:
        raise PromptError(f"unknown form '{form}'; use peft, prompt_embeds or npy")
    return path
