"""The identity of a model by content: its configuration, tokenizer and chat template, its weights.

A prompt belongs to one tokenizer and one network. Files may move, or be saved again by another version of a library, so the
hashes are of loaded values: the tokenizer's vocabulary and its ids of some text, the settings that differ from the
architecture's defaults, the text of the template. A folder and the hub give the same hashes.
"""

import hashlib
import json
from functools import lru_cache
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from cpeft.config import Table, digest
from cpeft.errors import ConfigError, MissingModel, first_line
from cpeft.models.cache import file_hash, remembered

WEIGHTS = ("*.safetensors", "pytorch_model*.bin")
READ = ("*.json", "*.model", "*.txt", "*.jinja")  # the files that describe a model, beside its weights
NO_REMOTE_CODE: Table = {"trust_remote_code": False}  # for everything that transformers loads

UNREADABLE = (OSError, ValueError, KeyError, TypeError, ImportError, SafetensorError)  # what damaged files raise

VOLATILE = {  # keys about how a configuration was saved or loaded, and keys that are not used here
    "architectures", "attn_implementation", "auto_map", "dtype", "id2label", "label2id", "name_or_path", "output_attentions",
    "output_hidden_states", "problem_type", "quantization_config", "return_dict", "task_specific_params", "torch_dtype",
    "transformers_version", "use_cache",
}  # fmt: skip
PROBE = (  # spaces, lines, case, digits, marks, accents, other scripts, and characters of few vocabularies
    "The film isn't bad:  it cost $1,234.50 (in 1999)!", "  Zażółć\tgęślą jaźń\n\nÜBER naïve Straße ",
    "日本語の文 привет мир العربية",
    "x = {a: [1, 2], b: 'c'} <p>&amp;</p> ½ ﬁ ① \u00a0 \u200b 🙂", "antidisestablishmentarianism aaaaaaaa\r\nHTTPServer42",
)  # fmt: skip


def tokenizer_hash(tokenizer: Any) -> str:
    """Sixteen hexadecimal digits of all that decides which ids a text becomes: the vocabulary with its merges or scores, the
    added and special tokens, and the ids of some text."""
    parts: list[Any] = [sorted(tokenizer.get_vocab().items(), key=lambda item: (item[1], item[0]))]
    if tokenizer.is_fast:
        model = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
        merges = [merge.split(" ") if isinstance(merge, str) else merge for merge in model.get("merges", [])]
        scored = model["vocab"] if isinstance(model.get("vocab"), list) else []
        parts += [merges, [round(score, 4) for _, score in scored]]
    parts.append([[place, str(token), token.special] for place, token in tokenizer.added_tokens_decoder.items()])
    parts.append([tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.sep_token_id])
    parts += [tokenizer(list(PROBE), add_special_tokens=special)["input_ids"] for special in (True, False)]
    return digest(parts)[:16]


def template_hash(tokenizer: Any) -> str:
    """Sixteen hexadecimal digits of a tokenizer's chat template, empty where it has none."""
    template = getattr(tokenizer, "chat_template", None)
    return digest(template)[:16] if template else ""


def config_hash(config: Any) -> str:
    """Sixteen hexadecimal digits of the settings that differ from the architecture's defaults."""
    try:
        usual = type(config)().to_dict()
    except (TypeError, ValueError):  # made of other configurations, which it cannot do without
        usual = {}
    values = {"model_type": config.model_type, **_differing(config.to_dict(), usual)}
    return digest(json.loads(json.dumps(values, default=str)))[:16]


def _differing(values: Table, usual: Table) -> Table:
    differing: Table = {}
    for key, value in values.items():
        if key in VOLATILE or key.startswith("_") or (key in usual and usual[key] == value):
            continue
        both = isinstance(value, dict) and isinstance(usual.get(key), dict)
        differing[str(key)] = _differing(value, usual[key]) if both else value
    return differing


def parts_of(config: Any, tokenizer: Any) -> dict[str, str]:
    """The hashes of a loaded configuration and tokenizer, by the names that provenance has for them."""
    return {
        "config": config_hash(config), "tokenizer": tokenizer_hash(tokenizer), "template": template_hash(tokenizer),
    }  # fmt: skip


def read_config(where: str, **at: Any) -> Any:
    """The configuration of a model in a folder or on the hub."""
    from transformers import (
        AutoConfig,  # here: it imports torch, and what a plan needs of a model is cached
    )

    return AutoConfig.from_pretrained(where, **at, **NO_REMOTE_CODE)


def read_tokenizer(where: str, **at: Any) -> Any:
    """The tokenizer of a model in a folder or on the hub; where it has no token for padding, another takes its place."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(where, **at, **NO_REMOTE_CODE)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token  # masked everywhere, never learned
    return tokenizer


def not_loaded(name: str, error: Exception) -> ConfigError | MissingModel:
    """The error for a model that could not be loaded."""
    if "trust_remote_code" in str(error):
        return ConfigError(
            f"model '{name}' comes with program code of its own, which cpeft never runs; use a model whose architecture is "
            "part of transformers"
        )
    return MissingModel(
        f"model '{name}' could not be loaded: {first_line(error)}\nGive a local folder, or on a machine with a network run: "
        f"cpeft fetch model:{name} --out DIR, then set model.name to DIR/{Path(name).name}"
    )


def folder_parts(folder: Path, name: str) -> dict[str, str]:
    """The hashes of a model's configuration, tokenizer and chat template in a folder, without loading its weights. Raises
    ConfigError (it needs code of its own) and MissingModel (it cannot be read)."""
    files = sorted(path for pattern in READ for path in folder.glob(pattern))
    return _read_parts(str(folder), name, tuple((path.name, file_hash(path)) for path in files))


@lru_cache(maxsize=16)
def _read_parts(folder: str, name: str, files: tuple[tuple[str, str], ...]) -> dict[str, str]:
    """`files` is the cache key: it changes when the folder does."""
    try:
        return dict(remembered("parts", files, lambda: parts_of(read_config(folder), read_tokenizer(folder))))
    except UNREADABLE as error:
        raise not_loaded(name, error) from None


def weights_hash(folder: Path) -> str:
    """SHA-256 of the size, first and last mebibyte of every file of weights in a folder."""
    hashed = hashlib.sha256()
    for path in sorted(path for pattern in WEIGHTS for path in folder.glob(pattern)):
        with path.open("rb") as file:
            hashed.update(str(path.stat().st_size).encode() + file.read(2**20))
            file.seek(-min(2**20, path.stat().st_size), 2)
            hashed.update(file.read())
    return hashed.hexdigest()
