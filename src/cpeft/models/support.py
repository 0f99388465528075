"""Requirements on a model for prompts to be trained and served on it, checked on the loaded weights with a few tokens.

- Some token ends an answer.
- Embeddings carry all information of token ids, because prompt rows have no ids, and the model only reads them.
- Decoder-only: no position sees a later one; the cache of a text is keys and values, not a running state.
- Encoder-decoder: a row before padding reads as it does alone, so that no answer depends on its batch.

A model that fails is refused by name, before anything is trained. `reads_alike` checks how rows of a decoder-only model may
stand in one batch: some count positions by index (ALiBi in MPT, sliding windows) and so see padding before or behind a prompt.
"""

from copy import deepcopy
from textwrap import shorten
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from cpeft.errors import ConfigError
from cpeft.models.greedy import plain_greedy

TOKENS, PADS = 8, 3  # of the text that is read, and beside it
GENERATED = 3  # tokens that follow: what a model keeps of padding may show only behind the first
GAP = 64  # padding before a text, or between prompt and text: so far that every score moves that counts positions by index
# Largest difference between logits, as a share of their largest, that rounding explains in a pass of the same or another shape.
SAME_SHAPE = {torch.float64: 1e-6, torch.float32: 1e-5, torch.bfloat16: 2e-2, torch.float16: 2e-3}
OTHER_SHAPE = {torch.float64: 1e-5, torch.float32: 1e-4, torch.bfloat16: 5e-2, torch.float16: 5e-3}
IDS = "it reads token ids beside embeddings, and the rows of a prompt have no ids"
WRITES = "it writes into the embeddings it is given, so that a prompt would be another one after it was read"
FAILS = (AttributeError, IndexError, KeyError, NotImplementedError, RuntimeError, TypeError, ValueError)


@torch.no_grad()
def check_supported(model: Any, name: str, end: int | None) -> None:
    """Raise ConfigError, naming the model, its type and the reason, unless prompts can be trained and served on it."""
    where = f"model '{name}' ({model.config.model_type})"
    if end is None:
        raise ConfigError(
            f"{where} names no end token, so no answer would ever end: set eos_token in its tokenizer_config.json, "
            "or eos_token_id in its config.json"
        )
    try:
        reason = (_encoder_decoder if model.config.is_encoder_decoder else _decoder_only)(model)
    except FAILS as error:
        if isinstance(error, torch.OutOfMemoryError):
            raise
        first = shorten((str(error).strip().splitlines() or [type(error).__name__])[0], 120, placeholder=" ...")
        reason = f"it does not run on embeddings in the place of token ids ({first})"
    if reason:
        raise ConfigError(f"{where} cannot be used with soft prompts: {reason}")


def reads_alike(model: Any, kept: bool, pads: int = 0) -> bool:
    """Whether a decoder-only model, through `generate`, reads a short text as it does alone: behind so many positions of
    padding, or with keys and values of its first half `kept` from before and the padding between the halves."""
    x_BLD = _embedded(model)
    try:
        apart = _apart(_answer(model, x_BLD), _answer(model, x_BLD, pads, x_BLD.shape[1] // 2 * kept))
    except FAILS:  # a cache that does not repeat over rows, say: what is not known to be right is not done
        return False
    return apart <= OTHER_SHAPE[_dtype(model)]  # not so for NaN


def shortest_window(config: Any) -> int | None:
    """The fewest positions that some layer attends to, None where every layer attends to all."""
    text = config.get_text_config(decoder=True)
    kinds = set(getattr(text, "layer_types", None) or ())
    if kinds and kinds <= {"full_attention"}:
        return None
    found = []
    for key, value in text.to_dict().items():
        local = ("window" in key or key == "attention_chunk_size") and "layer" not in key and "pattern" not in key
        values = value if isinstance(value, list | tuple) else [value]
        found += [n for n in values if local and isinstance(n, int) and not isinstance(n, bool) and n > 0]
    return min(found, default=None)


def _decoder_only(model: Any) -> str:
    """Why a decoder-only model is refused; empty where it is not."""
    if getattr(model, "_is_stateful", False):
        return (
            "it keeps a running state in the place of keys and values (a state-space, recurrent or convolutional model)"
        )
    ids_BL, x_BLD = _ids(model), _embedded(model)
    seen = model(input_ids=ids_BL, use_cache=True)
    changed_BL = torch.cat([ids_BL[:, :-1], ids_BL[:, :1]], 1)
    changed = model(input_ids=changed_BL, use_cache=True).logits
    if _apart(seen.logits[:, :-1], changed[:, :-1]) > SAME_SHAPE[_dtype(model)]:
        return "its positions see later ones, so it is no causal language model"
    if getattr(seen, "past_key_values", None) is None:
        return "it returns no keys and values of what it has read"
    if _apart(seen.logits, model(inputs_embeds=x_BLD, use_cache=True).logits) > OTHER_SHAPE[_dtype(model)]:
        return IDS
    if not torch.equal(x_BLD, _embedded(model)):
        return WRITES
    _answer(model, (x_BLD + x_BLD.flip(1)) / 2)  # rows of no token, as those of a prompt
    return ""


def _encoder_decoder(model: Any) -> str:
    """Why an encoder-decoder is refused; empty where it is not."""
    ids_BL, x_BLD = _ids(model), _embedded(model)
    start = {"decoder_input_ids": ids_BL[:, :3]}
    seen = model(input_ids=ids_BL, use_cache=False, **start).logits
    if _apart(seen, model(inputs_embeds=x_BLD, use_cache=False, **start).logits) > OTHER_SHAPE[_dtype(model)]:
        return IDS
    if not torch.equal(x_BLD, _embedded(model)):
        return WRITES
    mask_BL = torch.ones_like(ids_BL)
    padded, mask_BL = torch.cat([x_BLD, x_BLD[:, :PADS]], 1), torch.cat([mask_BL, 0 * mask_BL[:, :PADS]], 1)
    behind = model(inputs_embeds=padded, attention_mask=mask_BL, use_cache=False, **start).logits
    if _apart(seen, behind) > OTHER_SHAPE[_dtype(model)]:
        return "padding changes what it reads, so an answer would depend on its batch"
    with plain_greedy(model):
        model.generate(inputs_embeds=x_BLD, attention_mask=torch.ones_like(ids_BL), max_new_tokens=2)
    return ""


def _ids(model: Any) -> Tensor:
    """A text of `TOKENS` tokens spread over the vocabulary, no two alike."""
    rows = len(model.get_input_embeddings().weight)
    return torch.linspace(rows // 8, rows - 1 - rows // 8, TOKENS, device=model.device).long()[None]


def _embedded(model: Any) -> Float[Tensor, "1 L D"]:
    return model.get_input_embeddings()(_ids(model))  # type: ignore[no-any-return]


def _dtype(model: Any) -> torch.dtype:
    return model.get_input_embeddings().weight.dtype  # type: ignore[no-any-return]


@torch.no_grad()
def _answer(model: Any, x_BLD: Tensor, pads: int = 0, kept: int = 0) -> Float[Tensor, "S 1 V"]:
    """The logits of `GENERATED` tokens in `generate`, which are given so that rounding chooses none: `kept` positions computed
    before, padding, the others."""
    cache = {}
    if kept:
        known = deepcopy(model.base_model(inputs_embeds=x_BLD[:, :kept], use_cache=True).past_key_values)
        known.batch_repeat_interleave(1)
        cache = {"past_key_values": known}
    padded = torch.cat([x_BLD[:, :kept], x_BLD[:, :1].expand(-1, pads, -1), x_BLD[:, kept:]], 1)
    mask = torch.ones(padded.shape[:2], dtype=torch.long, device=padded.device)
    mask[:, kept : kept + pads] = 0
    with plain_greedy(model):
        generated = _ids(model)[0].tolist()
        out = model.generate(inputs_embeds=padded, attention_mask=mask, max_new_tokens=GENERATED, output_logits=True,
                             return_dict_in_generate=True, prefix_allowed_tokens_fn=lambda _, before: [generated[len(before)]],
                             **cache)  # fmt: skip
    return torch.stack(out.logits)


def _apart(one: Tensor, other: Tensor) -> float:
    """The largest difference, as a share of the largest value."""
    return float((one.double() - other.double()).abs().max() / one.double().abs().max().clamp(min=1e-30))
