"""What the engine and the HTTP front share: the limits of a server, and the answer to a row."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Bounds on what clients send and on what waits. `body` is in bytes, `deadline_s` the time to answer a request,
    `body_s` the time to send one; `token_budget` the tokens of one batch, prompts and padding included."""

    body: int = 2**20
    body_s: float = 10.0
    rows: int = 256
    row_tokens: int = 4096
    new_tokens: int = 1024
    queue: int = 2048
    deadline_s: float = 30.0
    token_budget: int = 16384
    connections: int = 512


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
