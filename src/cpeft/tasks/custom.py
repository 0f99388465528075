"""A user's own task: one TOML file that says how rows read and where they lie.

name = "reviews"
template = "review: {text}"          # every {column} is replaced by the row's value
label_column = "stars"
metrics = ["accuracy", "macro_f1"]
ask = "Is the review good or bad?"   # for instructions; without it the title, or a general sentence
[labels]                             # code -> word; without this table the label column is itself the target
1 = "bad"
5 = "good"
[files]                              # CSV, JSONL or Parquet, relative to this file
train = "train.csv"
test = "test.csv"
"""

from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationInfo, field_validator

from cpeft.config import Options, parse, read_toml
from cpeft.errors import ConfigError
from cpeft.metrics.base import METRICS
from cpeft.tasks.base import PLACEHOLDER, TASKS, Code, Task

SUFFIXES = (".csv", ".jsonl", ".parquet")
Split = Literal["train", "validation", "test"]


class CustomTask(Options):
    """The TOML table of a task."""

    name: str = Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.]*$")  # names that prompt expressions need not quote
    template: str
    label_column: str = "label"
    files: dict[Split, str]
    title: str = ""
    prefix: str = ""
    ask: str = ""
    labels: dict[str, str] = Field(default_factory=dict)
    metrics: tuple[str, ...] = Field(("accuracy",), min_length=1)

    @field_validator("name")
    @classmethod
    def _free(cls, name: str) -> str:
        if name in TASKS:
            raise ValueError("a task of this name comes with cpeft; choose another")
        return name

    @field_validator("template")
    @classmethod
    def _reads_the_row(cls, template: str) -> str:
        if not PLACEHOLDER.search(template):
            raise ValueError('the template names no column; write one in braces, as in "review: {text}"')
        return template

    @field_validator("label_column")
    @classmethod
    def _not_shown(cls, column: str, info: ValidationInfo) -> str:
        if column in PLACEHOLDER.findall(info.data.get("template", "")):
            raise ValueError("the template shows the label column, so the answer would stand in the question")
        return column

    @field_validator("files")
    @classmethod
    def _readable(cls, files: dict[Split, str]) -> dict[Split, str]:
        if not files:
            raise ValueError("no split has a file; give at least one of train, validation, test")
        for split, file in files.items():
            if not file.endswith(SUFFIXES):
                raise ValueError(f"{split} = '{file}' is none of {', '.join(SUFFIXES)}")
        return files

    @field_validator("metrics")
    @classmethod
    def _registered(cls, metrics: tuple[str, ...]) -> tuple[str, ...]:
        try:
            for metric in metrics:
                METRICS.get(metric)
        except ConfigError as error:  # UnknownName, with the closest known name
            raise ValueError(str(error)) from None
        return metrics


def load_custom(path: Path) -> Task:
    """The task a TOML file describes; raises ConfigError with file, line and reason."""
    options = parse(CustomTask, read_toml(path), path=path)
    words: dict[Code, str] = {code: word.strip() for code, word in options.labels.items()}  # predictions are stripped
    column = options.label_column
    return Task(
        options.name,
        options.title or f"{options.name} ({path.name})",
        kind="classification" if words else "generation",
        template=options.template,
        prefix=options.prefix,
        ask=options.ask or options.title or ("Which label fits the text?" if words else "Give the answer to the text."),
        metrics=options.metrics,
        label_column=column,
        words=words,
        codes=_spellings(options.labels),
        answers=None if words else lambda row: (str(row[column]).strip(),),
        files={split: str((path.parent / file).resolve()) for split, file in options.files.items()},
    )


def _spellings(labels: dict[str, str]) -> dict[Code, Code | None]:
    """TOML keys are strings; rows may hold the same codes as whole numbers or as true and false."""
    spellings: dict[Code, Code | None] = {}
    for key in labels:
        if key.lower() in ("true", "false"):
            spellings[key.lower() == "true"] = key
        elif key.lstrip("-").isdecimal():
            spellings[int(key)] = key
    return spellings
