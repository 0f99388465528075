"""Decoding: free greedy with exact early decision, and closed-choice scoring.

Free greedy decoding is the published protocol. For a closed label set a row ends as soon as nothing it could still become
is a label: its text so far is the beginning of none. What it would have said after that cannot match, so exact match equals
plain greedy decoding row by row, and no more steps are made than the longest label has tokens.

Closed choice picks the label of the highest log-probability and is another metric, reported as `choice_*`.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from transformers import GenerationConfig, StoppingCriteria, StoppingCriteriaList

from cpeft.config import Options
from cpeft.data.encode import EncodedRow, Shape, micro_batches
from cpeft.models.prompted import PromptedLM
from cpeft.models.text import TextCodec
from cpeft.training.memory import halving
from cpeft.training.workers import Workers

OPEN_TOKENS = 128  # generated for open answers, as in the published settings


class EvalOptions(Options):
    """`[eval]`: `decode` greedy and/or choice; `max_new_tokens` None means the longest label, or 128 for open answers;
    `bootstrap` resamples of test rows for intervals."""

    decode: tuple[Literal["greedy", "choice"], ...] = ("greedy",)
    max_new_tokens: int | None = None
    token_budget: int = 16384
    bootstrap: int = 1000


@dataclass(frozen=True)
class Decoded:
    """One row's output: the greedy text, the chosen label (None: not asked), attention over candidates (empty: none)."""

    text: str
    choice: str | None
    attention: tuple[float, ...]


class Decided(StoppingCriteria):
    """Ends a row once its text so far begins no label. White space is left out of the comparison, because decoding may
    close a gap only when the next piece is known; an unfinished character keeps a row open."""

    def __init__(self, codec: TextCodec, labels: Sequence[str], skip: int) -> None:
        self.codec = codec
        self.labels = [_dense(label) for label in labels]
        self.skip = skip
        self.seen: dict[tuple[int, ...], bool] = {}

    def __call__(self, input_ids: Tensor, scores: Any, **kwargs: Any) -> Tensor:
        flags = [self._decided(tuple(row[self.skip :])) for row in input_ids.tolist()]
        return torch.tensor(flags, dtype=torch.bool, device=input_ids.device)

    def _decided(self, tokens: tuple[int, ...]) -> bool:
        if tokens not in self.seen:
            text = _dense(self.codec.decode(tokens)).rstrip("\ufffd")
            self.seen[tokens] = not any(label.startswith(text) for label in self.labels)
        return self.seen[tokens]


def _dense(text: str) -> str:
    return re.sub(r"\s+", "", text)


def decode_rows(
    learner: PromptedLM,
    rows: Sequence[EncodedRow],
    shape: Shape,
    labels: Sequence[str],
    options: EvalOptions,
    workers: Workers | None = None,
) -> list[Decoded]:
    """The output of every row, in order. `labels` is the closed label set, empty for open answers."""
    workers = workers or Workers()
    mine = workers.share(list(range(len(rows))))
    floor = max((shape.width(rows[i]) for i in mine), default=1)

    def decode(budget: int) -> list[Decoded]:
        out: dict[int, Decoded] = {}
        for group in micro_batches(mine, lambda i: shape.width(rows[i]), budget):
            out.update(
                zip(group, _decode_group(learner, [rows[i] for i in group], shape, labels, options), strict=True)
            )
        return [out[i] for i in mine]

    return workers.gather(halving(decode, options.token_budget, floor))


def _decode_group(
    learner: PromptedLM, rows: list[EncodedRow], shape: Shape, labels: Sequence[str], options: EvalOptions
) -> list[Decoded]:
    lm = learner.lm
    batch = shape.batch(rows).to(lm.device)
    skip = 1 if lm.encoder_decoder else 0
    criteria = StoppingCriteriaList([Decided(lm.text, labels, skip)] if labels else [])
    with plain_greedy(lm.model, lm.text.pad):
        tokens, notes = learner.decode(
            batch.source_BL, batch.mask_BL, batch.task_B,
            max_new_tokens=new_tokens(lm.text, labels, options), stopping_criteria=criteria,
        )  # fmt: skip
    choices = _choose(learner, rows, shape, labels) if labels and "choice" in options.decode else [None] * len(rows)
    attention = notes["attention"].tolist() if "attention" in notes else [()] * len(rows)
    return [
        Decoded(lm.text.decode(ids[skip:]), choice, tuple(weights))
        for ids, choice, weights in zip(tokens.tolist(), choices, attention, strict=True)
    ]


def new_tokens(codec: TextCodec, labels: Sequence[str], options: EvalOptions) -> int:
    """How many tokens a row may generate: as set, or those of the longest label with its end, or 128 for open answers."""
    return options.max_new_tokens or max((len(ids) for ids in codec.targets(list(labels))), default=OPEN_TOKENS)


@contextmanager
def plain_greedy(model: Any, pad: int | None = None) -> Iterator[None]:
    """Greedy decoding with the model's own start and end tokens and none of its other generation habits.

    The model's generation settings are put aside, because `generate` fills whatever a call leaves open from them
    (repetition penalties, minimum lengths, a forced end token that would make a cut text look finished). `pad` fills rows that
    ended where the model names no pad token; a word there would be read as output.
    """
    own = model.generation_config
    names = ("bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id", "forced_bos_token_id")
    ids = {name: getattr(own, name, None) for name in names}
    for name in ("decoder_start_token_id", "pad_token_id"):
        if ids[name] is None:
            ids[name] = getattr(model.config, name, None)
    if ids["pad_token_id"] is None:
        ids["pad_token_id"] = pad or 0
    model.generation_config = GenerationConfig(do_sample=False, num_beams=1, **ids)
    try:
        yield
    finally:
        model.generation_config = own


def _choose(learner: PromptedLM, rows: list[EncodedRow], shape: Shape, labels: Sequence[str]) -> list[str | None]:
    scores = []
    for ids in learner.lm.text.targets(list(labels)):
        batch = shape.batch([EncodedRow(row.source, tuple(ids), row.task) for row in rows])
        scores.append(learner.score(batch))
    return [labels[i] for i in torch.stack(scores, 1).argmax(1).tolist()]


@torch.no_grad()
def mean_loss(learner: PromptedLM, rows: Sequence[EncodedRow], shape: Shape, budget: int) -> float:
    """Mean loss per target token (nats)."""

    def total(tokens: int) -> float:
        groups = micro_batches(range(len(rows)), lambda i: shape.width(rows[i]), tokens)
        return sum((float(learner.losses(shape.batch([rows[i] for i in g]))[0].double().sum()) for g in groups), 0.0)

    floor = max((shape.width(row) for row in rows), default=1)
    return halving(total, budget, floor) / max(sum(len(row.target) for row in rows), 1)
