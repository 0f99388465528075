"""`[eval]` and `[predictions]`: how answers are taken, and what is kept of them."""

from typing import Annotated, Literal, get_args

from pydantic import Field, field_validator

from cpeft.config import NUMBER, Count, Options
from cpeft.options.method import MethodOptions

Decode = Literal["greedy", "choice", "calibrated"]


class EvalOptions(Options):
    """`[eval]`: how answers are taken; `match = "lower"` compares greedy texts with labels in lower case and calls
    every other text no label, as published for chat models; `max_new_tokens` None means the longest label, or 128 for open
    answers; `bootstrap` resamples of test rows for intervals (0: none).

    `decode` names what is scored: greedy texts, which always are because tables begin with them, and for a closed label set
    `choice` and `calibrated`. None is greedy alone behind a prompt, and all three without one."""

    decode: tuple[Decode, ...] | None = None
    match: Literal["exact", "lower"] = "exact"
    max_new_tokens: Count | None = None
    token_budget: Count = 16384
    bootstrap: Annotated[int, Field(ge=0, le=1_000_000), NUMBER] = 1000

    @field_validator("decode")
    @classmethod
    def _asks_for_something(cls, decode: tuple[Decode, ...] | None) -> tuple[Decode, ...] | None:
        if decode == ():
            raise ValueError(f"no answers would be scored; name one or more of {', '.join(get_args(Decode))}")
        return decode

    def scored(self, method: MethodOptions | type[MethodOptions]) -> tuple[Decode, ...]:
        """What is scored of the answers of a method."""
        return self.decode or (get_args(Decode) if method.zero_shot else ("greedy",))


class PredictionOptions(Options):
    """`[predictions]`: `texts = "hash"` keeps SHA-256 hashes in the place of the texts of rows and of answers that are no
    label. Whoever can guess a text can check the guess."""

    texts: Literal["full", "hash"] = "full"

    @property
    def kept(self) -> bool:
        """Whether texts are."""
        return self.texts == "full"
