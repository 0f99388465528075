"""A task: how one raw row of a dataset becomes text.

A task is a typed value, one short entry each. It knows field order, prefix, labels in words and in numbers, metrics and
official sizes; it knows no files, models or tokenizers. `Task.example` is the only way from a row to text, so training,
evaluation and `cpeft show task` cannot disagree.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

from cpeft.errors import DataError
from cpeft.registry import Registry, closest
from cpeft.tasks.cells import cell_text, is_missing

Row = Mapping[str, Any]
Code = int | str
Style = Literal["words", "spaced", "numbers"]
Kind = Literal["classification", "regression", "extraction", "generation"]
Written = Literal["text", "stringified"]  # how a SQuAD answer is written

T = TypeVar("T")

TASKS: Registry["Task"] = Registry("task", "cpeft.tasks")

PLACEHOLDER = re.compile(r"\{([^{}]+)\}")  # {column} in a template
_MISSING = """; fill it in, or say missing = "" in the task's TOML to read it as the empty text"""


def coded(*words: str) -> dict[Code, str]:
    """Label words for the codes 0, 1, 2, ..."""
    return dict(enumerate(words))


def named(*columns: str) -> tuple[tuple[str, str], ...]:
    """Fields labelled with the names of their columns."""
    return tuple((column, column) for column in columns)


@dataclass(frozen=True)
class Example:
    """One row as text: what goes in, what should come out, what else counts as right."""

    source: str
    target: str
    references: tuple[str, ...]
    group: str = ""  # rows scored together (MultiRC: one question)


@dataclass(frozen=True)
class Sizes:
    """Official numbers of rows; None where the split does not exist or its labels are hidden."""

    train: int | None = None
    validation: int | None = None
    test: int | None = None


@dataclass(frozen=True)
class Hub:
    """Where the Hugging Face hub keeps the rows; `splits` maps our split names to theirs (default: the same ones)."""

    path: str = ""
    config: str | None = None
    splits: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Task:
    """What to do, independent of where rows come from.

    `fields` are (label, column) pairs rendered `label: value` in order; an empty label renders the value alone. A
    `template` such as "review: {text}" takes their place in users' own tasks. `ask` says what to do where an instruction
    cannot take it from `title`. `words` maps every label code to its word, its published number is its position; `codes`
    maps other spellings of a code (scitail's "entails", Yelp's five stars) to a code, or to None for rows that do not
    belong to the task; users' own tasks have `read_label` in its place, from the text of a cell to the code it means.
    `keep` is False for rows of another task in the same dataset. `columns` maps a column we read to other names it may
    have. `missing` is what a missing value of a shown column reads as; without it such a row is an error. `clean` rewrites
    a row before rendering. Tasks without a closed label set give `answers`, the accepted answers of a row, first the
    training target, and `stringified`, what published code asked for in their place. Unless given, `prefix` is the name,
    and `metrics` are accuracy with F1 (two labels) or macro F1 (more), or those of SQuAD 1.1.
    """

    name: str
    title: str
    fields: tuple[tuple[str, str], ...] = ()
    official: Sizes = Sizes()
    hub: Hub = Hub()
    _: KW_ONLY
    version: int = 1  # raise it when the text of the task changes
    kind: Kind = "classification"
    prefix: str | None = None
    ask: str = ""
    metrics: tuple[str, ...] = ()  # the first is the headline
    label_column: str = "label"
    words: Mapping[Code, str] = field(default_factory=dict)
    codes: Mapping[Code, Code | None] = field(default_factory=dict)
    read_label: Callable[[str], Code | None] | None = None
    columns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    missing: str | None = None
    folders: tuple[str, ...] = ()  # folder names accepted under CPEFT_DATA besides `name`
    files: Mapping[str, str] = field(default_factory=dict)  # split -> file, for tasks that bring their own rows
    encoding: str = "utf-8"  # of those files, where they do not begin with a byte order mark
    rows: Path | None = None  # a folder with <split>.parquet, for tasks whose rows come with the package
    template: str = ""
    keep: Callable[[Row], bool] | None = None
    clean: Callable[[Row], Row] | None = None
    answers: Callable[[Row], tuple[str, ...]] | None = None
    stringified: Callable[[Row], tuple[str, ...]] | None = None
    group: Callable[[Row], str] | None = None
    values: tuple[str, ...] = ()  # the values of a scale (STS-B); predictions between them are legal too
    language: str = "en"  # ISO 639-1, of the fields; labels are English
    real_rows: bool = True  # False: only hand-made rows in the published schema have been through it

    def __post_init__(self) -> None:
        usual = ("accuracy", "f1" if len(self.words) == 2 else "macro_f1") if self.words else ("squad_f1", "squad_em")
        there = {split: split for split, size in asdict(self.official).items() if size is not None}
        object.__setattr__(self, "prefix", self.name if self.prefix is None else self.prefix)
        object.__setattr__(self, "metrics", self.metrics or usual)
        object.__setattr__(self, "hub", replace(self.hub, splits=self.hub.splits or there))

    def labels(self, style: Style = "words") -> tuple[str, ...]:
        """The closed label set in code order, empty for open-ended tasks; `spaced` writes `_` as a space."""
        return tuple(dict.fromkeys(self._label_words(style).values()))

    def code(self, row: Row) -> Code | None:
        """The label code of a row (None: no label set, or a row that does not belong to the task).

        Raises DataError for a code outside the label map.
        """
        if not self.words:
            return None
        if self.read_label:
            value: Any = self.answer_text(row)
            code = self.read_label(value)
        else:
            value = self.column(row, self.label_column)
            code = self.codes.get(value, value)
        if code not in self.words and (code is not None or self.read_label):
            known = ", ".join(map(repr, self.words))
            place = f"task '{self.name}': label {value!r} in column '{self.label_column}'"
            raise DataError(f"{place} is outside the label map ({known})")
        return code

    def column(self, row: Row, name: str) -> Any:
        """The value of a column under any of its accepted names; raises DataError naming what is there."""
        names = (name, *self.columns.get(name, ()))
        for candidate in names:
            if candidate in row:
                return row[candidate]
        accepted = " or ".join(f"'{n}'" for n in names)
        there = ", ".join(sorted(row)) or "none"
        raise DataError(f"task '{self.name}': no column {accepted}; the row has {there}{closest(name, row)}")

    @property
    def shown(self) -> tuple[str, ...]:
        """The columns that the source shows."""
        return (*PLACEHOLDER.findall(self.template), *(column for _, column in self.fields))

    def text(self, row: Row, name: str) -> str:
        """The text of a column that the source shows; raises DataError for one that is not there, missing, or no text."""
        if self.missing is not None and name not in row and not self.columns:
            return self.missing  # of JSON rows, each may leave out others
        value = self.column(row, name)
        if is_missing(value):
            if self.missing is not None:
                return self.missing
            raise DataError(f"task '{self.name}': column '{name}' is missing (null){_MISSING if self.files else ''}")
        return self._text_of(value, name)

    def answer_text(self, row: Row) -> str:
        """The text of the label column; raises DataError where it is missing."""
        value = self.column(row, self.label_column)
        if is_missing(value):
            raise DataError(f"task '{self.name}': the label column '{self.label_column}' is missing (null)")
        return self._text_of(value, self.label_column)

    def open_answer(self, row: Row) -> str:
        """The label column as the answer itself; raises DataError for an empty one, which nothing could learn from."""
        if not (text := self.answer_text(row).strip()):
            raise DataError(f"task '{self.name}': the answer in column '{self.label_column}' is empty")
        return text

    def _text_of(self, value: Any, name: str) -> str:
        try:
            return cell_text(value)
        except ValueError as error:
            raise DataError(f"task '{self.name}': column '{name}' {error}") from None

    def source(self, row: Row, prefix: bool = True, instruction: str = "") -> str:
        """The input text of a row; needs no label. An `instruction` takes the place of the prefix and puts every field on a
        line of its own, under its column's name where its label is a question rather than a name."""
        return self._written(self._apply(self.clean, row) if self.clean else row, prefix, instruction)

    def without_content(self, filler: str, prefix: bool = True, instruction: str = "") -> str:
        """The text of a row that has `filler` in the place of every field."""
        return self._written(dict.fromkeys(self.shown, filler), prefix, instruction)

    def _written(self, row: Row, prefix: bool, instruction: str) -> str:
        """The text of a row that is clean."""
        head = instruction or (self.prefix if prefix else "")
        parts = [head] if head else []
        if self.template:
            parts.append(PLACEHOLDER.sub(lambda name: self.text(row, name[1]).strip(), self.template))
        for label, column in self.fields:
            value = self.text(row, column).strip()
            label = column if instruction and " " in label else label
            parts.append(f"{label}: {value}" if label else value)
        return ("\n" if instruction else " ").join(parts)

    def example(
        self, row: Row, prefix: bool = True, style: Style = "words", instruction: str = "", written: Written = "text"
    ) -> Example:
        """A row as text; raises DataError where columns or labels do not fit."""
        if self.answers:
            accepted = self.stringified if written == "stringified" and self.stringified else self.answers
            answers = self._apply(accepted, self._apply(self.clean, row) if self.clean else row)
            if not answers:
                raise DataError(f"task '{self.name}': a row without answers has no target")
        else:
            code = self.code(row)
            if code is None:
                raise DataError(f"task '{self.name}': a row without a label has no target")
            answers = (self._label_words(style)[code],)
        group = self._apply(self.group, row) if self.group else ""
        return Example(self.source(row, prefix, instruction), answers[0], answers, group)

    def _label_words(self, style: Style) -> Mapping[Code, str]:
        if style == "numbers":
            return {code: str(place) for place, code in enumerate(self.words)}
        return self.words if style == "words" else {code: word.replace("_", " ") for code, word in self.words.items()}

    def _apply(self, function: Callable[[Row], T], row: Row) -> T:
        try:
            return function(row)
        except KeyError as error:
            there = ", ".join(sorted(row))
            close = closest(str(error.args[0]), row)
            raise DataError(f"task '{self.name}': no column {error}; the row has {there}{close}") from None
