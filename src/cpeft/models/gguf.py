"""GGUF files, llama.cpp's format of one file per model: converted into a folder of safetensors once, then loaded as that.

transformers reads the file, which takes minutes for a large one: weights are taken out of their blocks (dequantised) and the
tokenizer is rebuilt. The folder holds exactly the float32 values that the file encodes. It is kept in the user's cache
under the SHA-256 of the file, so the same file in another place is not converted again.
"""

import re
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from cpeft.errors import ConfigError, MissingModel, first_line, writing
from cpeft.models.cache import file_hash, models_cache, write_once

SUFFIX = ".gguf"
PART = re.compile(r"-\d{5}-of-(\d{5})\.gguf$", re.IGNORECASE)


def gguf_file(place: Path, file: str | None = None) -> Path | None:
    """The GGUF file that a model's name refers to: the file itself, or the one in a folder (`file`, where it holds several);
    None for a folder of safetensors and for names that are no path here.

    Raises MissingModel (no such file) and ConfigError (several and no choice, a choice without a folder)."""
    if place.suffix.lower() == SUFFIX and not place.is_dir():
        if file is not None and file != place.name:
            raise ConfigError(f"model.file = '{file}' chooses a file in a folder, but model.name is the file {place}")
        return _checked(place, f"model '{place}': no such file")
    if not place.is_dir():
        if file is not None:
            raise ConfigError(
                f"model.file = '{file}' chooses a GGUF file in a folder, and '{place}' is no folder here; download the file "
                "and give its path as model.name"
            )
        return None
    if file is not None:
        there = ", ".join(_listed(place)) or "no GGUF file"
        return _checked(place / file, f"model '{place}': no file '{file}' in it, but {there}")
    if any(place.glob("*.safetensors")):
        return None
    files = _listed(place)
    if len(files) > 1:
        raise ConfigError(f"model '{place}' holds several GGUF files; choose one by model.file: {', '.join(files)}")
    return _checked(place / files[0], "") if files else None


def _listed(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.suffix.lower() == SUFFIX)


def _checked(path: Path, missing: str) -> Path:
    if not path.is_file():
        raise MissingModel(missing)
    if path.suffix.lower() != SUFFIX:
        raise ConfigError(f"model.file = '{path.name}' is not a GGUF file; omit it to load the folder")
    if (part := PART.search(path.name)) and int(part[1]) > 1:
        raise ConfigError(f"{path}: one of {int(part[1])} parts; join them first: llama-gguf-split --merge FIRST OUT")
    return path


def architecture_of(path: Path) -> str:
    """The architecture that a GGUF file names, such as `llama`; raises ConfigError for a file that cannot be read."""
    need_gguf(path)
    from gguf import GGUFReader

    try:
        return str(GGUFReader(path).fields["general.architecture"].contents())
    except Exception as error:  # as below
        raise ConfigError(f"{path}: no readable GGUF file: {first_line(error)}") from None


def converted(path: Path) -> Path:
    """The folder of safetensors made from a GGUF file, from the cache where it is there.

    Raises ConfigError (the package gguf is missing, an architecture that transformers cannot read, a broken file) and
    CannotWrite."""
    folder = models_cache() / file_hash(path)
    if not folder.exists():
        need_gguf(path)
        print(f"converting {path} into {folder}, once", file=sys.stderr)
        with writing(folder):
            write_once(folder, lambda made: _convert(path, made))
    return folder


def check_convertible(path: Path) -> None:
    """Raise ConfigError unless a GGUF file was converted before, or can be here, as far as is known without reading it."""
    if not (models_cache() / file_hash(path)).exists():
        need_gguf(path)


def need_gguf(what: object) -> None:
    """Raise ConfigError, naming what is to be read, unless GGUF files can be read here."""
    if find_spec("gguf") is None:
        raise ConfigError(f"{what}: GGUF files need the package gguf: pip install 'cpeft[gguf]'")


def _convert(path: Path, folder: Path) -> None:
    model, tokenizer = _read(path)
    model.hf_quantizer = None  # it would refuse to save what it has taken out of its blocks
    del model.config.quantization_config
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _read(path: Path) -> tuple[Any, Any]:
    """Model in float32 and tokenizer of a GGUF file, by transformers."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer
    from transformers.utils import logging

    from cpeft.models.content import NO_REMOTE_CODE

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    at: dict[str, Any] = {"pretrained_model_name_or_path": path.parent, "gguf_file": path.name, **NO_REMOTE_CODE}
    try:
        config = AutoConfig.from_pretrained(**at)
        auto: Any = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
        model, found = auto.from_pretrained(**at, config=config, dtype=torch.float32, output_loading_info=True)
        tokenizer = AutoTokenizer.from_pretrained(**at)
    except Exception as error:  # numpy, tokenizers and transformers raise nearly anything for a broken file
        raise ConfigError(f"{path}: transformers cannot read this GGUF file: {first_line(error)}") from None
    if lacking := sorted(found["missing_keys"]):
        raise ConfigError(
            f"{path}: {len(lacking)} of the model's tensors are not in the file, the first is {lacking[0]}"
        )
    return model, tokenizer
