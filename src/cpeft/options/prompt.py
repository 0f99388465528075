"""`[prompt]`: what a prompt starts from, and how many rows it has."""

from typing import Literal

from cpeft.config import CountOrZero, Options, Rows


class PromptOptions(Options):
    """`[prompt]`: `length` rows really prepended; `init` an expression; `vocab_range` the ids `vocab` draws from, last
    one included (0..4999 in all papers).

    `rows = "doubled"` stores and trains 2 x `length` rows of which the model reads the first half, peft's layout of
    encoder-decoder prompts in which published T5 prompts were trained: prompt tuning's other half has no gradient and decays
    by weight decay alone, ATTEMPT pools over it. Formulas act on all stored rows, prompts are saved with them.
    `dtype = "bfloat16"` trains what a method trains in bfloat16 without a float32 copy, so that weight decay and small steps
    are lost, as published for chat models."""

    length: Rows = 100
    init: str = "vocab"
    vocab_range: tuple[CountOrZero, CountOrZero] = (0, 4999)
    rows: Literal["live", "doubled"] = "live"
    dtype: Literal["float32", "bfloat16"] = "float32"

    @property
    def stored(self) -> int:
        """Rows that are kept and trained, read by the model or not."""
        return 2 * self.length if self.rows == "doubled" else self.length
