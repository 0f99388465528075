"""Random models of one layer, for trial runs: an architecture and a tokenizer that reads any text.

A token is a byte, so every text and label can be encoded without a trained vocabulary.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.processors import TemplateProcessing
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM, PreTrainedTokenizerFast
from transformers.utils import logging as transformers_logging

from cpeft.errors import ConfigError
from cpeft.models.gguf import architecture_of, gguf_file
from cpeft.models.named_models import named_model
from cpeft.models.places import local_place

WIDTH = 32
POSITIONS = 2048
PAD, END, UNKNOWN = "<pad>", "</s>", "<unk>"
WORDS = (PAD, END, UNKNOWN, *sorted(ByteLevel.alphabet()))
CHAT = "{% for m in messages %}{{ m['role'] + ': ' + m['content'] + '</s>' }}{% endfor %}"

_T5 = {"d_model": WIDTH, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_heads": 2, "decoder_start_token_id": 0}
_SIDE = {"layers": 1, "attention_heads": 2, "ffn_dim": 32}
_BART = {f"{side}_{name}": size for side in ("encoder", "decoder") for name, size in _SIDE.items()}
_LLAMA = {"hidden_size": WIDTH, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
          "num_key_value_heads": 2, "max_position_embeddings": POSITIONS}  # fmt: skip

SIZES: dict[str, dict[str, Any]] = {  # by transformers' model type; a type is sought in hub names in this order
    "mt5": _T5,
    "t5": _T5,
    "bart": {**_BART, "d_model": WIDTH, "max_position_embeddings": POSITIONS, "decoder_start_token_id": 1,
             "bos_token_id": 1, "forced_eos_token_id": None},
    "llama": _LLAMA,
    "qwen2": _LLAMA,
    "gpt2": {"n_embd": WIDTH, "n_layer": 1, "n_head": 2, "n_positions": POSITIONS},
}  # fmt: skip
ALIKE = {  # names that do not contain their architecture
    "deepseek-llm": "llama", "smollm": "llama", "tinystories": "llama", "minilm-seq2seq": "bart",
}  # fmt: skip


def family_of(name: str, file: str | None = None) -> str:
    """The architecture of a model by its entry, GGUF file or folder, else by its hub name; nothing is downloaded. Raises
    ConfigError where it is not known."""
    place = local_place(name)
    config = place / "config.json"
    if known := named_model(name):
        family = known.family
    elif gguf := gguf_file(place, file):
        family = architecture_of(gguf)
    elif config.is_file():
        family = str(json.loads(config.read_text(encoding="utf-8")).get("model_type"))
    else:
        lowered = name.lower()
        family = next((kind for part, kind in ALIKE.items() if part in lowered), "")
        family = family or next((kind for kind in SIZES if kind in lowered), "")
    if family not in SIZES:
        raise ConfigError(f"model '{name}': its architecture is none of {', '.join(SIZES)}; a tiny one cannot be made")
    return family


def write_tiny(family: str, folder: Path) -> None:
    """A random model of a family and its tokenizer as a folder that `load_lm` reads; the same one every time."""
    config = AutoConfig.for_model(
        family, **{"vocab_size": len(WORDS), "pad_token_id": 0, "eos_token_id": 1, "bos_token_id": 1, **SIZES[family]}
    )
    make: Callable[[Any], Any] = (
        AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
    ).from_config
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        make(config).save_pretrained(folder)
    write_tokenizer(folder, config.is_encoder_decoder)


def write_tokenizer(folder: Path, encoder_decoder: bool) -> None:
    """A tokenizer whose tokens are bytes, which ends the texts of an encoder-decoder."""
    raw = Tokenizer(BPE({word: i for i, word in enumerate(WORDS)}, [], unk_token=UNKNOWN))
    raw.pre_tokenizer, raw.decoder = ByteLevel(add_prefix_space=False), ByteLevelDecoder()
    end = f"$A {END}" if encoder_decoder else "$A"
    raw.post_processor = TemplateProcessing(single=end, special_tokens=[(END, 1)])
    PreTrainedTokenizerFast(
        tokenizer_object=raw, pad_token=PAD, eos_token=END, unk_token=UNKNOWN, chat_template=CHAT
    ).save_pretrained(folder)
