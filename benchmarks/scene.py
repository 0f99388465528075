"""What is benchmarked on: T5 shapes with random weights, rows with the lengths of real tasks, and our engine over them."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast, T5Config, T5ForConditionalGeneration

from cpeft.data.rows import EncodedRow
from cpeft.methods import METHODS
from cpeft.methods.base import MethodInputs
from cpeft.models.loading import FrozenLM
from cpeft.models.prompted import PromptedLM
from cpeft.options.training import BaseDropout, GangOptions, OptimOptions, TrainOptions
from cpeft.prompts.soft_prompt import SoftPrompt
from cpeft.store.run_folder import RunFolder
from cpeft.training.engine import train_gang
from cpeft.training.member import Evaluation, Member

V, P = 32128, 100
SHAPES = {
    "small": {"d_model": 512, "d_kv": 64, "d_ff": 2048, "num_layers": 6, "num_heads": 8},
    "toy": {"d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4},  # for tests of this code
    "base": {"d_model": 768, "d_kv": 64, "d_ff": 3072, "num_layers": 12, "num_heads": 12},
}
LENGTHS = {  # mean and most tokens of a source, tokens of a target with its end
    "SST-2": (24, 66, (2, 3)), "MNLI": (39, 256, (2, 4)), "SQuAD": (178, 512, (2, 8)),
}  # fmt: skip
LABELS = ("w10", "w11 w12", "w13")


@lru_cache(maxsize=1)
def tokenizer() -> PreTrainedTokenizerFast:
    raw = Tokenizer(
        WordLevel({"<pad>": 0, "</s>": 1, "<unk>": 2, **{f"w{i}": i for i in range(3, V)}}, unk_token="<unk>")
    )
    raw.pre_tokenizer = WhitespaceSplit()
    raw.post_processor = TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return PreTrainedTokenizerFast(tokenizer_object=raw, pad_token="<pad>", eos_token="</s>", unk_token="<unk>")


def model(shape: str, dropout: float = 0.0, layers: int | None = None) -> Any:
    """T5 of this shape with random weights; a relative bias that matters."""
    torch.manual_seed(0)
    sizes = {**SHAPES[shape], **({"num_layers": layers} if layers else {})}
    made = T5ForConditionalGeneration(T5Config(
        vocab_size=V, decoder_start_token_id=0, pad_token_id=0, eos_token_id=1, dropout_rate=dropout, **sizes
    )).eval()  # fmt: skip
    for stack in (made.encoder, made.decoder):
        torch.nn.init.normal_(stack.block[0].layer[0].SelfAttention.relative_attention_bias.weight)
    return made


def frozen(made: Any, dtype: torch.dtype = torch.float32) -> FrozenLM:
    return FrozenLM(made.to(dtype), tokenizer(), "benchmark", None, str(dtype).removeprefix("torch."))


def rows_of(task: str, count: int, seed: int = 0) -> list[EncodedRow]:
    """Random rows with the lengths of a task."""
    mean, most, (least, longest) = LENGTHS[task]
    rng = np.random.default_rng(seed)
    lengths = np.clip(rng.gamma(3, mean / 3, count).astype(int), 4, most)
    rows = []
    for length in lengths:
        target = (*rng.integers(3, V, int(rng.integers(least, longest + 1)) - 1).tolist(), 1)
        rows.append(EncodedRow((*rng.integers(3, V, length - 1).tolist(), 1), target))
    return rows


def learner(
    lm: FrozenLM, method: str = "prompt_tuning", sources: int = 0, seed: int = 0, length: int = P
) -> PromptedLM:  # fmt: skip
    rng = torch.Generator().manual_seed(seed)
    table = lm.vocabulary.table_VD

    def prompt() -> torch.Tensor:
        return table[torch.randint(len(table), (length,), generator=rng)].clone()

    start = prompt()
    known = {f"source {i}": SoftPrompt(prompt()) for i in range(sources)}
    kind = METHODS.get(method)
    return PromptedLM(lm, kind(kind.Options(), MethodInputs(("task",), start, known, seed)))


@dataclass(eq=False)
class Ours:
    """Members trained by the engine as `cpeft run` does, some steps a round."""

    learners: Sequence[PromptedLM]
    rows: Sequence[EncodedRow]
    batch: int
    gang: GangOptions
    steps: int = 1
    dropout: BaseDropout = "off"

    def __post_init__(self) -> None:
        folder = Path(mkdtemp())
        train = TrainOptions(
            steps=1, batch=self.batch, eval_every=10**9, checkpoint_every=10**9, log_every=10**9,
            base_dropout=self.dropout,
        )  # fmt: skip
        nothing = Evaluation(0.0, 0.0, {})
        self.members = [
            Member(
                name=str(i), learner=each, rows=self.rows, options=train, optim=OptimOptions(lr=1e-6), order_seed=0,
                dropout_seed=0, folder=RunFolder(folder / str(i)), evaluate=lambda: nothing, writes=False,
            )
            for i, each in enumerate(self.learners)
        ]  # fmt: skip

    def __call__(self) -> None:
        for member in self.members:
            member.total = member.step + self.steps
        train_gang(self.members, self.gang)
        for member in self.members:
            if member.failure:
                raise member.failure


def step_flops(shape: str, rows: Sequence[EncodedRow], layers: int | None = None) -> float:
    """Operations of one training step over real tokens alone: forward, and the gradient by activations (weights are frozen)."""
    sizes = SHAPES[shape]
    depth, d, inner, ff = layers or sizes["num_layers"], sizes["d_model"], 64 * sizes["num_heads"], sizes["d_ff"]
    total = 0.0
    for row in rows:
        s, t = P + len(row.source), len(row.target)
        encoder = s * (4 * d * inner + 2 * d * ff) * 2 + 4 * s * s * inner
        decoder = t * (6 * d * inner + 2 * d * ff) * 2 + s * 2 * d * inner * 2 + 4 * t * (t + s) * inner
        head = t * d * V * 2
        attention = depth * 4 * (s * s + t * (t + s)) * inner
        total += (
            2 * (depth * (encoder + decoder) + head) + attention
        )  # attention costs twice its forward pass in the backward
    return total
