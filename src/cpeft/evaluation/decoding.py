"""Decoding: free greedy with exact early decision, and closed-choice scoring.

Free greedy decoding is the published protocol. For a closed label set a row ends as soon as nothing it could still become
is a label: its text so far is the beginning of none. What it would have said after that cannot match, so exact match equals
plain greedy decoding row by row, and no more steps are made than the longest label has tokens. Where the model has a packed
form, one pass over the tree of labels tells what rows say until then; those that may yet say a label in other tokens than it is
usually written in are decoded token by token.

Closed choice picks the label of the highest log-probability, and calibrated choice the one that the text raises the most
(`choice.py`). They are other metrics, reported as `choice_*` and `calibrated_*`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, Literal

import torch
from torch import Tensor
from transformers import StoppingCriteria, StoppingCriteriaList

from cpeft.data.encode import Batch
from cpeft.data.rows import EncodedRow
from cpeft.errors import ConfigError
from cpeft.evaluation.choice import best, label_scores, prior
from cpeft.metrics.base import NO_LABEL
from cpeft.models.fast.label_trie import LabelTrie
from cpeft.models.fast.reading import Answers, Reading
from cpeft.models.greedy import plain_greedy
from cpeft.models.prompted import PromptedLM
from cpeft.models.text import TextCodec
from cpeft.options.evaluation import EvalOptions
from cpeft.training.memory import in_groups
from cpeft.training.workers import Workers

OPEN_TOKENS = 128  # generated for open answers, as in the published settings


@dataclass(frozen=True)
class Decoded:
    """One row's output: the greedy text, the chosen label and the one chosen with calibration (None: not requested), and the
    method's extras for the row by name. After labels are matched, `text` is the label (`NO_LABEL` for none) and `answer` the
    greedy text. Of a closed label set a row that can become no label is not generated to its end. `scores` are the
    log-probabilities (nats) of the labels (empty: not requested), `tokens` counts the greedy text without its end token."""

    text: str
    choice: str | None
    extras: Mapping[str, Any]
    calibrated: str | None = None
    answer: str = ""
    scores: tuple[float, ...] = ()
    tokens: int = 0


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
    learner: PromptedLM,
    rows: Sequence[EncodedRow],
    labels: Sequence[str],
    options: EvalOptions,
    workers: Workers | None = None,
    content_free: Sequence[EncodedRow] = (),
) -> list[Decoded]:
    """The output of every row, in order. `labels` is the closed label set, empty for open answers; `content_free` are the rows
    that calibration goes by. Where `options.decode` is None greedy texts are all that is asked for."""
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
) -> list[Decoded]:
    batch = learner.layout.batch(rows).to(learner.lm.device)
    new = new_tokens(learner.text, labels, options)
    reading = learner.read(batch.source_BL, batch.mask_BL, batch.task_B, new)
    closed = {"choice", "calibrated"} & set(options.decode or ()) if labels else set()
    answers = (
        reading.answers(_trie(learner, labels), scored=bool(closed)) if reading and labels else Answers(None, None)
    )
    texts: list[Text | None] = [None] * len(rows)
    if answers.greedy is not None:
        texts = _greedy_texts(learner, labels, options, answers.greedy)
    extras: Mapping[str, Tensor] = reading.extras if reading else {}
    if left := [i for i, text in enumerate(texts) if text is None]:
        generated, extras = _generated(learner, labels, options, batch, reading, left)
        for i, text in zip(left, generated, strict=True):
            texts[i] = text
    scores_BC = answers.scores_BC
    if closed and scores_BC is None:
        scores_BC = label_scores(learner, rows, labels)
    nothing: list[str | None] = [None] * len(rows)
    choices = nothing if scores_BC is None or "choice" not in closed else best(scores_BC, labels)
    calibrated = nothing if scores_BC is None or prior_C is None else best(scores_BC.double() - prior_C, labels)
    values = {name: value.tolist() for name, value in extras.items()}
    own = [{name: value[i] for name, value in values.items()} for i in range(len(rows))]
    scores = [()] * len(rows) if scores_BC is None else list(map(tuple, scores_BC.tolist()))
    greedy = [text or ("", 0) for text in texts]
    columns = zip(greedy, choices, own, calibrated, scores, strict=True)
    return [
        Decoded(text, choice, extra, likely, "", score, count)
        for (text, count), choice, extra, likely, score in columns
    ]


Text = tuple[str, int]  # a greedy text, and its length in tokens without its end token


def _trie(learner: PromptedLM, labels: Sequence[str]) -> LabelTrie:
    return LabelTrie([tuple(ids) for ids in learner.text.targets(list(labels))])


def _greedy_texts(
    learner: PromptedLM, labels: Sequence[str], options: EvalOptions, greedy: Sequence[tuple[int, ...]]
) -> list[Text | None]:
    """The texts of greedy decoding, given its tokens until they leave the tree of labels; None for rows that may yet become a
    label in other tokens."""
    codec = learner.text
    new, decided = new_tokens(codec, labels, options), _decided(codec, labels, options).decided

    def text(tokens: tuple[int, ...]) -> Text | None:
        for count in range(1, len(tokens) + 1):
            if count == new or tokens[count - 1] == codec.end or decided(tokens[:count]):
                return _text(codec, tokens[:count])
        return None

    return [text(tokens) for tokens in greedy]


def _text(codec: TextCodec, ids: Sequence[int]) -> Text:
    count = next((place for place, token in enumerate(ids) if token == codec.end), len(ids))
    return codec.decode(ids), count


def _decided(codec: TextCodec, labels: Sequence[str], options: EvalOptions, skip: int = 0) -> Decided:
    return Decided(codec, labels, skip, str.lower if options.match == "lower" else str)


def _generated(
    learner: PromptedLM, labels: Sequence[str], options: EvalOptions, batch: Batch, reading: Reading | None,
    left: list[int],
) -> tuple[list[Text], Mapping[str, Tensor]]:  # fmt: skip
    """The greedy texts of the rows that are left, token by token, and the extras of all rows of the batch."""
    lm, codec = learner.lm, learner.text
    skip = 1 if lm.encoder_decoder else 0
    criteria = StoppingCriteriaList([_decided(codec, labels, options, skip)] if labels else [])
    how = {"max_new_tokens": new_tokens(codec, labels, options), "stopping_criteria": criteria}
    with plain_greedy(lm.model, codec.pad, codec.end):
        if reading:
            tokens, extras = learner.generate_from(reading, left, **how), reading.extras
        else:
            tokens, extras = learner.decode(batch.source_BL, batch.mask_BL, batch.task_B, **how)
    return [_text(codec, ids[skip:]) for ids in tokens.tolist()], extras


def new_tokens(codec: TextCodec, labels: Sequence[str], options: EvalOptions) -> int:
    """How many tokens a row may generate: as set, or those of the longest label with its end, or 128 for open answers. Where
    case does not matter, a label may be spelled in more tokens, at most one a byte, one before and one after them."""
    if options.max_new_tokens is None and labels and options.match == "lower":
        return max(len(label.encode()) for label in labels) + 2
    return options.max_new_tokens or max((len(ids) for ids in codec.targets(list(labels))), default=OPEN_TOKENS)


def matched(spoken: Mapping[str, str], rule: Literal["exact", "lower"]) -> Callable[[str], str]:
    """From a greedy text to the label it says; `spoken` maps what the tokenizer makes of a closed label set to the labels.

    `exact`: a text that says no label stays as it is. `lower`: equality in lower case, any other text is `NO_LABEL`, which is
    outside every label set (the published code wrote "none", which may be a label).
    """
    if rule == "exact":
        return lambda text: spoken.get(text, text)
    lowered = {said.lower(): label for said, label in spoken.items()}
    if len(lowered) < len(spoken):
        raise ConfigError(f"two labels are one in lower case ({', '.join(spoken)}); use eval.match = 'exact'")
    return lambda text: lowered.get(text.lower(), NO_LABEL)


@torch.no_grad()
def mean_loss(learner: PromptedLM, rows: Sequence[EncodedRow], budget: int) -> float:
    """Mean loss per token that bears loss (nats)."""
    layout = learner.layout
    done = in_groups(lambda part: float(learner.losses(layout.batch(part))[0].double().sum()), rows, layout, budget)
    return sum((loss for _, loss in done), 0.0) / max(sum(map(layout.loss_tokens, rows)), 1)
