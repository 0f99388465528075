"""A user's own task: one TOML file that describes the text of rows and names their files.

name = "reviews"
template = "review: {text}"          # every {column} is replaced by the row's value
label_column = "stars"
metrics = ["accuracy", "macro_f1"]
ask = "Is the review good or bad?"   # for instructions; without it the title, or a general sentence
encoding = "latin-1"                 # of the files; UTF-8 without it, and UTF-16 where a file begins with its mark
missing = ""                         # text for a null of a column in the template; an error without it
[labels]                             # code -> word; without this table the label column is itself the target
1 = "bad"
5 = "good"
[files]                              # CSV, TSV, JSON, JSONL (plain or .gz) or Parquet, relative to this file
train = "train.csv"
test = "test.csv"

A cell is the text in the file (`tasks/cells.py`); it means the label of the same spelling, or of the same number.
"""

import re
from dataclasses import replace
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationInfo, field_validator

from cpeft.config import Options, parse, read_toml
from cpeft.errors import ConfigError
from cpeft.metrics.base import METRICS
from cpeft.tasks.base import PLACEHOLDER, TASKS, Code, Task
from cpeft.tasks.cells import label_reader

SUFFIXES = (".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".parquet")
TEXT_AS_WRITTEN = 2  # version of reading rows; the first one guessed types
Split = Literal["train", "validation", "test"]


class CustomTask(Options):
    """The TOML table of a task."""

    name: str = Field(description="Name of the task: letters, digits, `_` and `.`; not one of `cpeft list tasks`.")
    template: str = Field(description="Text of a row; every `{column}` is replaced by the row's value.")
    label_column: str = Field(default="label", description="Column of the answer.")
    files: dict[Split, str] = Field(
        description="`[files]`: CSV, TSV, JSON, JSONL (also as .gz) or Parquet of each split, relative to this file."
    )
    title: str = Field(default="", description="Title in reports; without it name and file.")
    prefix: str = Field(
        default="", description="Text before every row; `data.prefix` can leave it out, and instructions do."
    )
    ask: str = Field(default="", description="Question of an instruction; without it the title, or a general sentence.")
    encoding: str = Field(
        default="utf-8", description="Encoding of the files; one with a UTF-16 mark is read as UTF-16."
    )
    missing: str | None = Field(
        default=None, description="Text for a missing value of a column in the template; without it an error."
    )
    labels: dict[str, str] = Field(
        default_factory=dict, description="`[labels]`: value in the file to label word; without it answers are open."
    )
    metrics: tuple[str, ...] = Field(
        default=("accuracy",), min_length=1, description="Metrics (`cpeft list metrics`); the first is the headline."
    )

    @field_validator("name")
    @classmethod
    def _free(cls, name: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.]*", name):  # what prompt formulas need not quote
            raise ValueError("a task's name has letters (a to z), digits, _ and . alone, and does not begin with a dot")
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
            if not file.lower().removesuffix(".gz").endswith(SUFFIXES):
                raise ValueError(f"{split} = '{file}' is none of {', '.join(SUFFIXES)}; text may be packed as .gz")
        return files

    @field_validator("encoding")
    @classmethod
    def _known(cls, encoding: str) -> str:
        return checked_encoding(encoding)

    @field_validator("labels")
    @classmethod
    def _not_empty(cls, labels: dict[str, str]) -> dict[str, str]:
        if silent := [code for code, word in labels.items() if not word.strip()]:
            raise ValueError(f"the label '{silent[0]}' has no word; give the answer's text")
        return labels

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
    task = Task(
        options.name,
        options.title or f"{options.name} ({path.name})",
        version=TEXT_AS_WRITTEN,
        kind="classification" if words else "generation",
        template=options.template,
        prefix=options.prefix,
        ask=options.ask or options.title or ("Which label fits the text?" if words else "Give the answer to the text."),
        metrics=options.metrics,
        label_column=options.label_column,
        words=words,
        read_label=label_reader(options.labels) if words else None,
        missing=options.missing,
        encoding=options.encoding,
        files={split: str((path.parent / file).resolve()) for split, file in options.files.items()},
    )
    return task if words else replace(task, answers=lambda row: (task.open_answer(row),))


def find_task(name: str, base: Path | None = None) -> Task:
    """A registered task, or a user's own from a TOML file (relative to `base`, the working directory by default)."""
    return load_custom((base or Path()) / name) if name.endswith(".toml") else TASKS.get(name)


def checked_encoding(name: str) -> str:
    """The name of a text encoding; raises ValueError for one that Python does not know."""
    try:
        "".encode(name)
    except (LookupError, ValueError):  # among them names of codecs that are no text's
        common = "utf-8, utf-16, latin-1, cp1252, gb18030"
        raise ValueError(f"no text encoding is called '{name}'; common ones: {common}") from None
    return name
