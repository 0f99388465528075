"""Decoding: free greedy with exact early decision, and closed-choice scoring.

Free greedy decoding is the published protocol. For a closed label set a row ends as soon as nothing it could still become
is a label: its text so far is the beginning of none. What it would have said after that cannot match, so exact match equals
plain greedy decoding row by row, and no more steps are made than the longest label has tokens. Where the model has a packed
form, one pass over the tree of labels finds the rows that say one; the others are decoded token by token.

Closed choice picks the label of the highest log-probability and is another metric, reported as `choice_*`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor
from transformers import GenerationConfig, StoppingCriteria, StoppingCriteriaList

from cpeft.config import NUMBER, Count, Options
from cpeft.data.encode import Batch, EncodedRow
from cpeft.errors import ConfigError
from cpeft.models.fast.label_trie import LabelTrie
from cpeft.models.fast.reading import Reading
from cpeft.models.prompted import PromptedLM
from cpeft.models.text import TextCodec
from cpeft.training.memory import in_groups
from cpeft.training.workers import Workers

OPEN_TOKENS = 128  # generated for open answers, as in the published settings


class EvalOptions(Options):
    """`[eval]`: `decode` greedy and/or choice; `match = "lower"` compares greedy texts with labels in lower case and calls
    every other text "none", as published for chat models; `max_new_tokens` None means the longest label, or 128 for open
    answers; `bootstrap` resamples of test rows for intervals."""

    decode: tuple[Literal["greedy", "choice"], ...] = ("greedy",)
    match: Literal["exact", "lower"] = "exact"
    max_new_tokens: Count | None = None
    token_budget: Count = 16384
    bootstrap: Annotated[int, Field(ge=1, le=1_000_000), NUMBER] = 1000


@dataclass(frozen=True)
class Decoded:
    """One row's output: the greedy text, the chosen label (None: not asked), attention over candidates (empty: none)."""

    text: str
    choice: str | None
    attention: tuple[float, ...]


class Decided(StoppingCriteria):
    """Ends a row once its text so far begins no label. White space is left out of the comparison, because decoding may
    close a gap only when the next piece is known; an unfinished character keeps a row open. `form` is what texts are compared
    in: `str`, or `str.lower`."""

    def __init__(self, codec: TextCodec, labels: Sequence[str], skip: int, form: Callable[[str], str] = str) -> None:
        dense = ["".join(form(label).split()) for label in labels]

        @cache
        def decided(tokens: tuple[int, ...]) -> bool:
            text = "".join(form(codec.decode(tokens)).split()).rstrip("\ufffd")
            return not any(label.startswith(text) for label in dense)

        self.skip, self.decided = skip, decided

    def __call__(self, input_ids: Tensor, scores: Any, **kwargs: Any) -> Tensor:
        flags = [self.decided(tuple(row[self.skip :])) for row in input_ids.tolist()]
        return torch.tensor(flags, dtype=torch.bool, device=input_ids.device)


def decode_rows(
    learner: PromptedLM, rows: Sequence[EncodedRow], labels: Sequence[str], options: EvalOptions,
    workers: Workers | None = None,
) -> list[Decoded]:  # fmt: skip
    """The output of every row, in order. `labels` is the closed label set, empty for open answers."""
    workers = workers or Workers()
    mine = workers.share(list(rows))
    done = in_groups(partial(_decode_group, learner, labels, options), mine, learner.shape, options.token_budget)
    out = {i: decoded for group, texts in done for i, decoded in zip(group, texts, strict=True)}
    return workers.gather([out[i] for i in range(len(mine))])


def _decode_group(
    learner: PromptedLM, labels: Sequence[str], options: EvalOptions, rows: list[EncodedRow]
) -> list[Decoded]:
    batch = learner.shape.batch(rows).to(learner.lm.device)
    reading = learner.read(batch.source_BL, batch.mask_BL, batch.task_B)
    texts: list[str | None] = _said(learner, labels, options, reading) if reading else [None] * len(rows)
    attention = _attention(reading.notes) if reading else None
    if left := [i for i, text in enumerate(texts) if text is None]:
        generated, noted = _generated(learner, labels, options, batch, reading, left)
        attention = noted if attention is None else attention
        for i, text in zip(left, generated, strict=True):
            texts[i] = text
    choices = _choose(learner, rows, labels) if labels and "choice" in options.decode else [None] * len(rows)
    weights = [tuple(row) for row in attention] if attention else [()] * len(rows)
    return [Decoded(text or "", choice, seen) for text, choice, seen in zip(texts, choices, weights, strict=True)]


Attention = list[list[float]] | None  # weights by row, where the method has any


def _said(learner: PromptedLM, labels: Sequence[str], options: EvalOptions, reading: Reading) -> list[str | None]:
    """The texts of rows whose greedy decoding says a label, in one pass; None for the others, and where it cannot be told."""
    codec = learner.text
    spoken = [tuple(ids) for ids in codec.targets(list(labels))]
    if not spoken or new_tokens(codec, labels, options) < max(map(len, spoken)):
        return [None] * len(reading.rows.order_B)
    texts = [codec.decode(ids) for ids in spoken]
    return [texts[i] if i >= 0 else None for i in reading.said(LabelTrie(spoken))]


def _generated(
    learner: PromptedLM, labels: Sequence[str], options: EvalOptions, batch: Batch, reading: Reading | None,
    left: list[int],
) -> tuple[list[str], Attention]:  # fmt: skip
    """The texts that greedy decoding says of the rows that are left, token by token."""
    lm, codec = learner.lm, learner.text
    skip = 1 if lm.encoder_decoder else 0
    form = str.lower if options.match == "lower" else str
    criteria = StoppingCriteriaList([Decided(codec, labels, skip, form)] if labels else [])
    how = {"max_new_tokens": new_tokens(codec, labels, options), "stopping_criteria": criteria}
    with plain_greedy(lm.model, codec.pad, codec.end):
        if reading:
            tokens, notes = learner.tell(reading, left, **how), reading.notes
        else:
            tokens, notes = learner.decode(batch.source_BL, batch.mask_BL, batch.task_B, **how)
    return [codec.decode(ids[skip:]) for ids in tokens.tolist()], _attention(notes)


def _attention(notes: dict[str, Tensor]) -> Attention:
    return notes["attention"].tolist() if "attention" in notes else None


def new_tokens(codec: TextCodec, labels: Sequence[str], options: EvalOptions) -> int:
    """How many tokens a row may generate: as set, or those of the longest label with its end, or 128 for open answers. Where
    case does not matter, a label may be spelled in more tokens, at most one a byte, one before and one after them."""
    if options.max_new_tokens is None and labels and options.match == "lower":
        return max(len(label.encode()) for label in labels) + 2
    return options.max_new_tokens or max((len(ids) for ids in codec.targets(list(labels))), default=OPEN_TOKENS)


@contextmanager
def plain_greedy(model: Any, pad: int | None = None, end: int | None = None) -> Iterator[None]:
    """Greedy decoding with the model's own start and end tokens and none of its other generation habits.

    The model's generation settings are put aside, because `generate` fills whatever a call leaves open from them
    (repetition penalties, minimum lengths, a forced end token that would make a cut text look finished). `pad` fills rows that
    ended where the model names no pad token; a word there would be read as output. `end` ends a row beside the model's own.
    """
    own = model.generation_config
    names = ("bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id", "forced_bos_token_id")
    ids = {name: getattr(own, name, None) for name in names}
    for name, last in (("decoder_start_token_id", None), ("pad_token_id", pad or 0)):
        known = (ids[name], getattr(model.config, name, None), last)
        ids[name] = next((token for token in known if token is not None), None)
    ends = ids["eos_token_id"] if isinstance(ids["eos_token_id"], list) else [ids["eos_token_id"]]
    ids["eos_token_id"] = [token for token in dict.fromkeys([*ends, end]) if token is not None] or None
    model.generation_config = GenerationConfig(do_sample=False, num_beams=1, **ids)
    try:
        yield
    finally:
        model.generation_config = own


def _choose(learner: PromptedLM, rows: list[EncodedRow], labels: Sequence[str]) -> list[str | None]:
    spoken = [tuple(ids) for ids in learner.text.targets(list(labels))]
    scores = [learner.score(learner.shape.batch([replace(row, target=ids) for row in rows])) for ids in spoken]
    return [labels[i] for i in torch.stack(scores, 1).argmax(1).tolist()]


def matched(spoken: Mapping[str, str], rule: Literal["exact", "lower"]) -> Callable[[str], str]:
    """From a greedy text to the label it says; `spoken` maps what the tokenizer makes of a closed label set to the labels.

    `exact`: a text that says no label stays as it is. `lower`: equality in lower case, any other text is "none".
    """
    if rule == "exact":
        return lambda text: spoken.get(text, text)
    lowered = {said.lower(): label for said, label in spoken.items()}
    if len(lowered) < len(spoken):
        raise ConfigError(f"two labels are one in lower case ({', '.join(spoken)}); use eval.match = 'exact'")
    return lambda text: lowered.get(text.lower(), "none")


@torch.no_grad()
def mean_loss(learner: PromptedLM, rows: Sequence[EncodedRow], budget: int) -> float:
    """Mean loss per token that bears loss (nats)."""
    shape = learner.shape
    done = in_groups(lambda part: float(learner.losses(shape.batch(part))[0].double().sum()), rows, shape, budget)
    return sum((loss for _, loss in done), 0.0) / max(sum(map(shape.heard, rows)), 1)
