"""What others run, in their own code: `peft` over transformers, padded as published or as a careful user would, and the
mixture as its paper's code computes it."""

from collections.abc import Sequence
from typing import Any

import torch
from peft import PromptTuningConfig, TaskType, get_peft_model
from torch import Tensor

from benchmarks.scene import P
from cpeft.data.encode import EncodedRow, collate


class PeftLoop:
    """peft's prompt tuning, one optimiser step per batch, gradients clipped as the Trainer clips them. Without the Trainer's
    own bookkeeping, which costs some milliseconds a step, so this is kind to the peer."""

    def __init__(
        self, model: Any, prompt_PD: Tensor, rows: Sequence[EncodedRow], width: int | None, dropout: bool
    ) -> None:  # fmt: skip
        self.rows, self.width = rows, width
        config = PromptTuningConfig(task_type=TaskType.SEQ_2_SEQ_LM, num_virtual_tokens=P)
        self.model = get_peft_model(model, config)
        self.prompt = self.model.prompt_encoder["default"].embedding.weight
        with torch.no_grad():
            self.prompt[:P] = prompt_PD.to(self.prompt.dtype)
        self.model.train(dropout)
        self.optimizer = torch.optim.AdamW([self.prompt], lr=1e-6)

    def loss(self, chosen: Sequence[EncodedRow]) -> Tensor:
        batch = collate(chosen, 0, self.width).to(self.prompt.device)
        loss: Tensor = self.model(
            input_ids=batch.source_BL, attention_mask=batch.mask_BL.long(), labels=batch.target_BT
        ).loss
        return loss

    def __call__(self) -> None:
        self.loss(self.rows).backward()
        torch.nn.utils.clip_grad_norm_([self.prompt], 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()


@torch.no_grad()
def peft_generate(
    loop: PeftLoop, rows: Sequence[EncodedRow], batch: int, tokens: int, with_loss: bool
) -> list[list[int]]:
    """Answers by `generate`, behind a loss pass where evaluation loops make one."""
    loop.model.eval()
    said: list[list[int]] = []
    for first in range(0, len(rows), batch):
        chosen = rows[first : first + batch]
        if with_loss:
            loop.loss(chosen)
        each = collate(chosen, 0, loop.width).to(loop.prompt.device)
        out = loop.model.generate(
            input_ids=each.source_BL,
            attention_mask=each.mask_BL.long(),
            max_new_tokens=tokens,
            do_sample=False,
            num_beams=1,
        )
        said += out[:, 1:].tolist()
    return said


def published_mixture(method: Any, x_BLD: Tensor, mask_BL: Tensor) -> Tensor:
    """ATTEMPT's prompts as its code makes them: every candidate repeated for every row of the batch, pooled anew, and mixed
    over [B, S + 1, P, D]."""
    attention = method.attention
    candidates_SPD = torch.cat([method.sources_SPD, method.target_TPD])
    mixture_BSPD = candidates_SPD.unsqueeze(0).repeat(len(x_BLD), 1, 1, 1)
    pooled_BD = x_BLD.masked_fill(~mask_BL.unsqueeze(-1), -torch.inf).max(1).values
    keys_BSD = mixture_BSPD.max(2).values
    scores_BS = torch.einsum("bsd,bd->bs", keys_BSD, attention.query(pooled_BD)) / attention.divisor()
    mixed_BPD = torch.einsum("bs,bspd->bpd", scores_BS.softmax(-1), mixture_BSPD)
    return mixed_BPD + method.target_TPD.repeat(len(x_BLD), 1, 1)
