"""Greedy decoding through `generate`, without a model's other generation habits."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from transformers import GenerationConfig


@contextmanager
def plain_greedy(model: Any, pad: int | None = None, end: int | None = None) -> Iterator[None]:
    """Greedy decoding with the model's own start and end tokens and none of its other generation habits.

    The model's generation settings are ignored, because `generate` takes defaults from them
    (repetition penalties, minimum lengths, a forced end token that would make a cut text look finished). `pad` fills rows that
    ended where the model names no pad token; a word there would be read as output. `end` ends a row beside the model's own.
    """
    own = model.generation_config
    names = ("bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id", "forced_bos_token_id")
    ids = {name: getattr(own, name, None) for name in names}
    for name, last in (("decoder_start_token_id", None), ("pad_token_id", pad or 0)):
        known = (ids[name], getattr(model.config, name, None), last)
        ids[name] = next((token for token in known if token is not None), None)
    ids["eos_token_id"] = end_tokens(model, end) or None
    model.generation_config = GenerationConfig(do_sample=False, num_beams=1, **ids)
    try:
        yield
    finally:
        model.generation_config = own


def end_tokens(model: Any, end: int | None) -> list[int]:
    """The tokens that end an answer: the model's own, and `end`."""
    own = getattr(model.generation_config, "eos_token_id", None)
    ends = own if isinstance(own, list) else [own]
    return [token for token in dict.fromkeys([*ends, end]) if token is not None]


def one_piece(head: nn.Linear, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Make the input of the vocabulary head contiguous. `generate` hands it the last position of every row, a view with
    gaps, for which torch reads the weights of the whole vocabulary once a row instead of once a batch: a quarter of an
    evaluation of a decoder-only model on a CPU."""
    return (inputs[0].contiguous(), *inputs[1:])
