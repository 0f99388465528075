"""Decoding: greedy generation with exact early stopping, and closed-choice scoring.

Greedy generation is the published protocol. For a closed label set, generation of a row stops as soon as its text is no longer
the beginning of any label. Later tokens could not make it a label, so exact match equals that of plain greedy generation row by
row, and the number of steps is at most the number of tokens of the longest label. Packed models compute these greedy tokens in
one pass over the tree of labels; a row that may still become a label in another tokenization is generated token by token.

Closed choice picks the label with the highest log-probability, calibrated choice the label whose log-probability the input
raises most (`choice.py`). Their scores are separate metrics, reported as `choice_*` and `calibrated_*`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import StoppingCriteria, StoppingCriteriaList

from cpeft.data.rows import EncodedRow
from cpeft.errors import ConfigError
from cpeft.evaluation.choice import best, label_scores, label_trie, prior
from cpeft.metrics.base import NO_LABEL
from cpeft.models.fast.reading import Answers, Reading
from cpeft.models.greedy import plain_greedy
from cpeft.models.prompted import PromptedLM
from cpeft.models.text import TextCodec
from cpeft.options.evaluation import EvalOptions
from cpeft.training.memory import in_groups
from cpeft.training.workers import Workers

OPEN_TOKENS = 128  # generated for open answers, as in the published settings


@dataclass(frozen=True)
class DecodedRow:
    """The output of one row: the greedy text, the labels of closed and of calibrated choice (None if not requested), and the
    method's extras by name. `decode_rows` puts the greedy text in `text`. `TaskData.answers` replaces `text` by the label it
    matches (`NO_LABEL` if none) and keeps the greedy text in `answer`. With a closed label set the greedy text of a row that
    matches no label is incomplete, because its generation stops early. `scores` are the log-probabilities (nats) of the labels
    (empty if not requested); `tokens` is the length of the greedy text without its end token."""

    text: str
    choice: str | None
    extras: Mapping[str, Any]
    calibrated: str | None = None
    answer: str = ""
    scores: tuple[float, ...] = ()
    tokens: int = 0


class NoLabelPossible(StoppingCriteria):
    """Stops a row once its text is the beginning of no label. White space is ignored, because a tokenizer may remove a space
    only when the next token is known; an incomplete character is ignored too. `case` is applied to texts before
    they are compared: `str` or `str.lower`."""

    def __init__(self, codec: TextCodec, labels: Sequence[str], skip: int, case: Callable[[str], str] = str) -> None:
        dense = ["".join(case(label).split()) for label in labels]

        @cache
        def impossible(tokens: tuple[int, ...]) -> bool:
            text = "".join(case(codec.decode(tokens)).split()).rstrip("\ufffd")
            return not any(label.startswith(text) for label in dense)

        self.skip, self.impossible = skip, impossible

    def __call__(self, input_ids: Tensor, scores: Any, **kwargs: Any) -> Tensor:
        flags = [self.impossible(tuple(row[self.skip :])) for row in input_ids.tolist()]
        return torch.tensor(flags, dtype=torch.bool, device=input_ids.device)


def decode_rows(
    learner: PromptedLM,
    rows: Sequence[EncodedRow],
    labels: Sequence[str],
    options: EvalOptions,
    workers: Workers | None = None,
    content_free: Sequence[EncodedRow] = (),
) -> list[DecodedRow]:
    """The output of every row, in order. `labels` is the closed label set, empty for open answers; `content_free` are the rows
    from which calibrated choice is calibrated. If `options.decode` is None, only greedy texts are computed."""
    workers = workers or Workers()
    mine = workers.share(list(rows))
    prior_C = None
    if labels and "calibrated" in (options.decode or ()):
        prior_C = prior(learner, content_free, labels, options.token_budget)
    work = partial(_decode_group, learner, labels, options, prior_C)
    done = in_groups(work, mine, learner.layout, options.token_budget)
    out = {i: decoded for group, texts in done for i, decoded in zip(group, texts, strict=True)}
    return workers.gather([out[i] for i in range(len(mine))])


def _decode_group(
    learner: PromptedLM, labels: Sequence[str], options: EvalOptions, prior_C: Tensor | None, rows: list[EncodedRow]
) -> list[DecodedRow]:
    batch = learner.layout.batch(rows).to(learner.lm.device)
    new = new_tokens(learner.text, labels, options)
    reading = learner.read(batch.source_BL, batch.mask_BL, batch.task_B, new)
    closed = {"choice", "calibrated"} & set(options.decode or ()) if labels else set()
    if reading:
        greedy, scores_BC = decode_read(learner, reading, labels, options, scored=bool(closed))
        extras: Mapping[str, Tensor] = reading.extras
    else:
        with _how(learner, labels, options) as how:
            tokens, extras = learner.decode(batch.source_BL, batch.mask_BL, batch.task_B, **how)
        greedy, scores_BC = _texts(learner, tokens), None
    if closed and scores_BC is None:
        scores_BC = label_scores(learner, rows, labels)
    nothing: list[str | None] = [None] * len(rows)
    choices = nothing if scores_BC is None or "choice" not in closed else best(scores_BC, labels)
    calibrated = nothing if scores_BC is None or prior_C is None else best(scores_BC.double() - prior_C, labels)
    values = {name: value.tolist() for name, value in extras.items()}
    extras_by_row = [{name: value[i] for name, value in values.items()} for i in range(len(rows))]
    scores = [()] * len(rows) if scores_BC is None else list(map(tuple, scores_BC.tolist()))
    columns = zip(greedy, choices, extras_by_row, calibrated, scores, strict=True)
    return [
        DecodedRow(text, choice, extra, likely, "", score, count)
        for (text, count), choice, extra, likely, score in columns
    ]


Text = tuple[str, int]  # a greedy text, and its length in tokens without its end token


@torch.no_grad()
def decode_read(
    learner: PromptedLM, reading: Reading, labels: Sequence[str], options: EvalOptions, scored: bool
) -> tuple[list[Text], Float[Tensor, "B C"] | None]:
    """The greedy texts of rows that have been read; with a closed label set, if `scored`, also the log-probability (nats) of
    every label."""
    answers = Answers(None, None)
    if labels:
        answers = reading.answers(label_trie(learner.text, tuple(labels)), scored=scored)
    count = len(reading.rows.order_B)
    texts: list[Text | None] = [None] * count
    if answers.greedy is not None:
        texts = _greedy_texts(learner, labels, options, answers.greedy)
    if left := [i for i, text in enumerate(texts) if text is None]:
        with _how(learner, labels, options) as how:
            generated = _texts(learner, learner.generate_from(reading, left, **how))
        for i, text in zip(left, generated, strict=True):
            texts[i] = text
    return [text or ("", 0) for text in texts], answers.scores_BC


def _greedy_texts(
    learner: PromptedLM, labels: Sequence[str], options: EvalOptions, greedy: Sequence[tuple[int, ...]]
) -> list[Text | None]:
    """The greedy texts, given the greedy tokens up to the first one outside the tree of labels; None for rows that may still
    become a label in another tokenization."""
    codec = learner.text
    new, impossible = new_tokens(codec, labels, options), _no_label_possible(codec, labels, options).impossible

    def text(tokens: tuple[int, ...]) -> Text | None:
        for count in range(1, len(tokens) + 1):
            if count == new or tokens[count - 1] == codec.end or impossible(tokens[:count]):
                return _text(codec, tokens[:count])
        return None

    return [text(tokens) for tokens in greedy]


def _text(codec: TextCodec, ids: Sequence[int]) -> Text:
    count = next((place for place, token in enumerate(ids) if token == codec.end), len(ids))
    while count and ids[count - 1] == codec.pad:  # behind a row that was stopped before the others
        count -= 1
    return codec.decode(ids), count


def _no_label_possible(codec: TextCodec, labels: Sequence[str], options: EvalOptions, skip: int = 0) -> NoLabelPossible:
    return NoLabelPossible(codec, labels, skip, str.lower if options.match == "lower" else str)


@contextmanager
def _how(learner: PromptedLM, labels: Sequence[str], options: EvalOptions) -> Iterator[dict[str, Any]]:
    """What `generate` is called with while greedy decoding is on."""
    lm, codec = learner.lm, learner.text
    skip = 1 if lm.encoder_decoder else 0
    criteria = StoppingCriteriaList([_no_label_possible(codec, labels, options, skip)] if labels else [])
    with plain_greedy(lm.model, codec.pad, codec.end):
        yield {"max_new_tokens": new_tokens(codec, labels, options), "stopping_criteria": criteria}


def _texts(learner: PromptedLM, tokens_BT: Tensor) -> list[Text]:
    """The texts of generated tokens; an encoder-decoder's begin with its start token."""
    skip = 1 if learner.lm.encoder_decoder else 0
    return [_text(learner.text, ids[skip:]) for ids in tokens_BT.tolist()]


def new_tokens(codec: TextCodec, labels: Sequence[str], options: EvalOptions) -> int:
    """The number of tokens to generate: `max_new_tokens` if set, else those of the longest label with its end token, or 128
    for open answers. If case is ignored, a label may need more tokens: at most one per byte, one before and one after."""
    if options.max_new_tokens is None and labels and options.match == "lower":
        return max(len(label.encode()) for label in labels) + 2
    return options.max_new_tokens or max((len(ids) for ids in codec.targets(list(labels))), default=OPEN_TOKENS)


def label_matcher(surfaces: Mapping[str, str], rule: Literal["exact", "lower"]) -> Callable[[str], str]:
    """The function from a greedy text to its label; `surfaces` maps the surface form of each label to the label.

    `exact`: a text that equals no surface form is unchanged. `lower`: texts are compared in lower case, and a text that equals
    none becomes `NO_LABEL`, which is outside every label set (the published code wrote "none", which may be a label).
    Raises ConfigError for `lower` if two surface forms differ only in case.
    """
    if rule == "exact":
        return lambda text: surfaces.get(text, text)
    lowered = {surface.lower(): label for surface, label in surfaces.items()}
    if len(lowered) < len(surfaces):
        raise ConfigError(f"two labels are one in lower case ({', '.join(surfaces)}); use eval.match = 'exact'")
    return lambda text: lowered.get(text.lower(), NO_LABEL)


@torch.no_grad()
def mean_loss(learner: PromptedLM, rows: Sequence[EncodedRow], budget: int) -> float:
    """Mean loss (nats) over the tokens that are part of the loss."""
    layout = learner.layout
    done = in_groups(lambda part: float(learner.losses(layout.batch(part))[0].double().sum()), rows, layout, budget)
    return sum((loss for _, loss in done), 0.0) / max(sum(map(layout.loss_tokens, rows)), 1)
