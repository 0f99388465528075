"""`[data]`: which rows of a task a run sees, and how they read."""

from typing import Any, Literal

from cpeft.config import Count, CountOrZero, Options
from cpeft.data.splits import Policy
from cpeft.tasks.base import Written

# what a prompt must meet again when it is used
TEXT_OPTIONS = ("form", "prefix", "labels", "cue", "max_source", "padding", "squad_target")
# and where it meets examples, which these are
EXAMPLE_OPTIONS = ("examples", "examples_tokens", "few_shot", "few_shot_per", "limit_train", "split", "revision")

Form = Literal["fields", "instruction", "chat"]
Loss = Literal["answer", "sequence"]


class DataOptions(Options):
    """Rows and text of a run.

    `form`: a row reads as its `fields` in one line, as an `instruction` with a line per field, or as that instruction in the
    user's turn of the model's own `chat` template, the answer in the assistant's. `prefix = "none"` leaves the task name out of
    the fields, so that the prompt must carry the task. `labels = "spaced"` writes `not entailment`. `cue` ends the source of
    decoder-only models; None is "answer:" on a line of its own, in instructions to closed tasks "label:". `max_source` cuts
    sources, in tokens; instruction, cue and template stay whole. `padding = "room"` pads every source to `max_source`, as
    published code did. `loss = "sequence"` trains decoder-only models on the source as well, as published for chat models.
    `label_padding = "in-loss"` fills targets with the pad token to the longest label of the task and trains on the filling too:
    TPV's code on T5 never masked it, so that short labels weigh less and the loss that selects is diluted by easy tokens.
    `squad_target = "stringified"` asks of SQuAD the answers as Python prints their dictionary, as published code did.
    `examples` training rows with their answers are written before every row: drawn by seed `subset` from the training rows that
    the run sees, as many of each class as their number allows, the same before every row of every split (but for the rows that
    are examples themselves, which are read behind the others). They are at most `examples_tokens` tokens, and a row that would
    exceed `max_source` with all of them is read behind fewer; `models/examples.py` says how they read in each form.
    `few_shot` rows per class (or in `total`) train; the limits draw that many rows of a split. `revision` is asked of the hub.
    `folder` holds `<task>/<split>.parquet` in the place of the folder that CPEFT_DATA names.
    """

    form: Form = "fields"
    prefix: Literal["task", "none"] = "task"
    labels: Literal["words", "spaced", "numbers"] = "words"
    split: Policy = "disjoint"
    few_shot: CountOrZero | Literal["full"] = "full"
    few_shot_per: Literal["class", "total"] = "class"
    limit_train: CountOrZero | None = None
    limit_validation: Count | None = None
    limit_test: Count | None = None
    max_source: Count | None = 256
    padding: Literal["none", "room"] = "none"
    cue: str | None = None
    loss: Loss = "answer"
    label_padding: Literal["masked", "in-loss"] = "masked"
    squad_target: Written = "text"
    examples: CountOrZero = 0
    examples_tokens: Count = 1024
    revision: str | None = None
    folder: str | None = None

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
        """Whether rows read alike under both."""
        own, theirs = (each.text | {"cue": (each.cue_for(True), each.cue_for(False))} for each in (self, other))
        return own == theirs
