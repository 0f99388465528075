"""`[data]`: which rows of a task a run sees, and how they read."""

from typing import Any, Literal

from pydantic import Field

from cpeft.config import Count, CountOrZero, Options
from cpeft.data.splits import Policy
from cpeft.tasks.base import Written

# options of the text that a prompt was trained on, needed again when it is used
TEXT_OPTIONS = ("form", "prefix", "labels", "cue", "max_source", "padding", "squad_target")
# and with in-context examples, those that decide the examples
EXAMPLE_OPTIONS = ("examples", "examples_tokens", "few_shot", "few_shot_per", "limit_train", "split", "revision")

Form = Literal["fields", "instruction", "chat"]
Loss = Literal["answer", "sequence"]


class DataOptions(Options):
    """Rows and text of a run.

    `examples` are drawn by seed `subset` from the training rows that the run sees, as many of each class as their number
    allows, the same before every row of every split. A row that is itself an example is read behind the others.
    `models/examples.py` describes how they read in each form. `label_padding = "in-loss"` is what TPV's code did on T5: short
    labels weigh less, and easy tokens dilute the loss that selects.
    """

    form: Form = Field(
        default="fields",
        description="A row as its `fields` in a line, as an `instruction` with a line per field, or as that instruction in "
        "the user's turn of the model's `chat` template and the answer in the assistant's.",
    )
    prefix: Literal["task", "none"] = Field(
        default="task",
        description="`none` leaves the task's name out of `fields`, so that the prompt must carry the task.",
    )
    labels: Literal["words", "spaced", "numbers"] = Field(
        default="words",
        description="Labels as `not_entailment` (`words`), `not entailment` (`spaced`) or `1` (`numbers`).",
    )
    split: Policy = Field(
        default="disjoint",
        description="Which rows train, validate and test: `disjoint`, or as in a published study, leaks included.",
    )
    few_shot: CountOrZero | Literal["full"] = Field(
        default="full", description="Training rows per class, or in total (`few_shot_per`); `full` is all."
    )
    few_shot_per: Literal["class", "total"] = Field(default="class", description="What `few_shot` counts.")
    limit_train: CountOrZero | None = Field(default=None, description="Training rows drawn, at most; without it all.")
    limit_validation: Count | None = Field(default=None, description="Validation rows drawn, at most; without it all.")
    limit_test: Count | None = Field(default=None, description="Test rows drawn, at most; without it all.")
    max_source: Count | None = Field(
        default=256,
        description="Tokens of a source, at most; the end of its fields is cut, never instruction, cue or template.",
    )
    padding: Literal["none", "room"] = Field(
        default="none", description="`room` pads every source to `max_source` tokens, as published code did."
    )
    cue: str | None = Field(
        default=None,
        description="End of the source of decoder-only models; without it `answer:` on its own line, or `label:` in "
        "instructions to tasks with labels.",
    )
    loss: Loss = Field(
        default="answer",
        description="Tokens that decoder-only models train on: the `answer`, or the whole `sequence` as published for chat.",
    )
    label_padding: Literal["masked", "in-loss"] = Field(
        default="masked",
        description="`in-loss` pads targets to the task's longest label and trains on the padding, as TPV's code did.",
    )
    squad_target: Written = Field(
        default="text",
        description="SQuAD's answer as `text`, or `stringified` as Python prints its dictionary, as published code did.",
    )
    examples: CountOrZero = Field(
        default=0, description="Training rows that are written with their answers before every row."
    )
    examples_tokens: Count = Field(default=1024, description="Tokens of these examples together, at most.")
    revision: str | None = Field(default=None, description="Revision of the dataset on the hub; without it the newest.")
    folder: str | None = Field(
        default=None, description="Folder of `TASK/SPLIT.parquet` files, instead of the one that CPEFT_DATA names."
    )

    def cue_for(self, closed: bool) -> str:
        """The cue of a task with a closed label set, or of one without."""
        if self.cue is not None:
            return self.cue
        return "\nlabel:" if closed and self.form != "fields" else "\nanswer:"

    @property
    def text(self) -> dict[str, Any]:
        """The options that decide how rows read, examples before them included."""
        names = TEXT_OPTIONS + (EXAMPLE_OPTIONS if self.examples else ())
        return {name: getattr(self, name) for name in names}

    def same_text(self, other: "DataOptions") -> bool:
        """Whether rows have the same text under both."""
        own, theirs = (each.text | {"cue": (each.cue_for(True), each.cue_for(False))} for each in (self, other))
        return own == theirs
