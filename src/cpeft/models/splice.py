"""Where prompts go: pure functions on embeddings and masks.

One canonical layout keeps padding harmless for every architecture: prompt and text stand together without a gap, padding
on one side only. Learned absolute positions then count the prompt, rotary positions start at the prompt, relative ones
see true distances, whatever side the caller padded.
"""

from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from cpeft.data.encode import IGNORE


def rearrange(x: Tensor, order_BL: Int[Tensor, "B L"] | None) -> Tensor:
    """Reorder dimension 1 of (B, L, ...) row by row."""
    if order_BL is None:
        return x
    return x.take_along_dim(order_BL.view(*order_BL.shape, *([1] * (x.dim() - 2))), 1)


def join(
    prompt_BPD: Float[Tensor, "B P D"], x_BLD: Float[Tensor, "B L D"], mask_BL: Bool[Tensor, "B L"], pad: str
) -> tuple[Tensor, Bool[Tensor, "B P+L"], Int[Tensor, "B P+L"] | None]:
    """Prompt in front of text, padding moved to one side (`right` or `left`), real tokens in their order: embeddings, mask,
    and the order used (None: unchanged). The prompt takes the dtype of the model here and nowhere else."""
    joined = torch.cat([prompt_BPD.to(x_BLD.dtype), x_BLD], 1)
    mask = torch.cat([mask_BL.new_ones(prompt_BPD.shape[:2]), mask_BL], 1)
    rank = (~mask if pad == "right" else mask).long()
    order = rank.argsort(dim=1, stable=True) if bool((rank.diff(dim=1) < 0).any()) else None
    return rearrange(joined, order), rearrange(mask, order), order


def before_labels(mask_BL: Bool[Tensor, "B L"], labels_BL: Int[Tensor, "B L"] | None) -> Bool[Tensor, "B L"]:
    """Real tokens before the first labelled one: the text up to the answer of a decoder-only row."""
    return mask_BL if labels_BL is None else mask_BL & ((labels_BL != IGNORE).long().cumsum(1) == 0)


def decoder_inputs(model: Any, labels_BT: Int[Tensor, "B T"]) -> Int[Tensor, "B T"]:
    """Decoder inputs for these labels: as the model's class makes them, else the start token and the labels but the last."""
    if own := getattr(model, "prepare_decoder_input_ids_from_labels", None):
        return own(labels=labels_BT)  # type: ignore[no-any-return]
    config = model.config
    start_BT = labels_BT.new_full((len(labels_BT), 1), config.decoder_start_token_id)
    return torch.cat([start_BT, labels_BT[:, :-1].masked_fill(labels_BT[:, :-1] == IGNORE, config.pad_token_id)], 1)
