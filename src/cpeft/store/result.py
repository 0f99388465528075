"""What `result.json` holds: one record of a finished run, `RunResult`, of a finished comparison, `ComparisonResult`, or
of a finished run of a search, `SearchResult`, which has no test scores.

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

SCHEMA = 2  # raise when a field changes its meaning or has no default; 1 is everything written before the number was


class Record(BaseModel):
    """Base of what a result is made of: immutable. Unknown keys, which a later version may have written, are ignored."""

    model_config = ConfigDict(frozen=True)


@dataclass(frozen=True)
class Score:
    """A metric's value with the bounds of its 95% interval, 0 to 100 (correlations -100 to 100)."""

    value: float
    low: float
    high: float


class DataInfo(Record):
    """The rows of one task and what was made of them."""

    version: int = Field(description="Version of the task's text.")
    language: str | None = Field(default=None, description="ISO 639-1 code.")
    fingerprint: str | None = Field(default=None, description="Hash of all rows; part of the run id.")
    origin: str = Field(description="Where the rows came from.")
    revision: str | None = Field(default=None, description="Commit on the hub, where known.")
    rows: dict[str, int] = Field(description="Rows of each split.")
    majority: float | None = Field(
        description="Headline metric of the best constant answer on the test rows; null for open answers."
    )
    labels: tuple[str, ...] = Field(description="Label words; empty for open answers.")
    headline: str = Field(description="The task's first metric.")
    notes: tuple[str, ...] = Field(description="Remarks about the rows, such as removed duplicates.")
    no_label: int | None = Field(default=None, description="Test answers that are no label; null for open answers.")


class ModelInfo(Record):
    """The frozen model; hashes are of what they name."""

    name: str = Field(description="Name in the recipe.")
    revision: str | None = Field(default=None, description="Commit on the hub, where known.")
    embedding: str | None = Field(default=None, description="Hash of the embedding table.")
    dtype: str = Field(description="Number format of the weights.")
    config: str | None = Field(default=None, description="Hash of the configuration.")
    tokenizer: str | None = Field(default=None, description="Hash of the tokenizer.")
    template: str | None = Field(default=None, description="Hash of the chat template.")


class Seconds(Record):
    """What a run took: its own share of a gang's training, and the scoring of its test rows."""

    training: float = Field(description="The run's share of the training of its gang.")
    scoring: float = Field(description="Scoring of its test rows.")

    @property
    def total(self) -> float:
        return self.training + self.scoring

    @property
    def parts(self) -> dict[str, float]:
        return {"training": self.training, "scoring": self.scoring}


class ComparingSeconds(Record):
    """What a comparison took."""

    comparing: float = Field(description="The comparison.")

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
        """A share of the electricity; the seconds stay whole."""
        return Spent(part * self.kwh, part * self.kg, self.seconds)


class Energy(Record):
    """What a run spent, and how that was measured."""

    kwh: float = Field(description="Electricity in all.")
    kg: float = Field(description="Emissions in all.")
    training: Spent = Field(default=Spent(), description="Share of training.")
    scoring: Spent = Field(default=Spent(), description="Share of scoring.")
    intensity: float | None = Field(description="kg of CO2e per kWh; null without electricity.")
    country: str | None = Field(
        description="Three letters of the country whose grid was taken; null for the world's average."
    )
    scope: Literal["process", "machine"] = Field(description="Whether the process or the whole machine was measured.")
    gang: int = Field(default=1, description="Runs that trained at once, at most.")
    sensors: tuple[str, ...] = Field(description="What was measured.")
    notes: tuple[str, ...] = Field(description="Remarks about the measurement.")
    codecarbon: str = Field(description="Version of codecarbon.")


class RunResult(Record):
    """A finished run that was scored on test rows."""

    schema_: int = Field(default=SCHEMA, alias="schema", description="Version of this record.")
    stage: str = Field(description="Stage of the recipe.")
    label: str = Field(description="Label of the method in the recipe.")
    name: str = Field(description="Name of the run, unique in its stage.")
    tasks: tuple[str, ...] = Field(description="Tasks.")
    method: str = Field(description="Method.")
    seed: int = Field(description="Seed of the run.")
    seeds: dict[str, int] = Field(default={}, description="Seed of each purpose: init, order, dropout, subset.")
    notes: tuple[str, ...] = Field(default=(), description="Remarks about the run.")
    few_shot: int | Literal["full"] = Field(default="full", description="Training rows, as data.few_shot.")
    scores: dict[str, dict[str, Score]] = Field(description="By task and metric, on test rows.")
    data: dict[str, DataInfo] = Field(description="Rows of each task.")
    prompts: tuple[str, ...] = Field(description="Names of the exported prompts.")
    sources: tuple[str, ...] = Field(default=(), description="Names of the source prompts it mixes.")
    steps: int = Field(description="Training steps made.")
    best_step: int = Field(default=-1, description="Step of the validation whose state was kept; -1 without any.")
    validation: float | None = Field(default=None, description="Headline metric there, mean over tasks.")
    stopped: str = Field(default="", description="Why training ended early.")
    trainable: int | None = Field(default=None, description="Trained parameters; 0 where nothing was trained.")
    length: int = Field(default=0, description="Rows of the prompt.")
    model: ModelInfo = Field(description="The frozen model.")
    weights: str | None = Field(default=None, description="Hash of the model's weights, or its name and revision.")
    pool: str = Field(default="member", description="Rows in a micro-batch: of one member of the gang, or of all.")
    seconds: Seconds = Field(description="What the run took.")
    versions: dict[str, str] = Field(description="Version of each package, and of this code.")
    hardware: dict[str, Any] = Field(description="Machine, system, threads, gpu (null without).")
    energy: Energy | None = Field(default=None, description="Electricity and emissions.")
    energy_reason: str | None = Field(default=None, description="Why nothing was measured.")

    def card(self) -> dict[str, Any]:
        """The JSON object that `read_result` reads back; a run whose energy was measured needs no reason."""
        return self.model_dump(by_alias=True, exclude={"energy_reason"} if self.energy else None)


class ComparisonResult(Record):
    """A finished comparison of prompts, which has no task, score or prompt of its own."""

    schema_: int = Field(default=SCHEMA, alias="schema", description="Version of this record.")
    stage: str = Field(description="Stage of the recipe.")
    label: str = Field(description="The stage.")
    name: str = Field(description="The stage.")
    compared: int = Field(description="Prompts compared.")
    tasks: tuple[str, ...] = Field(default=(), description="Empty.")
    scores: dict[str, dict[str, Score]] = Field(default={}, description="Empty.")
    data: dict[str, DataInfo] = Field(default={}, description="Empty.")
    prompts: tuple[str, ...] = Field(default=(), description="Empty.")
    notes: tuple[str, ...] = Field(default=(), description="Remarks.")
    seconds: ComparingSeconds = Field(description="What the comparison took.")
    versions: dict[str, str] = Field(description="Version of each package, and of this code.")
    hardware: dict[str, Any] = Field(description="Machine, system, threads, gpu (null without).")

    def card(self) -> dict[str, Any]:
        """The JSON object that `read_result` reads back."""
        return self.model_dump(by_alias=True)


class SearchResult(Record):
    """A finished run of a search, scored on validation rows alone; neither its method nor its prompts are kept."""

    schema_: int = Field(default=SCHEMA, alias="schema", description="Version of this record.")
    stage: str = Field(description="Stage of the recipe.")
    label: str = Field(description="Label of the method in the recipe, with the values tried.")
    name: str = Field(description="Name of the run, unique in its stage.")
    variant: str = Field(description="Variant of the stage, without the values.")
    tried: dict[str, Any] = Field(description="Values tried, by dotted key.")
    place: int = Field(description="Place of the values in the grid, from 0; the first of equally good ones is chosen.")
    tasks: tuple[str, ...] = Field(description="Tasks.")
    method: str = Field(description="Method.")
    seed: int = Field(description="Seed of the run.")
    validation: float | None = Field(
        description="Best validation score, mean over tasks; null for a run that diverged."
    )
    higher_is_better: bool = Field(description="Whether a higher validation score is better.")
    scores: dict[str, dict[str, Score]] = Field(default={}, description="Empty.")
    data: dict[str, DataInfo] = Field(default={}, description="Empty.")
    prompts: tuple[str, ...] = Field(default=(), description="Empty.")
    notes: tuple[str, ...] = Field(default=(), description="Remarks about the run.")
    steps: int = Field(description="Training steps made.")
    best_step: int = Field(description="Step of the best validation; -1 without any.")
    stopped: str = Field(default="", description="Why training ended early.")
    model: ModelInfo = Field(description="The frozen model.")
    seconds: Seconds = Field(description="What the run took.")
    versions: dict[str, str] = Field(description="Version of each package, and of this code.")
    hardware: dict[str, Any] = Field(description="Machine, system, threads, gpu (null without).")
    energy: Energy | None = Field(default=None, description="Electricity and emissions.")
    energy_reason: str | None = Field(default=None, description="Why nothing was measured.")

    def card(self) -> dict[str, Any]:
        """The JSON object that `read_result` reads back."""
        return self.model_dump(by_alias=True)


Result = RunResult | ComparisonResult | SearchResult


def read_result(path: Path) -> Result:
    """A result of this or an earlier version; raises DataError naming the file for anything else."""
    try:
        card = {"schema": 1, **json.loads(path.read_text(encoding="utf-8"))}
        if card["schema"] <= SCHEMA:
            kinds: dict[str, type[Result]] = {"compared": ComparisonResult, "tried": SearchResult}
            return next((kind for key, kind in kinds.items() if key in card), RunResult).model_validate(card)
    except (ValueError, TypeError) as error:
        raise DataError(f"{path}: not the result of a run: {error}") from None
    raise DataError(f"{path}: written by a later version of cpeft (schema {card['schema']}, known is {SCHEMA})")


def write_result(path: Path, result: Result) -> None:
    """Write it atomically."""
    write_json(path, result.card())
