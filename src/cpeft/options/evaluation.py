"""`[eval]` and `[predictions]`: how answers are taken, and what is kept of them."""

from typing import Annotated, Literal, get_args

from pydantic import Field, field_validator

from cpeft.config import NUMBER, Count, Options
from cpeft.options.method import MethodOptions

Decode = Literal["greedy", "choice", "calibrated"]


class EvalOptions(Options):
    """How answers are read and scored. Greedy texts are always scored, because tables begin with them."""

    decode: tuple[Decode, ...] | None = Field(
        default=None,
        description="What is scored: `greedy` texts, the most probable label (`choice`), the same `calibrated`; "
        "without it `greedy` behind a prompt, and all three without a prompt.",
    )
    match: Literal["exact", "lower"] = Field(
        default="exact",
        description="How a text becomes a label: `exact`, or equal in `lower` case and no label otherwise, as published.",
    )
    max_new_tokens: Count | None = Field(
        default=None,
        description="Length of an answer in tokens, at most; without it the longest label, or 128 if open.",
    )
    token_budget: Count = Field(default=16384, description="Tokens of one batch of evaluation, at most.")
    bootstrap: Annotated[int, Field(ge=0, le=1_000_000), NUMBER] = Field(
        default=1000, description="Resamples of test rows for intervals; 0 is none."
    )

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
    """What predictions.parquet keeps. Whoever can guess a hashed text can check the guess."""

    texts: Literal["full", "hash"] = Field(
        default="full", description="Texts of rows and of answers that are no label: in `full`, or as SHA-256 hashes."
    )

    @property
    def kept(self) -> bool:
        """Whether texts are."""
        return self.texts == "full"
