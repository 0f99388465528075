"""What the engine and the HTTP front share: the limits of a server, and the answer to a row."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cpeft.evaluation.decoding import DecodedRow
    from cpeft.models.text import TextCodec
    from cpeft.serve.prompts import ServedPrompt


@dataclass(frozen=True)
class Limits:
    """Bounds on what clients send and on what waits. `body` is in bytes, `deadline_s` the time to answer a request, `head_s`
    and `body_s` the time to send the head and the body of one; `token_budget` the tokens of one batch, prompts and padding
    included; `open_rows` are generated at once; `kept_bytes` in memory and `disk_bytes` on a disk bound the keys and values of
    prompts on a decoder-only model."""

    body: int = 2**20
    head_s: float = 20.0
    body_s: float = 10.0
    rows: int = 256
    row_tokens: int = 4096
    new_tokens: int = 1024
    queue: int = 2048
    deadline_s: float = 30.0
    token_budget: int = 16384
    connections: int = 512
    open_rows: int = 32
    kept_bytes: int = 2**30
    disk_bytes: int = 0


@dataclass(frozen=True)
class Result:
    """The answer of `prompt` to one row.

    `in_label_set` and `probabilities` (of every label, normalised over the labels) are None for open answers, `attention` (of
    every source prompt) where the method mixes none. `read`, `generated` and `length` count tokens of the row, tokens of the
    answer and rows of the prompt; `unknown` says whether the row has characters that the tokenizer does not know."""

    prompt: str
    answer: str
    in_label_set: bool | None
    probabilities: dict[str, float] | None
    attention: dict[str, float] | None
    read: int
    generated: int
    length: int
    unknown: bool


def as_result(prompt: "ServedPrompt", ids: Sequence[int], decoded: "DecodedRow", codec: "TextCodec") -> Result:
    """The answer to a row of token ids, from what was decoded; raises ArithmeticError where a label's score is not finite."""
    reader, method = prompt.reader, prompt.learner.method
    closed = decoded.scores and reader
    answer = reader.answer(decoded.text) if reader and (closed or reader.task.values) else decoded.text
    return Result(
        prompt.name,
        answer,
        answer in reader.labels if closed and reader else None,
        dict(zip(reader.labels, _shares(decoded.scores, prompt.temperature or 1.0), strict=True))
        if closed and reader
        else None,
        dict(zip(method.candidates, decoded.extras["attention"], strict=True)) if method.candidates else None,
        len(ids),
        decoded.tokens,
        method.length,
        codec.unknown(ids) > 0,
    )


def _shares(scores: Sequence[float], temperature: float) -> list[float]:
    """Probabilities that sum to one, from log-probabilities (nats); raises ArithmeticError where they are not finite."""
    if not all(map(math.isfinite, scores)):
        raise ArithmeticError("a label's score is not finite")
    best = max(scores)
    sizes = [math.exp((score - best) / temperature) for score in scores]
    return [size / sum(sizes) for size in sizes]
