"""Loading a frozen language model: hub name or local folder to `FrozenLM`.

Everything goes through transformers' public interface. Encoder-decoder or decoder-only is read from the configuration,
never guessed from a name. All parameters are frozen here, once, and the model stays in evaluation mode unless a recipe
asks for the published `base_dropout`.
"""

import hashlib
import logging
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from inspect import signature
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, BitsAndBytesConfig
from transformers.utils import logging as transformers_logging

from cpeft.data.hub import ask_hub_once
from cpeft.data.options import Form
from cpeft.errors import ConfigError, PromptMismatch, first_line
from cpeft.models.chat import ChatCodec
from cpeft.models.content import (
    NO_REMOTE_CODE,
    UNREADABLE,
    not_loaded,
    parts_of,
    read_config,
    read_tokenizer,
)
from cpeft.models.fast.packed_llama import PackedLlama, packed_llama
from cpeft.models.fast.packed_t5 import PackedT5, packed_t5
from cpeft.models.greedy import one_piece
from cpeft.models.named_models import named_model
from cpeft.models.places import folder_of
from cpeft.models.support import GAP, GENERATED, TOKENS, check_supported, reads_alike, shortest_window
from cpeft.models.text import TextCodec, check_fits
from cpeft.options.model import Attention, Dtype
from cpeft.prompts.init import Vocabulary
from cpeft.prompts.soft_prompt import differing_part

CPU = Path("/proc/cpuinfo")
logger = logging.getLogger(__name__)


@dataclass(eq=False)
class FrozenLM:
    """A frozen model with its tokenizer."""

    model: Any
    tokenizer: Any
    name: str
    revision: str | None = None
    dtype: str = "float32"

    def __post_init__(self) -> None:
        self.model.requires_grad_(False)
        self.model.eval()
        self.text = TextCodec(self.tokenizer, self.model.config)
        self.encoder_decoder = bool(self.model.config.is_encoder_decoder)
        self.embeddings = self.model.get_input_embeddings()
        self.width = int(self.embeddings.weight.shape[1])
        if not self.encoder_decoder:
            head = self.model.get_output_embeddings()
            if isinstance(head, nn.Linear) and one_piece not in head._forward_pre_hooks.values():
                head.register_forward_pre_hook(one_piece)

    @property
    def device(self) -> torch.device:
        return self.embeddings.weight.device  # type: ignore[no-any-return]

    @property
    def precise(self) -> torch.dtype:
        """The dtype of trained parameters on this model: its own, float32 at least."""
        return torch.promote_types(self.embeddings.weight.dtype, torch.float32)

    def copy(self) -> "FrozenLM":
        """The same model with weights of its own, which may be changed; what identifies it stays that of the original."""
        own = FrozenLM(deepcopy(self.model), self.tokenizer, self.name, self.revision, self.dtype)
        own.fingerprint, own.vocabulary, own.parts = self.fingerprint, self.vocabulary, self.parts
        return own

    @cached_property
    def _chat(self) -> ChatCodec:
        return ChatCodec(self.tokenizer, self.model.config)

    def codec(self, form: Form) -> TextCodec:
        """How text of a form becomes tokens; raises ConfigError for `chat` where the tokenizer has no chat template."""
        return self._chat if form == "chat" else self.text

    @cached_property
    def packed(self) -> PackedT5 | PackedLlama | None:
        """The fast form of the model, where there is one that agrees with it."""
        return packed_t5(self.model) if self.encoder_decoder else packed_llama(self.model)

    @property
    def pads(self) -> bool:
        """Whether padding costs time: on a CPU, without a packed form."""
        return self.device.type == "cpu" and not self.packed

    @cached_property
    def keeps_prompt(self) -> bool:
        """Whether a text reads the same behind keys and values of a prompt that were computed before it."""
        return reads_alike(self.model, kept=True)

    @cached_property
    def window(self) -> int | None:
        """The fewest positions that some layer attends to, None where every layer attends to all."""
        return shortest_window(self.model.config)

    @cached_property
    def gap_limit(self) -> int | None:
        """How many positions may be filled where padding stands between a prompt and a text: 0 where the model counts that
        padding (ALiBi by index), its shortest window, or None for no limit."""
        gap = GAP if self.window is None else max(min(GAP, self.window - TOKENS - GENERATED), 0)
        return self.window if gap and reads_alike(self.model, kept=True, pads=gap) else 0

    @cached_property
    def pads_left(self) -> bool:
        """Whether padding before a text changes nothing."""
        return reads_alike(self.model, kept=False, pads=GAP)

    @cached_property
    def keeps_logits(self) -> bool:
        """Whether the model can compute logits at chosen positions alone."""
        return "logits_to_keep" in signature(self.model.forward).parameters

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """The embedding table on the CPU, as the model uses it (BART scales it), and the tokenizer."""
        table_VD = self.embed(torch.arange(len(self.embeddings.weight), device=self.device)).float().cpu()
        return Vocabulary(table_VD, lambda text: self.text.tokens.ids([text])[0])

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the embedding table rounded to bfloat16: which space prompts live in, whatever dtype it is loaded in."""
        table = self.embeddings.weight.detach().cpu().to(torch.bfloat16).contiguous()
        return hashlib.sha256(table.view(torch.int16).numpy().tobytes()).hexdigest()

    @cached_property
    def parts(self) -> dict[str, str]:
        """Hashes of what else a prompt depends on: configuration, tokenizer and chat template."""
        return parts_of(self.model.config, self.tokenizer)

    def check_same(self, what: str, known: Mapping[str, Any]) -> None:
        """Raise PromptMismatch, naming both, where `what` was trained under another configuration, tokenizer or chat template.
        `known` has their hashes, and as `model` the name of its model; hashes that it lacks are not checked."""
        if differing := differing_part(known, self.parts):
            part, theirs, ours = differing
            raise PromptMismatch(
                f"{what} was trained under {part} {theirs} of {known.get('model') or 'its model'}, and {self.name} has {part} "
                f"{ours}: use the model it was trained on, or train it again"
            )

    def check_fits(self, prompt: int, text: int) -> None:
        """Raise TooLong unless `prompt` rows and `text` tokens fit the model's positions."""
        check_fits(self.text.positions, self.name, prompt, text)

    def embed(self, ids_BL: Tensor) -> Tensor:
        return self.embeddings(ids_BL)  # type: ignore[no-any-return]


def load_lm(
    name: str | Path,
    revision: str | None = None,
    dtype: Dtype = "auto",
    device: str = "auto",
    quantize: Literal["none", "8bit", "4bit"] = "none",
    attention: Attention = "auto",
    fetch: bool = True,
    file: str | None = None,
) -> FrozenLM:
    """A frozen model by `name`: a named model such as `mini` or `smollm2`, a folder, a GGUF file or a hub name; `file` chooses
    in a folder of several GGUF files. Without `fetch` only what is on this machine.

    Raises MissingModel (not there, or offline and not in the cache) and ConfigError (quantisation without bitsandbytes, a GGUF
    file that cannot be read, program code of its own, a tokenizer with more tokens than the model has embeddings, a family on
    which prompts cannot be served: `models/support.py`)."""
    logger.info("loading %s ...", name)
    place, kind = placed(dtype, device)
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    at: dict[str, Any] = {"revision": revision, "local_files_only": not fetch}
    arguments: dict[str, Any] = {"dtype": getattr(torch, kind)}
    if attention != "auto" or (place == "cpu" and kind == "bfloat16"):
        arguments["attn_implementation"] = "eager" if attention == "auto" else attention
    if quantize != "none":
        if find_spec("bitsandbytes") is None:
            raise ConfigError("model.quantize needs bitsandbytes: pip install 'cpeft[gpu]'")
        bits = {f"load_in_{quantize}": True}
        arguments["quantization_config"] = BitsAndBytesConfig(**bits, bnb_4bit_compute_dtype=torch.bfloat16)
    where, known = str(folder_of(name, file, fetch) or name), named_model(name)
    if fetch and not Path(where).is_dir():
        ask_hub_once()
    try:
        config = read_config(where, **at)
        auto = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
        model = auto.from_pretrained(where, config=config, **at, **arguments, **NO_REMOTE_CODE)
        tokenizer = read_tokenizer(where, **at)
    except UNREADABLE as error:
        raise not_loaded(str(name), error) from None
    if quantize == "none":
        model.to(place)  # type: ignore[arg-type]
    shown = known.name if known else str(name)
    lm = FrozenLM(model, tokenizer, shown, getattr(config, "_commit_hash", None) or revision, kind)
    _check_vocabulary(shown, tokenizer, len(lm.embeddings.weight))
    check_supported(model, shown, lm.text.end)
    return lm


def _check_vocabulary(name: str, tokenizer: Any, rows: int) -> None:
    """Raise ConfigError for tokens that a text or a batch may hold and that have no row in the embedding table."""
    added = {place for place, token in tokenizer.added_tokens_decoder.items() if token.special}
    written = {tokenizer.pad_token_id, tokenizer.eos_token_id, *tokenizer("a")["input_ids"]}
    special = (added | set(tokenizer.all_special_ids)) - written
    beyond = {place: token for token, place in tokenizer.get_vocab().items() if place >= rows and place not in special}
    if beyond:
        first = min(beyond)
        raise ConfigError(
            f"model '{name}': its tokenizer has {len(beyond)} tokens beyond the {rows} rows of its embedding table, the first "
            f"'{beyond[first]}' with id {first}; use the tokenizer the model was trained with, or resize the table "
            "(model.resize_token_embeddings) and save it"
        )


def placed(dtype: Dtype, device: str) -> tuple[str, str]:
    """The device and dtype that `auto` stands for on this machine; raises ConfigError for a device that is none or is not
    here."""
    place = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    try:
        if torch.empty(0, device=place).is_meta:
            raise RuntimeError("it holds no numbers")
    except (
        RuntimeError,
        AssertionError,
        NotImplementedError,
    ) as error:  # a name that is none; not compiled in; not here
        raise ConfigError(f"device '{place}' of a model: use auto, cpu or cuda ({first_line(error)})") from None
    if dtype != "auto":
        return place, dtype
    amx = CPU.exists() and "amx_bf16" in CPU.read_text()  # bfloat16 matrices in hardware: three to four times float32
    return place, "bfloat16" if amx or place.startswith("cuda") else "float32"
