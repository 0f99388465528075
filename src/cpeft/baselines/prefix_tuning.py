"""Prefix tuning (Li and Liang 2021): trained keys and values in front of those of every layer's self-attention.

The prefix is peft's `PrefixEncoder`. Decoder-only models have it in every layer; encoder-decoder models in every layer of the
decoder and not in the encoder nor in cross-attention, as in peft today. There peft lets layers i and i + L/2 of L share one
prefix and leaves half of its parameters without a gradient (the places of a cross-attention prefix that its cache no longer
holds); here every layer has its own and every element is read.

The prefix enters as the past of the model's first pass, in training and in `generate` alike, before any token: positions count
from its end where the model has absolute or rotary ones.
"""

import inspect
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import DynamicCache, EncoderDecoderCache

from cpeft.baselines.base import Baseline
from cpeft.methods import METHODS
from cpeft.models.loading import FrozenLM
from cpeft.options.method import PrefixTuningOptions

INPUTS = ("decoder_input_ids", "decoder_inputs_embeds", "input_ids", "inputs_embeds")  # what has a row for every row


@METHODS.register("prefix_tuning")
class PrefixTuning(Baseline):
    """Keys and values of every layer. The default rate is a guess between those of Li and Liang (5e-5, through the network) and
    of prompts."""

    Options = PrefixTuningOptions
    rate = 1e-2

    def change(self, options: PrefixTuningOptions, lm: FrozenLM) -> None:
        from peft import PrefixEncoder, PrefixTuningConfig

        self._rows = options.length  # the prompt is empty, but positions and memory are taken
        layers, heads, width = _cache_sizes(lm)
        config = PrefixTuningConfig(
            num_virtual_tokens=options.length, num_layers=layers, num_attention_heads=heads, token_dim=heads * width,
            prefix_projection=options.projection == "mlp", encoder_hidden_size=lm.width,
        )  # fmt: skip
        prefix = Prefix(PrefixEncoder(config), layers, heads)
        lm.model.add_module("prefix", prefix.to(lm.device, lm.precise))
        lm.model.register_forward_pre_hook(partial(_put_before, _cache_argument(lm.model)), with_kwargs=True)


class Prefix(nn.Module):
    """Keys and values (2 x layers, 1, heads, P, width) out of peft's encoder."""

    def __init__(self, encoder: nn.Module, layers: int, heads: int) -> None:
        super().__init__()
        self.encoder, self.layers, self.heads = encoder, layers, heads

    def forward(self) -> Tensor:
        rows = torch.arange(cast(nn.Embedding, self.encoder.embedding).num_embeddings)
        flat = self.encoder(rows.to(next(self.parameters()).device).unsqueeze(0))
        return cast(Tensor, flat.unflatten(-1, (2 * self.layers, self.heads, -1)).permute(2, 0, 3, 1, 4))


def _cache_sizes(lm: FrozenLM) -> tuple[int, int, int]:
    """Layers, heads and width of what the model's self-attention keeps, read off a pass of one token."""
    one = torch.zeros(1, 1, dtype=torch.long, device=lm.device)
    more = {"decoder_input_ids": one} if lm.encoder_decoder else {}
    with torch.no_grad():
        kept = _own(lm.model(input_ids=one, use_cache=True, **more).past_key_values)
    return len(kept.layers), kept.layers[0].keys.shape[1], kept.layers[0].keys.shape[3]


def _own(past: Any) -> Any:
    """The part of a cache that self-attention reads."""
    return past.self_attention_cache if isinstance(past, EncoderDecoderCache) else past


def _cache_argument(model: Any) -> str:
    """What a model calls its keys and values: `past_key_values` before transformers 5.24."""
    return "cache" if "cache" in inspect.signature(model.forward).parameters else "past_key_values"


def _put_before(
    named: str, model: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The call of a model with its prefix in the cache, the argument `named`, in the mask and in the positions."""
    both, prefix = model.config.is_encoder_decoder, model.prefix()
    rows_in = next(kwargs[name] for name in INPUTS if kwargs.get(name) is not None)
    past = kwargs.get(named)
    if past is None:
        past = EncoderDecoderCache(DynamicCache(), DynamicCache()) if both else DynamicCache(config=model.config)
    if not _own(past).get_seq_length():
        rows = prefix.to(model.get_input_embeddings().weight.dtype).expand(-1, len(rows_in), -1, -1, -1)
        for layer in range(len(rows) // 2):
            _own(past).update(rows[2 * layer], rows[2 * layer + 1], layer)
    changed = {named: past}
    mask, positions = ("decoder_attention_mask" if both else "attention_mask"), "position_ids"
    if kwargs.get(mask) is not None:
        changed[mask] = torch.cat([kwargs[mask].new_ones(len(rows_in), prefix.shape[3]), kwargs[mask]], 1)
    if kwargs.get(positions) is not None:
        changed[positions] = kwargs[positions] + prefix.shape[3]
    return args, {**kwargs, **changed}
