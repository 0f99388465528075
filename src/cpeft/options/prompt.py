"""`[prompt]`: what a prompt starts from, and how many rows it has."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, PlainSerializer, WithJsonSchema

from cpeft.config import CountOrZero, Options, Rows
from cpeft.errors import ConfigError
from cpeft.prompts.formula.parse import Formula, parse_prompt


def _parsed(value: Any) -> Any:
    """The formula of a text; raises ValueError where there is none."""
    try:
        return parse_prompt(value) if isinstance(value, str) else value
    except ConfigError as error:
        raise ValueError(str(error)) from None


PromptFormula = Annotated[  # saved as its text
    Formula, BeforeValidator(_parsed), PlainSerializer(str), WithJsonSchema({"type": "string"})
]


class PromptOptions(Options):
    """The prompt. `rows = "doubled"` is peft's layout of encoder-decoder prompts, in which published T5 prompts were trained:
    under prompt tuning the half that the model does not read has no gradient and only decays, ATTEMPT pools over it. Formulas
    act on all stored rows, and prompts are saved with them."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    length: Rows = Field(default=100, description="Rows that are prepended to every input.")
    init: PromptFormula = Field(
        default=parse_prompt("vocab"),
        json_schema_extra={"default": "vocab"},
        description="Formula of the initial prompt: `vocab`, `random`, `labels`, `text(...)`, or of saved prompts.",
    )
    vocab_range: tuple[CountOrZero, CountOrZero] = Field(
        default=(0, 4999), description="First and last id of the tokens that `vocab` draws; all papers use 0 to 4999."
    )
    rows: Literal["live", "doubled"] = Field(
        default="live",
        description="`doubled` stores and trains 2 x length rows, of which the model reads the first half.",
    )
    dtype: Literal["float32", "bfloat16"] = Field(
        default="float32",
        description="Format of the trained parameters; bfloat16 loses small steps and weight decay, as published.",
    )

    @property
    def stored_length(self) -> int:
        """Rows that are kept and trained, read by the model or not."""
        return 2 * self.length if self.rows == "doubled" else self.length
