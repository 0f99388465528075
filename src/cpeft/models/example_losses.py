"""The loss of every row behind its prompt: through the model's packed form where it has one that takes the rows, else through
transformers' module on a padded batch."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from cpeft.data.encode import IGNORE, Batch
from cpeft.data.options import Loss
from cpeft.models.fast.packed_llama import PackedLlama
from cpeft.models.fast.packed_t5 import PackedT5
from cpeft.models.loading import FrozenLM
from cpeft.models.losses import row_losses
from cpeft.models.splice import decoder_inputs, join, rearrange


def example_losses(
    lm: FrozenLM, prompt_BPD: Tensor, x_BLD: Tensor, batch: Batch, loss: Loss = "answer", alike_B: Tensor | None = None
) -> Float[Tensor, "B"]:
    """Summed cross-entropy (nats, float32) of every row's target tokens, given its prompt and embedded source; with
    `loss = "sequence"` of the source's tokens too. Rows of one number in `alike_B` have the same prompt."""
    if isinstance(lm.packed, PackedT5):
        return lm.packed.losses(prompt_BPD, x_BLD, batch)
    longest = prompt_BPD.shape[1] + x_BLD.shape[1] + batch.target_BT.shape[1]
    if isinstance(lm.packed, PackedLlama) and lm.packed.takes(longest):
        each_B = torch.arange(len(batch)) if alike_B is None else alike_B
        return lm.packed.losses(prompt_BPD, x_BLD, batch, each_B, loss)
    if lm.encoder_decoder:
        joined, mask, _ = join(prompt_BPD, x_BLD, batch.mask_BL, pad="right")
        starts = decoder_inputs(lm.model, batch.target_BT)
        out = lm.model(inputs_embeds=joined, attention_mask=mask.long(), decoder_input_ids=starts, use_cache=False)
        logits, labels = out.logits, batch.target_BT
    else:
        known_BT = batch.target_BT != IGNORE
        y_BTD = lm.embed(batch.target_BT.masked_fill(~known_BT, lm.text.pad or 0))
        text_BLD, mask_BL = torch.cat([x_BLD, y_BTD], 1), torch.cat([batch.mask_BL, known_BT], 1)
        joined, mask, order = join(prompt_BPD, text_BLD, mask_BL, pad="right")
        source_label_BL = batch.source_BL.masked_fill(~(batch.mask_BL & (loss == "sequence")), IGNORE)
        label_BN = torch.cat([source_label_BL, batch.target_BT], 1)
        labels = rearrange(F.pad(label_BN, (prompt_BPD.shape[1], 0), value=IGNORE), order)[:, 1:]
        loss_positions = (labels != IGNORE).any(0).nonzero()[:, 0]  # logits are computed where some row has a label
        kept = {"logits_to_keep": loss_positions} if lm.keeps_logits else {}
        logits = lm.model(inputs_embeds=joined, attention_mask=mask.long(), use_cache=False, **kept).logits
        logits, labels = logits if kept else logits[:, loss_positions], labels[:, loss_positions]
    return row_losses(logits, labels)
