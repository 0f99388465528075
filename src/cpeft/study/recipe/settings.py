"""The settings of one run, and its id.

Every table is defined beside the code that reads it; this module only puts them together. The id hashes what differs from
the defaults, the task's text version and data, and the content of every prompt the run starts from: retrained sources make
new targets, and a new option re-runs nothing.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, SerializeAsAny, model_validator

from cpeft.config import Options, Place, Seed, Table, changed, digest, located, parse
from cpeft.data.options import DataOptions
from cpeft.errors import ConfigError
from cpeft.models.named_models import named_model
from cpeft.options.evaluation import EvalOptions, PredictionOptions
from cpeft.options.method import METHOD_OPTIONS, MethodOptions
from cpeft.options.model import ModelOptions
from cpeft.options.neutral import deciding
from cpeft.options.prompt import PromptOptions
from cpeft.options.training import EnergyOptions, GangOptions, OptimOptions, TrainOptions
from cpeft.seeds import derive
from cpeft.training.callbacks.tracker import TrackOptions, parse_track

SCHEMA = 1  # raise when a default changes, so that old ids keep their meaning


class SeedOptions(Options):
    """`[seeds]`: each derived from `seed` unless given."""

    init: Seed | None = None
    order: Seed | None = None
    dropout: Seed | None = None
    subset: Seed | None = None

    @model_validator(mode="before")
    @classmethod
    def _a_table(cls, value: Any) -> Any:
        if isinstance(value, Mapping | SeedOptions):
            return value
        if isinstance(value, list):
            raise ValueError(f"the seeds to run belong to a stage: put seeds = {value} below its [[stage]]")
        raise ValueError("the seeds to run are a list in a stage, as in seeds = [0, 1, 2]")


class SourceOptions(Options):
    """`[source]`: `rows = "first:N"` cuts source prompts to their first N rows, as a published system did unawares."""

    rows: str = "all"


class RunSettings(Options):
    """Everything that decides what a run computes, and the tables of `options/neutral.py`, which decide nothing of it."""

    tasks: tuple[str, ...] = Field(min_length=1)
    seed: Seed = 0
    sources: tuple[str, ...] = ()
    model: ModelOptions
    prompt: PromptOptions = PromptOptions()
    method: SerializeAsAny[MethodOptions]
    source: SourceOptions = SourceOptions()
    data: DataOptions = DataOptions()
    optim: OptimOptions = OptimOptions()
    train: TrainOptions = TrainOptions()
    eval: EvalOptions = EvalOptions()
    seeds: SeedOptions = SeedOptions()
    gang: GangOptions = GangOptions()
    energy: EnergyOptions = EnergyOptions()
    track: TrackOptions = TrackOptions()
    predictions: PredictionOptions = PredictionOptions()

    @property
    def changes_model(self) -> bool:
        """Whether the method is a baseline, which trains a copy of the model in the place of a prompt."""
        return self.method.changes_model

    @property
    def trains(self) -> bool:
        """Whether steps are to be made: not so where they are 0, or where there is nothing to train."""
        return 0 not in (self.train.steps, self.train.epochs) and not self.method.zero_shot

    def seed_for(self, purpose: str) -> int:
        """The seed of one purpose: `init`, `order`, `dropout` or `subset`."""
        given = getattr(self.seeds, purpose)
        return int(given) if given is not None else derive(self.seed, purpose)

    def saved(self) -> Table:
        """The settings as a table that `parse_settings` reads back, without what is at its default."""
        method = {"name": self.method.name, **changed(self.method)}
        return {**changed(self), "tasks": list(self.tasks), "seed": self.seed, "method": method}


def parse_settings(table: Table, path: Place = ()) -> RunSettings:
    """A table as settings; the method's own options are checked by the method it names. `path` is where it stands written.
    What a recipe says of prompts does not concern its baselines: it is checked and left out."""
    method = table.get("method", {"name": "prompt_tuning"})
    if not isinstance(method, dict) or "name" not in method:
        where = located(path, "method") or "settings: "
        raise ConfigError(f"{where}[method] needs a name, one of: {', '.join(METHOD_OPTIONS.names())}")
    options = parse(METHOD_OPTIONS.get(str(method["name"])), method, "method", path)
    track = parse_track(table.get("track", {}), path)
    settings = parse(RunSettings, {**table, "method": options, "track": track}, path=path)
    _check_length(settings.train, path)
    _check_rows(settings, path)
    if not settings.changes_model:
        return settings
    return settings.model_copy(update={"prompt": PromptOptions(), "source": SourceOptions(), "sources": ()})


def _check_length(train: TrainOptions, path: Place) -> None:
    """Raises ConfigError for steps beside epochs, of which one would be left out."""
    if train.steps is not None and train.epochs is not None:
        raise ConfigError(
            f"{located(path, 'epochs')}[train] give either steps or epochs: both are set, to {train.steps} and "
            f'{train.epochs:g} (epochs = "default" takes back what stands in another table)'
        )


def _check_rows(settings: RunSettings, path: Place) -> None:
    """Raises ConfigError for steps that have no rows to be made on."""
    train = settings.train
    if settings.data.few_shot == 0 and settings.trains and (train.steps or train.epochs):
        named = f"train.steps = {train.steps}" if train.steps else f"train.epochs = {train.epochs}"
        raise ConfigError(
            f"{located(path, 'few_shot')}[data] few_shot = 0 leaves no rows to train on, and {named}: set train.steps = 0 to "
            "score the prompt as it starts, or few_shot = 1 or more"
        )


def run_id(settings: RunSettings, content: dict[str, Any]) -> str:
    """Twelve hexadecimal digits; `content` holds the model's identity, task versions, data hashes and the hashes of
    starting prompts. What cannot change a result stays out."""
    table = {
        "eval": {},
        "train": {},
        "model": {},
        **deciding(settings.saved()),
    }  # these three stand in every id, empty or not
    if not table.get("data"):
        table.pop("data", None)
    asked = settings.eval.scored(settings.method)
    scoring = {key: value for key, value in table["eval"].items() if key != "decode"}
    table["eval"] = (
        scoring if asked == ("greedy",) else scoring | {"decode": list(asked)}
    )  # as it was before it had a default
    if not settings.method.uses_sources:
        table.pop("sources", None)
    return digest({"schema": SCHEMA, "settings": table, **content})[:12]


def located_model(options: ModelOptions, base: Path) -> ModelOptions:
    """A folder or GGUF file given relative to the recipe, made absolute; named models and hub names stay as they are."""
    beside = base / options.name
    if named_model(options.name) or not beside.exists():
        return options
    return options.model_copy(
        update={"name": os.path.abspath(beside)}
    )  # a link's own name has the suffix, its target may not
