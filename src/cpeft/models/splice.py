"""Where prompts go: pure functions on embeddings and masks.

One canonical layout keeps padding harmless for every architecture: prompt and text stand together without a gap, padding
on one side only. Learned absolute positions then count the prompt, rotary positions start at the prompt, relative ones
see true distances, whatever side the caller padded.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def order_by_mask(mask_BL: Bool[Tensor, "B L"], pad: str) -> Int[Tensor, "B L"] | None:
    """Indices that move padding to one side (`right` or `left`) and keep the order of real tokens; None if it is there."""
    hidden_BL = ~mask_BL if pad == "right" else mask_BL
    steps = hidden_BL.long().diff(dim=1)
    if mask_BL.shape[1] < 2 or not bool((steps < 0).any()):
        return None
    return torch.sort(hidden_BL.long(), dim=1, stable=True).indices


def rearrange(x: Tensor, order_BL: Int[Tensor, "B L"] | None) -> Tensor:
    """Reorder dimension 1 of (B, L, ...) row by row."""
    if order_BL is None:
        return x
    index = order_BL.view(*order_BL.shape, *([1] * (x.dim() - 2))).expand(-1, -1, *x.shape[2:])
    return x.gather(1, index)


def join(
    prompt_BPD: Float[Tensor, "B P D"], x_BLD: Float[Tensor, "B L D"], mask_BL: Bool[Tensor, "B L"], pad: str
) -> tuple[Tensor, Bool[Tensor, "B P+L"], Int[Tensor, "B P+L"] | None]:
    """Prompt in front of text, padding moved to `pad` side: embeddings, mask, and the order used (None: unchanged).

    The prompt takes the dtype of the model here and nowhere else.
    """
    B, P = prompt_BPD.shape[:2]
    joined = torch.cat([prompt_BPD.to(x_BLD.dtype), x_BLD], dim=1)
    mask = torch.cat([mask_BL.new_ones(B, P), mask_BL], dim=1)
    order = order_by_mask(mask, pad)
    return rearrange(joined, order), rearrange(mask, order), order


def source_mask(
    mask_BL: Bool[Tensor, "B L"], labels_BL: Int[Tensor, "B L"] | None, ignore: int = -100
) -> Bool[Tensor, "B L"]:
    """Real tokens before the first labelled one: the text up to the answer of a decoder-only row."""
    if labels_BL is None:
        return mask_BL
    answered_BL = (labels_BL != ignore).long().cumsum(1) > 0
    return mask_BL & ~answered_BL
