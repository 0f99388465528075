"""Cross-entropy over a vocabulary, in float32 at least."""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from cpeft.data.encode import IGNORE


def precise(logits: Tensor) -> Tensor:
    """Logits as losses are computed from them: float32 at least."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


def row_losses(logits_BTV: Float[Tensor, "B T V"], labels_BT: Int[Tensor, "B T"]) -> Float[Tensor, "B"]:
    """Summed cross-entropy (nats) of every row's labels other than -100.

    Called with one token per row: over a middle dimension torch adds the exponentials of the vocabulary sequentially, an error
    of 1e-4 in float32.
    """
    losses = F.cross_entropy(
        precise(logits_BTV).flatten(0, 1), labels_BT.flatten(), ignore_index=IGNORE, reduction="none"
    )
    return losses.view(labels_BT.shape).sum(1)
