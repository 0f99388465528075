"""`[data]`: which rows of a task a run sees, and how they read."""

from typing import Literal

from cpeft.config import Options
from cpeft.data.splits import Policy

TEXT_OPTIONS = ("prefix", "labels", "cue", "max_source", "padding")  # what a prompt must meet again when it is used


class DataOptions(Options):
    """Rows and text of a run.

    `prefix = "none"` leaves the task name out, so that the prompt must carry the task. `few_shot` rows per class (or in
    `total`) train; the limits draw that many rows of a split. `max_source` cuts sources, in tokens. `padding = "room"` pads
    every source to `max_source`, as published code did. `cue` ends the source of decoder-only models. `revision` is asked of
    the hub.
    """

    prefix: Literal["task", "none"] = "task"
    labels: Literal["words", "numbers"] = "words"
    split: Policy = "disjoint"
    few_shot: int | Literal["full"] = "full"
    few_shot_per: Literal["class", "total"] = "class"
    limit_train: int | None = None
    limit_validation: int | None = None
    limit_test: int | None = None
    max_source: int | None = 256
    padding: Literal["none", "room"] = "none"
    cue: str = "\nanswer:"
    revision: str | None = None
