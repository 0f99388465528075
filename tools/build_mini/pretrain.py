"""Pre-training: bfloat16 network, float32 master weights; warm-up, constant rate, linear decay at the end.

Matrices inside the layers learn by Muon (Jordan et al. 2024; steps matched to AdamW's size as in Liu et al. 2025), the rest by
AdamW with the rate of every tensor scaled by the root mean square of its entries, as Adafactor does in T5's own recipe: T5's
embeddings start at 1, its queries at 0.008. Tried on the same batches: AdamW at one rate of 0.002 for all exploded after 400
steps; scaled AdamW for all reached the loss of Muon's step 250 at step 350.

Everything that a step needs is (seed, step) and the last checkpoint, so the same command goes on where it was stopped.
"""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import T5Config, T5ForConditionalGeneration

from tools.build_mini.mixture import END, PAD, Batch, Mixture
from tools.build_mini.vocabulary import SIZE

CONFIG = T5Config(
    vocab_size=SIZE, d_model=256, d_kv=64, d_ff=512, num_layers=6, num_decoder_layers=2, num_heads=4, dropout_rate=0.0,
    feed_forward_proj="gated-gelu_pytorch_tanh", tie_word_embeddings=True,
    pad_token_id=PAD, eos_token_id=END, decoder_start_token_id=PAD,
)  # fmt: skip
MUON, ADAM = 2e-3, 1e-2  # peak rates; ADAM is multiplied by the tensor's root mean square
LEAST = 1e-3  # what a tensor of smaller entries is taken for
WARMUP, DECAY_MUON, CLIP = 200, 0.1, 1.0
SPAN_WEIGHT = 0.3  # of a span token against an answer token: answers are two tokens long, spans fifteen
EVERY = 250  # steps between checkpoints


class Pretraining:
    def __init__(self, mixture: Mixture, out: Path) -> None:
        torch.manual_seed(mixture.seed)
        self.mixture, self.out = mixture, out
        self.model = T5ForConditionalGeneration._from_config(CONFIG, attn_implementation="eager")
        self.masters = [p.detach().clone() for p in self.model.parameters()]
        self.model.to(torch.bfloat16)
        inner = [
            parameter.ndim == 2 and "block" in name and "relative" not in name
            for name, parameter in self.model.named_parameters()
        ]
        self.inner = [master for master, yes in zip(self.masters, inner, strict=True) if yes]
        self.outer = [master for master, yes in zip(self.masters, inner, strict=True) if not yes]
        self.muon = torch.optim.Muon(self.inner, weight_decay=DECAY_MUON, adjust_lr_fn="match_rms_adamw")
        groups = [{"params": [master]} for master in self.outer]
        self.adam = torch.optim.AdamW(groups, betas=(0.9, 0.98), weight_decay=0.0, fused=True)
        self.loss = torch.compile(self._loss, dynamic=False)
        self.step = 0
        self._load()

    def _loss(self, source: Tensor, mask: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
        start = torch.full_like(labels[:, :1], PAD)
        decoder = torch.cat([start, labels[:, :-1].clamp_min(0)], 1)
        logits = self.model(input_ids=source, attention_mask=mask, decoder_input_ids=decoder, use_cache=False).logits
        token = cross_entropy(logits.flatten(0, 1).float(), labels.flatten(), ignore_index=-100, reduction="none")
        return token.view_as(labels) * weights

    def losses(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The weighted mean to train on; sums and counts of span tokens and of answer tokens (4 numbers)."""
        asked = (batch.labels != -100).float()
        weights = asked.clone()
        weights[: batch.corrupted] *= SPAN_WEIGHT
        loss = self.loss(batch.source, batch.mask, batch.labels, weights)
        with torch.no_grad():
            parts = (loss / weights.clamp_min(SPAN_WEIGHT)).split((batch.corrupted, len(loss) - batch.corrupted))
            counts = asked.split((batch.corrupted, len(loss) - batch.corrupted))
            seen = torch.stack([part.sum() for pair in zip(parts, counts, strict=True) for part in pair])
        return loss.sum() / weights.sum(), seen

    def rate(self, last: int, decay: int) -> float:
        """The share of the peak rates at this step; it falls to zero over the `decay` steps before `last`."""
        return min(1.0, (self.step + 1) / WARMUP, (last - self.step) / max(decay, 1))

    def run(self, last: int, decay: int) -> None:
        """Train until step `last`."""
        since, tokens, seen = time.time(), 0, torch.zeros(4)
        while self.step < last:
            batch = self.mixture.batch(self.step)
            loss, counted = self.losses(batch)
            loss.backward()
            norm = self.update(self.rate(last, decay))
            seen += counted
            tokens += int(batch.mask.sum()) + int((batch.labels != -100).sum())
            self.step += 1
            if self.step % 50 == 0:
                spans, answers = (seen[::2] / seen[1::2].clamp_min(1)).tolist()
                self.log(
                    spans=round(spans, 4), answers=round(answers, 4), norm=round(norm, 3), rate=self.rate(last, decay),
                    tokens_per_second=round(tokens / (time.time() - since)), tokens=tokens,
                )  # fmt: skip
                since, tokens, seen = time.time(), 0, torch.zeros(4)
            if self.step % EVERY == 0 or self.step == last:
                self._save()

    def update(self, rate: float) -> float:
        for master, weight in zip(self.masters, self.model.parameters(), strict=True):
            master.grad = weight.grad.float()
            weight.grad = None
        norm = torch.nn.utils.clip_grad_norm_(self.masters, CLIP)
        self.muon.param_groups[0]["lr"] = MUON * rate
        for master, group in zip(self.outer, self.adam.param_groups, strict=True):
            group["lr"] = ADAM * rate * max(float(master.square().mean().sqrt()), LEAST)
        self.muon.step()
        self.adam.step()
        with torch.no_grad():
            for master, weight in zip(self.masters, self.model.parameters(), strict=True):
                weight.copy_(master)
        return float(norm)

    def log(self, **record: object) -> None:
        line = json.dumps({"step": self.step, **record})
        print(line, flush=True)
        with (self.out / "log.jsonl").open("a") as file:
            file.write(line + "\n")

    def _states(self) -> Iterator[tuple[str, dict[str, Tensor]]]:
        for i, master in enumerate(self.masters):
            yield str(i), (self.muon if any(master is inner for inner in self.inner) else self.adam).state[master]

    def _save(self) -> None:
        tensors = {f"{i}.master": master for i, master in enumerate(self.masters)}
        tensors |= {f"{i}.{name}": value for i, state in self._states() for name, value in state.items()}
        partial = self.out / "partial.safetensors"
        save_file(tensors, partial, {"step": str(self.step)})
        partial.replace(self.out / "checkpoint.safetensors")

    def _load(self) -> None:
        path = self.out / "checkpoint.safetensors"
        if not path.exists():
            return
        with safe_open(path, "pt") as file:
            self.step = int(file.metadata()["step"])
            tensors = {key: file.get_tensor(key) for key in list(file.keys())}
        for i, state in self._states():
            mine = {key.partition(".")[2]: value for key, value in tensors.items() if key.partition(".")[0] == i}
            self.masters[int(i)].copy_(mine.pop("master"))
            state.update(mine)
        with torch.no_grad():
            for master, weight in zip(self.masters, self.model.parameters(), strict=True):
                weight.copy_(master)

    def export(self, folder: Path) -> None:
        """The model in bfloat16 with its tokenizer, as transformers loads it."""
        self.model.save_pretrained(folder)
        self.mixture.tokenizer.save_pretrained(folder)
