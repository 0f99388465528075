"""What `result.json` holds: one record of a finished run, `RunResult`, or of a finished comparison, `ComparisonResult`.

`schema` says which version of this record a file has; files without it are of the first. Fields with a default may be absent
in files of older versions, so whatever a version ever wrote can be read. Keys stand in the file in the order of the fields.
Scores are in per cent, correlations too (-100 to 100); times are in seconds, electricity in kWh, emissions in kg of CO2e.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from cpeft.errors import DataError
from cpeft.files import write_json

SCHEMA = 2  # raise when a field is added or changes its meaning; 1 is everything written before the number was


class Record(BaseModel):
    """Base of what a result is made of: immutable. Unknown keys, which a later version may have written, are left out."""

    model_config = ConfigDict(frozen=True)


@dataclass(frozen=True)
class Score:
    """A metric's value with the bounds of its 95% interval, 0 to 100 (correlations -100 to 100)."""

    value: float
    low: float
    high: float


class DataInfo(Record):
    """The rows of one task and what was made of them."""

    version: int  # of the task's text
    language: str | None = None  # ISO 639-1
    fingerprint: str | None = None  # of all rows, as it enters the run id
    origin: str  # where the rows came from
    revision: str | None = None  # the commit on the hub, where known
    rows: dict[str, int]  # by split
    majority: float | None  # the headline metric of the best constant answer on the test rows; None for open answers
    labels: tuple[str, ...]  # none for open answers
    headline: str  # the task's first metric
    notes: tuple[str, ...]
    no_label: int | None = None  # test answers that are no label; None for open answers


class ModelInfo(Record):
    """The frozen model; hashes are of what they name."""

    name: str
    revision: str | None = None
    embedding: str | None = None
    dtype: str
    config: str | None = None
    tokenizer: str | None = None
    template: str | None = None


class Seconds(Record):
    """What a run took: its own share of a gang's training, and the scoring of its test rows."""

    training: float
    scoring: float

    @property
    def total(self) -> float:
        return self.training + self.scoring

    @property
    def parts(self) -> dict[str, float]:
        return {"training": self.training, "scoring": self.scoring}


class ComparingSeconds(Record):
    """What a comparison took."""

    comparing: float

    @property
    def total(self) -> float:
        return self.comparing

    @property
    def parts(self) -> dict[str, float]:
        return {"training": 0.0, "scoring": self.comparing}


@dataclass(frozen=True)
class Spent:
    """Electricity, emissions and the seconds they were measured over."""

    kwh: float = 0.0
    kg: float = 0.0
    seconds: float = 0.0

    def __add__(self, other: "Spent") -> "Spent":
        return Spent(self.kwh + other.kwh, self.kg + other.kg, self.seconds + other.seconds)

    def share(self, part: float) -> "Spent":
        """A part of the electricity; the time is everybody's."""
        return Spent(part * self.kwh, part * self.kg, self.seconds)


class Energy(Record):
    """What a run spent, and how that was measured."""

    kwh: float
    kg: float
    training: Spent = Spent()
    scoring: Spent = Spent()
    intensity: float | None  # kg per kWh; None of no electricity
    country: str | None  # three letters, whose grid's intensity was taken; None for the world's
    scope: Literal["process", "machine"]
    gang: int = 1  # runs that trained at once, at most
    sensors: tuple[str, ...]
    notes: tuple[str, ...]
    codecarbon: str  # its version


class RunResult(Record):
    """A finished run that was scored on test rows."""

    schema_: int = Field(default=SCHEMA, alias="schema")
    stage: str
    label: str  # of the method, in the recipe
    name: str  # the run's, unique in its stage
    tasks: tuple[str, ...]
    method: str
    seed: int
    seeds: dict[str, int] = {}  # by purpose: init, order, dropout, subset
    notes: tuple[str, ...] = ()
    few_shot: int | Literal["full"] = "full"
    scores: dict[str, dict[str, Score]]  # by task and metric, on test rows
    data: dict[str, DataInfo]  # by task
    prompts: tuple[str, ...]  # the names of the prompts it exported
    sources: tuple[str, ...] = ()  # the names of those it mixes
    steps: int
    best_step: int = -1  # of the validation whose state was kept; -1 without any
    validation: float | None = None  # mean over tasks of the headline metric there
    stopped: str = ""  # why training ended early
    trainable: int | None = None  # parameters; 0 where nothing was trained
    length: int = 0  # rows of the prompt
    model: ModelInfo
    weights: str | None = None  # hash of the model's weights, or its name and revision
    pool: str = "member"  # whose rows shared a micro-batch: one member's, or all
    seconds: Seconds
    versions: dict[str, str]  # by package, and of the code of this one
    hardware: dict[str, Any]  # machine, system, threads, gpu (None without)
    energy: Energy | None = None
    energy_reason: str | None = None  # why nothing was measured

    def card(self) -> dict[str, Any]:
        """The JSON object that `read_result` reads back; a run whose energy was measured needs no reason."""
        return self.model_dump(by_alias=True, exclude={"energy_reason"} if self.energy else None)


class ComparisonResult(Record):
    """A finished comparison of prompts, which has no task, score or prompt of its own."""

    schema_: int = Field(default=SCHEMA, alias="schema")
    stage: str
    label: str
    name: str
    compared: int  # prompts
    tasks: tuple[str, ...] = ()
    scores: dict[str, dict[str, Score]] = {}
    data: dict[str, DataInfo] = {}
    prompts: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    seconds: ComparingSeconds
    versions: dict[str, str]
    hardware: dict[str, Any]

    def card(self) -> dict[str, Any]:
        """The JSON object that `read_result` reads back."""
        return self.model_dump(by_alias=True)


Result = RunResult | ComparisonResult


def read_result(path: Path) -> Result:
    """A result of this or an earlier version; raises DataError naming the file for anything else."""
    try:
        card = {"schema": 1, **json.loads(path.read_text(encoding="utf-8"))}
        if card["schema"] <= SCHEMA:
            return (ComparisonResult if "compared" in card else RunResult).model_validate(card)
    except (ValueError, TypeError) as error:
        raise DataError(f"{path}: not the result of a run: {error}") from None
    raise DataError(f"{path}: written by a later version of cpeft (schema {card['schema']}, known is {SCHEMA})")


def write_result(path: Path, result: Result) -> None:
    """Write it whole: a reader sees all of it or none."""
    write_json(path, result.card())
