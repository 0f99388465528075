"""The settings of one run, and its id.

Every table is defined beside the code that reads it; this module combines them. The id hashes the settings that differ from
their defaults, the text version and data of each task, and the content of every prompt that the run starts from. So retrained
sources make new targets, and a new option re-runs nothing.
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
    """Seeds of single purposes, each derived from the run's seed unless it is given."""

    init: Seed | None = Field(default=None, description="Seed of the initial prompt.")
    order: Seed | None = Field(default=None, description="Seed of the order of training rows.")
    dropout: Seed | None = Field(default=None, description="Seed of the frozen model's dropout in training.")
    subset: Seed | None = Field(default=None, description="Seed of rows drawn by few_shot, limits and examples.")

    @model_validator(mode="before")
    @classmethod
    def _a_table(cls, value: Any) -> Any:
        if isinstance(value, Mapping | SeedOptions):
            return value
        if isinstance(value, list):
            raise ValueError(f"the seeds to run belong to a stage: put seeds = {value} below its [[stage]]")
        raise ValueError("the seeds to run are a list in a stage, as in seeds = [0, 1, 2]")


class SourceOptions(Options):
    """How source prompts are read."""

    rows: str = Field(
        default="all", description="`first:N` keeps the first N rows, as a published system did unintentionally."
    )


class RunSettings(Options):
    """All settings of a run; those in `options/neutral.py` do not change its result."""

    tasks: tuple[str, ...] = Field(min_length=1)
    seed: Seed = 0
    sources: tuple[str, ...] = Field(
        default=(), description="Source prompts of methods that mix them: files or earlier runs, such as `sources/*`."
    )
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
        """Whether the method is a baseline, which trains a copy of the model instead of a prompt."""
        return self.method.changes_model

    @property
    def trains(self) -> bool:
        """Whether training steps are made; False for 0 steps or epochs, or for a method without parameters."""
        return 0 not in (self.train.steps, self.train.epochs) and not self.method.zero_shot

    def seed_for(self, purpose: str) -> int:
        """The seed for one purpose: `init`, `order`, `dropout` or `subset`."""
        given = getattr(self.seeds, purpose)
        return int(given) if given is not None else derive(self.seed, purpose)

    def saved(self) -> Table:
        """The settings as a table that `parse_settings` reads back; defaults are left out."""
        method = {"name": self.method.name, **changed(self.method)}
        return {**changed(self), "tasks": list(self.tasks), "seed": self.seed, "method": method}


def parse_settings(table: Table, path: Place = ()) -> RunSettings:
    """Parse a table; `path` is the file it is from. The options of `[method]` are checked by the method. Settings of prompts
    are checked for baselines too, and then left out. Raises ConfigError."""
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
    """Raise ConfigError if both steps and epochs are set."""
    if train.steps is not None and train.epochs is not None:
        raise ConfigError(
            f"{located(path, 'epochs')}[train] give either steps or epochs: both are set, to {train.steps} and "
            f'{train.epochs:g} (epochs = "default" restores the default where another table sets them)'
        )


def _check_rows(settings: RunSettings, path: Place) -> None:
    """Raise ConfigError for training steps without training rows."""
    train = settings.train
    if settings.data.few_shot == 0 and settings.trains and (train.steps or train.epochs):
        named = f"train.steps = {train.steps}" if train.steps else f"train.epochs = {train.epochs}"
        raise ConfigError(
            f"{located(path, 'few_shot')}[data] few_shot = 0 leaves no rows to train on, and {named}: set train.steps = 0 to "
            "score the initial prompt, or few_shot = 1 or more"
        )


def run_id(settings: RunSettings, content: dict[str, Any]) -> str:
    """Twelve hexadecimal digits; `content` holds the model's identity, task versions, data hashes and the hashes of initial
    prompts. Settings that cannot change a result are left out."""
    table = {
        "eval": {},
        "train": {},
        "model": {},
        **deciding(settings.saved()),
    }  # these three are in every id, empty or not
    if not table.get("data"):
        table.pop("data", None)
    decode = settings.eval.scored(settings.method)
    scoring = {key: value for key, value in table["eval"].items() if key != "decode"}
    table["eval"] = (
        scoring if decode == ("greedy",) else scoring | {"decode": list(decode)}
    )  # as in ids from before `decode` had a default
    if not settings.method.uses_sources:
        table.pop("sources", None)
    return digest({"schema": SCHEMA, "settings": table, **content})[:12]


def located_model(options: ModelOptions, base: Path) -> ModelOptions:
    """The options with a model folder or GGUF file made absolute, if it is relative to `base`; other names are unchanged."""
    beside = base / options.name
    if named_model(options.name) or not beside.exists():
        return options
    return options.model_copy(
        update={"name": os.path.abspath(beside)}
    )  # not resolved: a link's name has the suffix, its target may not
