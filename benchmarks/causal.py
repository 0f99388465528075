"""Rows on decoder-only models of SmolLM2-135M's shape or LLaMA-1B's width, with random weights: training steps and answers
beside peft as its documentation shows it, every row behind its own copy of the prompt, padded to the longest, labels -100
outside the answer. In bfloat16 the peer's attention is `eager`, which is the faster one there on a CPU."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from peft import PromptTuningConfig, TaskType, get_peft_model
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from benchmarks.measure import Ratio, compare
from benchmarks.scene import Ours, V, frozen, learner
from benchmarks.training import ALONE, Pool, halves, short, together
from cpeft.data.encode import collate
from cpeft.data.rows import EncodedRow
from cpeft.evaluation.choice import label_scores
from cpeft.evaluation.decoding import decode_rows
from cpeft.models.prompted import PromptedLM
from cpeft.options.evaluation import EvalOptions

SHAPES = {
    "smollm2": {"hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30, "num_attention_heads": 9,
                "num_key_value_heads": 3, "vocab_size": 49152},
    "1B width, 2 layers": {"hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 2, "num_attention_heads": 32,
                           "num_key_value_heads": 8, "vocab_size": V},
    "toy": {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4,
            "num_key_value_heads": 2, "vocab_size": V},
}  # fmt: skip
TARGET = 3  # tokens of an answer with its end
WORDS = tuple(f"w{10 + i} w{2000 + i}" for i in range(1000))


def decoder(shape: str, dtype: torch.dtype) -> Any:
    """A LLaMA of this shape; weights larger than at initialisation, so that answers hang on texts."""
    torch.manual_seed(0)
    sizes = {**SHAPES[shape], "tie_word_embeddings": True, "pad_token_id": 0, "eos_token_id": 1, "bos_token_id": 1}
    made = LlamaForCausalLM(LlamaConfig(initializer_range=0.04, **sizes)).to(dtype).eval()
    made.set_attn_implementation("eager" if dtype == torch.bfloat16 else "sdpa")
    return made


def rows_of(mean: int, count: int, seed: int = 0) -> list[EncodedRow]:
    """Random texts of lengths around a mean, as those of sentences in a chat template are."""
    rng = np.random.default_rng(seed)
    lengths = np.clip(rng.gamma(3, mean / 3, count).astype(int), 4, 4 * mean)
    return [
        EncodedRow(tuple(rng.integers(3, V, n).tolist()), (*rng.integers(3, V, TARGET - 1).tolist(), 1))
        for n in lengths
    ]


class CausalPeftLoop:
    """peft's prompt tuning on a decoder-only model: one optimiser step per batch."""

    def __init__(self, model: Any, prompt_PD: Tensor, rows: Sequence[EncodedRow]) -> None:
        self.rows = rows
        config = PromptTuningConfig(task_type=TaskType.CAUSAL_LM, num_virtual_tokens=len(prompt_PD))
        self.model = get_peft_model(model, config)
        self.prompt = self.model.prompt_encoder["default"].embedding.weight
        with torch.no_grad():
            self.prompt.copy_(prompt_PD)
        self.optimizer = torch.optim.AdamW([self.prompt], lr=1e-6)

    def logits(self, chosen: Sequence[EncodedRow], **more: Any) -> Any:
        """The model's output for sources and answers behind one another."""
        batch = collate([EncodedRow((*row.source, *row.target), row.target) for row in chosen], 0)
        return self.model(input_ids=batch.source_BL, attention_mask=batch.mask_BL.long(), **more)

    def loss(self, chosen: Sequence[EncodedRow]) -> Tensor:
        width = max(len(row.source) + len(row.target) for row in chosen)
        label_BL = torch.full((len(chosen), width), -100)
        for label_L, row in zip(label_BL, chosen, strict=True):
            label_L[len(row.source) :][: len(row.target)] = torch.tensor(row.target)
        loss: Tensor = self.logits(chosen, labels=label_BL).loss
        return loss

    @torch.no_grad()
    def scores(self, chosen: Sequence[EncodedRow], labels: Sequence[tuple[int, ...]]) -> Tensor:
        """Log-probabilities of labels, a pass for each of them."""
        scores = []
        for label in labels:
            logits_BSV = self.logits([replace(row, target=label) for row in chosen]).logits
            found = []
            for logits_SV, row in zip(logits_BSV, chosen, strict=True):
                end = len(self.prompt) + len(row.source)
                logp_TV = logits_SV[end - 1 : end - 1 + len(label)].float().log_softmax(-1)
                found.append(logp_TV[torch.arange(len(label)), torch.tensor(label)].sum())
            scores.append(torch.stack(found))
        return torch.stack(scores, 1)

    @torch.no_grad()
    def answers(self, chosen: Sequence[EncodedRow], tokens: int) -> list[list[int]]:
        """What `generate` says, rows padded on the left."""
        longest = max(len(row.source) for row in chosen)
        ids_BL = torch.tensor([[0] * (longest - len(row.source)) + list(row.source) for row in chosen])
        mask_BL = torch.arange(longest) >= longest - torch.tensor([[len(row.source)] for row in chosen])
        how = {"max_new_tokens": tokens, "do_sample": False, "num_beams": 1}
        out = self.model.generate(input_ids=ids_BL, attention_mask=mask_BL.long(), **how)
        return [row[longest:] for row in out.tolist()]

    def __call__(self) -> None:
        self.loss(self.rows).backward()
        self.optimizer.step()
        self.optimizer.zero_grad()


def _sides(
    shape: str, prompt: int, rows: list[EncodedRow], dtype: torch.dtype
) -> tuple[PromptedLM, CausalPeftLoop]:  # fmt: skip
    mine = learner(frozen(decoder(shape, dtype), dtype), length=prompt)
    if mine.lm.packed is None:
        raise SystemExit("the packed form does not agree with this model")
    return mine, CausalPeftLoop(decoder(shape, dtype), mine.method.export()["task"].weight, rows)


def training(
    shape: str, prompt: int, batch: int, mean: int, dtype: torch.dtype, rounds: int, walls: int = 0, peak: float = 0.0
) -> Ratio:
    """A training step of prompt tuning beside peft's, in the same number format."""
    rows = rows_of(mean, batch)
    mine, theirs = _sides(shape, prompt, rows, dtype)
    said = _same_losses(mine, theirs, rows, dtype)
    name = f"training step, LLaMA ({shape}), {prompt} prompt rows, batch {batch}, mean {mean} tokens, {short(dtype)}"
    flops = _flops(shape, prompt, rows)
    return compare(name, f"peft, padded to the longest row, {short(dtype)}", said, Ours([mine], rows, batch, ALONE), theirs,
                   rounds, walls, flops, peak)  # fmt: skip


def own_bfloat16(shape: str, prompt: int, batch: int, mean: int, rounds: int, walls: int, peak: float) -> Ratio:
    """A training step of ours in bfloat16 beside the same in float32."""
    rows = rows_of(mean, batch)
    half, full = (
        learner(frozen(decoder(shape, dtype), dtype), length=prompt) for dtype in (torch.bfloat16, torch.float32)
    )
    name = f"training step, LLaMA ({shape}), {prompt} prompt rows, batch {batch}, mean {mean} tokens, bfloat16"
    return halves(name, half, full, rows, rounds, walls, _flops(shape, prompt, rows), peak)


def gang(shape: str, prompt: int, batch: int, mean: int, size: int, pool: Pool, rounds: int) -> Ratio:
    """A gang beside its members one after another; float32."""
    lm, rows = frozen(decoder(shape, torch.float32)), rows_of(mean, 8 * batch)
    learners = [learner(lm, seed=i, length=prompt) for i in range(size)]
    said = f"LLaMA ({shape}), {prompt} prompt rows, batch {batch}, mean {mean} tokens"
    return together(said, learners, rows, batch, pool, rounds)


def _same_losses(mine: PromptedLM, theirs: CausalPeftLoop, rows: list[EncodedRow], dtype: torch.dtype) -> str:
    loss = mine.losses(collate(rows, 0))[0].sum() / sum(len(row.target) for row in rows)
    loss.backward()
    own = mine.method.weight.grad.flatten().double()
    mine.zero_grad()
    other_loss = theirs.loss(rows)
    other_loss.backward()
    other = theirs.prompt.grad.flatten().double()
    theirs.optimizer.zero_grad()
    off = abs(loss.item() - other_loss.item()) / other_loss.item()
    apart = float((own - other).norm() / other.norm())
    if off > (1e-4 if dtype == torch.float32 else 2e-2) or apart > (1e-3 if dtype == torch.float32 else 0.3):
        raise SystemExit(f"not the same work: losses {loss.item()} and {other_loss.item()}, gradients {apart} apart")
    return f"same loss to {off:.0e} and gradient to {apart:.0e}, relative"


def _flops(shape: str, prompt: int, rows: Sequence[EncodedRow]) -> float:
    """Operations of a step that computes the prompt once and real tokens alone: forward, and the gradient by activations."""
    sizes = SHAPES[shape]
    depth, d, inner = sizes["num_hidden_layers"], sizes["hidden_size"], sizes["intermediate_size"]
    shared = sizes["num_key_value_heads"] / sizes["num_attention_heads"]
    lengths = [len(row.source) + len(row.target) - 1 for row in rows]
    linear = (prompt + sum(lengths)) * 2 * (2 * d * d * (1 + shared) + 3 * d * inner)
    seen = prompt**2 / 2 + sum(n * prompt + n**2 / 2 for n in lengths)
    head = sum(len(row.target) for row in rows) * 2 * d * sizes["vocab_size"]
    return 2 * (depth * linear + head) + 3 * depth * 4 * seen * d


def greedy(shape: str, prompt: int, batch: int, mean: int, rounds: int, walls: int = 0) -> Ratio:
    """Greedy answers over two labels, of a model that goes on to the tenth token, beside `generate`; float32."""
    rows = [replace(row, target=()) for row in rows_of(mean, 2 * batch)]
    mine, theirs = _sides(shape, prompt, rows, torch.float32)
    labels = WORDS[:2]
    options = EvalOptions(token_budget=batch * (prompt + 4 * mean))
    groups = [rows[:batch], rows[batch:]]

    def peer() -> list[list[int]]:
        return [said for group in groups for said in theirs.answers(group, 10)]

    ours = [row.text for row in decode_rows(mine, rows, labels, options)]
    other = [mine.text.decode(ids) for ids in peer()]
    if any(a != b for a, b in zip(ours, other, strict=True) if a in labels or b in labels):
        raise SystemExit(f"answers differ: {ours} and {other}")
    said = f"{sum(text in labels for text in other)} of {len(rows)} answers are labels, the same ones row by row"
    name = f"greedy answers to {len(rows)} rows, LLaMA ({shape}), {prompt} prompt rows, mean {mean} tokens, float32, 2 labels"
    return compare(name, f"peft, generate(10), batches of {batch}", said,
                   partial(_fresh, mine, lambda: decode_rows(mine, rows, labels, options)), peer, rounds, walls)  # fmt: skip


def choice(shape: str, prompt: int, batch: int, mean: int, labels: int, rounds: int, walls: int = 0) -> Ratio:
    """The log-probability of every label for every row, beside a pass for each label; float32."""
    rows = [replace(row, target=()) for row in rows_of(mean, batch)]
    mine, theirs = _sides(shape, prompt, rows, torch.float32)
    words = WORDS[:labels]
    spoken = [tuple(ids) for ids in mine.text.targets(list(words))]
    ours, other = label_scores(mine, rows, words), theirs.scores(rows, spoken)
    apart = float((ours - other).abs().max())
    if apart > 1e-2:
        raise SystemExit(f"scores differ by {apart}")
    name = (
        f"choice of {labels} labels, LLaMA ({shape}), {prompt} prompt rows, batch {batch}, mean {mean} tokens, float32"
    )
    return compare(name, "peft, a pass for each label", f"same scores to {apart:.0e} nats",
                   partial(_fresh, mine, lambda: label_scores(mine, rows, words)), lambda: theirs.scores(rows, spoken),
                   rounds, walls)  # fmt: skip


def many_labels(shape: str, prompt: int, batch: int, mean: int, rounds: int) -> Ratio:
    """What a thousand labels cost beside fourteen; float32."""
    rows = [replace(row, target=()) for row in rows_of(mean, batch)]
    mine = learner(frozen(decoder(shape, torch.float32)), length=prompt)
    few, many = (partial(_fresh, mine, partial(label_scores, mine, rows, WORDS[:count])) for count in (14, len(WORDS)))
    apart = float((few() - many()[:, :14]).abs().max())
    if apart > 1e-3:
        raise SystemExit(f"scores differ by {apart}")
    name = f"choice of 14 labels, LLaMA ({shape}), {prompt} prompt rows, batch {batch}, mean {mean} tokens, float32"
    return compare(name, f"ours, {len(WORDS)} labels", f"same scores to {apart:.0e} nats", few, many, rounds)


def _fresh(mine: PromptedLM, work: Callable[[], Any]) -> Any:
    """An evaluation begins with a new prompt."""
    mine._kept = None
    return work()
