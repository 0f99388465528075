"""What others run, in their own code: `peft` over transformers, by hand and in the Trainer, padded as published or as a
careful user would; and what the replication of ATTEMPT computes, its mixture as its paper's code does."""

import logging
from collections.abc import Sequence
from itertools import cycle, islice
from tempfile import mkdtemp
from typing import Any

import torch
from peft import PromptTuningConfig, TaskType, get_peft_model
from torch import Tensor
from transformers import Seq2SeqTrainer, Seq2SeqTrainingArguments

from cpeft.data.encode import collate
from cpeft.data.rows import EncodedRow


class PeftLoop:
    """peft's prompt tuning, one optimiser step per batch, gradients clipped as the Trainer clips them. Without the Trainer's
    own bookkeeping, which costs some milliseconds a step, so this is kind to the peer."""

    def __init__(
        self, model: Any, prompt_PD: Tensor, rows: Sequence[EncodedRow], width: int | None, dropout: bool
    ) -> None:  # fmt: skip
        self.rows, self.width = rows, width
        config = PromptTuningConfig(task_type=TaskType.SEQ_2_SEQ_LM, num_virtual_tokens=len(prompt_PD))
        self.model = get_peft_model(model, config)
        self.prompt = self.model.prompt_encoder["default"].embedding.weight
        with torch.no_grad():
            self.prompt[: len(prompt_PD)] = prompt_PD.to(self.prompt.dtype)
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


class TrainerLoop:
    """The same in transformers' Seq2SeqTrainer, as the task prompt vectors study ran it: sources padded to the loop's width,
    dropout on, logging every step. Some steps a round, so that starting the Trainer is a small part."""

    def __init__(self, loop: PeftLoop, steps: int) -> None:
        self.loop, self.steps = loop, steps
        logging.getLogger("transformers.trainer").setLevel(logging.ERROR)
        batch = collate(loop.rows, 0, loop.width)
        self.features = [
            {"input_ids": ids, "attention_mask": mask, "labels": labels}
            for ids, mask, labels in zip(batch.source_BL, batch.mask_BL.long(), batch.target_BT, strict=True)
        ]
        self.folder = mkdtemp()

    def __call__(self) -> None:
        asked = Seq2SeqTrainingArguments(
            self.folder, max_steps=self.steps, per_device_train_batch_size=len(self.features), learning_rate=1e-6,
            logging_steps=1, save_strategy="no", report_to=[], disable_tqdm=True, use_cpu=True,
        )  # fmt: skip
        rows = list(islice(cycle(self.features), self.steps * len(self.features)))
        Quiet(model=self.loop.model, args=asked, train_dataset=rows).train()


class Quiet(Seq2SeqTrainer):
    """Logs as ever, and prints nothing."""

    def __init__(self, **given: Any) -> None:
        from transformers import PrinterCallback

        super().__init__(**given)
        self.remove_callback(PrinterCallback)


class ReplicationLoop:
    """ATTEMPT as the replication trains it: its mixture by the published formula in front of transformers' T5, torch's AdamW
    over what is trained; published with every source padded to 256 and the frozen model's dropout on."""

    def __init__(self, model: Any, method: Any, rows: Sequence[EncodedRow], width: int | None, dropout: bool) -> None:
        self.model, self.method, self.rows, self.width = model.requires_grad_(False), method, rows, width
        self.model.train(dropout)
        self.optimizer = torch.optim.AdamW([p for p in method.parameters() if p.requires_grad], lr=1e-6)

    def loss(self, chosen: Sequence[EncodedRow]) -> Tensor:
        batch = collate(chosen, 0, self.width)
        x_BLD = self.model.get_input_embeddings()(batch.source_BL)
        prompt_BPD = published_mixture(self.method, x_BLD, batch.mask_BL)
        mask = torch.cat([batch.mask_BL.new_ones(prompt_BPD.shape[:2]), batch.mask_BL], 1).long()
        joined = torch.cat([prompt_BPD, x_BLD], 1)
        loss: Tensor = self.model(inputs_embeds=joined, attention_mask=mask, labels=batch.target_BT).loss
        return loss

    def __call__(self) -> None:
        self.loss(self.rows).backward()
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
            input_ids=each.source_BL, attention_mask=each.mask_BL.long(), max_new_tokens=tokens, do_sample=False,
            num_beams=1,
        )  # fmt: skip
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
