"""Pre-training: bfloat16 network, float32 master weights; warm-up, then a rate that falls, rests, and falls to zero.

Matrices inside the layers learn by Muon (Jordan et al. 2024; steps matched to AdamW's size as in Liu et al. 2025), the rest by
AdamW with the rate of every tensor scaled by the root mean square of its entries, as Adafactor does in T5's own recipe: T5's
embeddings start at 1, its queries at 0.008.

The weights start in a shape that attention takes when trained (mimetic initialisation, Trockman & Kolter 2023): see `start`.

Everything that a step needs is (seed, step, rank) and the last checkpoint, so the same command goes on where it was stopped.
"""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, distributed
from torch.nn.functional import cross_entropy
from transformers import T5Config, T5ForConditionalGeneration
from transformers.models.t5.modeling_t5 import T5Attention

from tools.build_mini.mixture import END, PAD, Batch, Mixture
from tools.build_mini.vocabulary import SIZE

CONFIG = T5Config(
    vocab_size=SIZE, d_model=256, d_kv=32, d_ff=512, num_layers=6, num_decoder_layers=2, num_heads=8, dropout_rate=0.0,
    feed_forward_proj="gated-gelu_pytorch_tanh", tie_word_embeddings=True,
    pad_token_id=PAD, eos_token_id=END, decoder_start_token_id=PAD,
)  # fmt: skip
MUON, ADAM = 2e-3, 1e-2  # peak rates; ADAM is multiplied by the tensor's root mean square
LEAST = 1e-3  # what a tensor of smaller entries is taken for
DECAY_MUON, CLIP = 0.1, 1.0
# Share of the peak rates at these steps, linear in between: two rounds. The first rests at 0.4, where comparing two texts began
# to be learned; at its end prompts could steer what the model was trained on and nothing else, hence the second.
RATES = (
    (0, 0.01), (99, 1.0), (1250, 1.0), (3250, 0.322), (3400, 0.4), (4300, 0.4), (5350, 0.0),
    (5450, 0.5), (8000, 0.5), (11000, 0.0),
)  # fmt: skip
SPAN_WEIGHT = 0.3  # of a span token against an answer token: answers are two tokens long, spans fifteen
EVERY = 250  # steps between checkpoints
EMBEDDING = 0.3  # standard deviation of the embeddings at the start (T5: 1)
SAME, PASSED, NEXT = 0.08, 0.5, 4.0  # see start


@torch.no_grad()
def start(model: T5ForConditionalGeneration) -> None:
    """Let attention begin as a matcher and a copier: queries and keys share one rotation, scaled so that a token scores
    SAME times the width with itself; values and outputs undo each other but for the factor PASSED; half of the encoder's
    heads begin on the neighbours (score NEXT at one and two places before and behind), in the decoder one on the last token.

    Of what is gone from one of two copies of a text, T5's random start found 9% after 550 steps, this one 90% after 300.
    """
    model.shared.weight.mul_(EMBEDDING)
    width = model.config.d_model
    for name, module in model.named_modules():
        if not isinstance(module, T5Attention):
            continue
        match, carry = (torch.linalg.qr(torch.randn(width, width))[0] for _ in range(2))
        module.q.weight.copy_(SAME**0.5 * match)
        module.k.weight.copy_(SAME**0.5 * match)
        module.v.weight.copy_(PASSED**0.5 * carry)
        module.o.weight.copy_(PASSED**0.5 * carry.T)
        if module.has_relative_attention_bias:
            bias = (
                module.relative_attention_bias.weight.zero_()
            )  # (buckets, heads); in the encoder 16 and more look ahead
            behind, ahead = ((1, 2), (17, 18)) if name.startswith("encoder") else ((1,), ())
            for head, bucket in enumerate(behind + ahead):
                bias[bucket, head] = NEXT


class Pretraining:
    def __init__(self, mixture: Mixture, out: Path) -> None:
        torch.manual_seed(mixture.seed)
        self.mixture, self.out = mixture, out
        together = distributed.is_initialized()
        self.rank, self.ranks = (distributed.get_rank(), distributed.get_world_size()) if together else (0, 1)
        self.model = T5ForConditionalGeneration._from_config(CONFIG, attn_implementation="eager")
        start(self.model)
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

    def rate(self) -> float:
        """The share of the peak rates at this step."""
        return float(np.interp(self.step, *zip(*RATES, strict=True)))

    def run(self) -> None:
        """Train until the last step of RATES."""
        last = RATES[-1][0]
        since, tokens, seen = time.time(), 0, torch.zeros(4)
        while self.step < last:
            batch = self.mixture.batch(self.step, self.rank)
            loss, counted = self.losses(batch)
            loss.backward()
            norm = self.update(self.rate())
            seen += counted
            tokens += int(batch.mask.sum()) + int((batch.labels != -100).sum())
            self.step += 1
            if self.step % 50 == 0:
                spans, answers = (seen[::2] / seen[1::2].clamp_min(1)).tolist()
                self.log(
                    spans=round(spans, 4), answers=round(answers, 4), norm=round(norm, 3), rate=self.rate(),
                    tokens_per_second=round(self.ranks * tokens / (time.time() - since)), tokens=self.ranks * tokens,
                )  # fmt: skip
                since, tokens, seen = time.time(), 0, torch.zeros(4)
            if self.step % EVERY == 0 or self.step == last:
                self._save()

    def update(self, rate: float) -> float:
        for master, weight in zip(self.masters, self.model.parameters(), strict=True):
            master.grad = weight.grad.float() / self.ranks
            weight.grad = None
        if self.ranks > 1:
            flat = torch.cat([master.grad.flatten() for master in self.masters])
            distributed.all_reduce(flat)
            for master, part in zip(self.masters, flat.split([master.numel() for master in self.masters]), strict=True):
                master.grad.copy_(part.view_as(master))
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
        if self.rank:
            return
        line = json.dumps({"step": self.step, **record})
        print(line, flush=True)
        with (self.out / "log.jsonl").open("a") as file:
            file.write(line + "\n")

    def _states(self) -> Iterator[tuple[str, dict[str, Tensor]]]:
        for i, master in enumerate(self.masters):
            yield str(i), (self.muon if any(master is inner for inner in self.inner) else self.adam).state[master]

    def _save(self) -> None:
        if self.rank:
            return
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
