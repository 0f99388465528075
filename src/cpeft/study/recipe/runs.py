"""The runs a recipe asks for: what every run is to plan and launcher, and the run that trains.

A run says which earlier runs it needs, what identifies it, which gang it may join, and what its `config.toml` holds. Training
runs are here; `comparison.py` has the runs that train nothing.
"""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Hashable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from cpeft.config import Table, digest
from cpeft.data.options import DataOptions
from cpeft.evaluation.task_data import dataset_of
from cpeft.models.places import model_identity
from cpeft.options.model import ModelOptions
from cpeft.options.training import EnergyOptions, GangOptions
from cpeft.prompts.expression import measured_names, names, parse_prompt
from cpeft.prompts.hashes import stored_hash
from cpeft.study.recipe.settings import RunSettings, located_model, run_id
from cpeft.tasks import instruction
from cpeft.tasks.custom import find_task

if TYPE_CHECKING:
    from cpeft.study.runner.plan import Plan

UNKNOWN = 1000  # rows that a split is taken to have, where nothing says how many
STEP, ANSWER = 3, 2  # a row that is trained on goes forward and back, one that is answered is read and then told

Gang = tuple[ModelOptions, GangOptions, EnergyOptions]


class Effort(NamedTuple):
    """About what a run costs, in rows that go forward through the model once: `training` in all its `steps` with validation,
    `scoring` behind the last one."""

    steps: int
    training: float
    scoring: float

    @property
    def rows(self) -> float:
        return self.training + self.scoring

    def share(self, step: int) -> float:
        """How much of it is done after so many steps."""
        return min(step / self.steps, 1.0) * self.training / self.rows if self.steps else 0.0


@dataclass(frozen=True)
class RecipeRun(ABC):
    """One run a recipe asks for; `label` names its method in tables, `name` is readable and unique in its stage."""

    stage: str
    label: str
    name: str
    base: Path  # where relative task files are looked up

    def __str__(self) -> str:
        return f"{self.stage}/{self.name}"

    @property
    def seed(self) -> int | None:
        """The seed that references without one take; None for a run that has none of its own."""
        return None

    @property
    def gang(self) -> Gang | None:
        """What all runs of one gang share; None for a run that is alone."""
        return None

    @property
    def kind(self) -> Hashable:
        """Equal for runs that take the same time."""
        return self.stage

    @property
    def effort(self) -> Effort:
        """What it costs, as far as that is known before."""
        return Effort(0, 0.0, 1.0)

    @abstractmethod
    def references(self) -> list[str]:
        """Every earlier prompt or run that this one starts from."""

    def needs(self, plan: "Plan") -> list["TrainingRun"]:
        """The runs that must be finished first, each once; raises ConfigError for a reference that names none."""
        return list({str(need): need for name in self.references() for need in plan.named(name, self)}.values())

    @abstractmethod
    def identity(self, plan: "Plan") -> str:
        """Twelve hexadecimal digits of all that decides what the run computes, once all it needs is finished."""

    @abstractmethod
    def saved(self) -> Table:
        """What `config.toml` holds."""


@dataclass(frozen=True)
class TrainingRun(RecipeRun):
    """A run that trains and is scored; `tasks` are names, where the settings may hold files."""

    tasks: tuple[str, ...]
    settings: RunSettings

    @property
    def seed(self) -> int:
        return self.settings.seed

    @property
    def gang(self) -> Gang | None:
        return None if self.settings.changes_model else (self.settings.model, self.settings.gang, self.settings.energy)

    @cached_property
    def kind(self) -> Hashable:
        """All that decides how long a step and a row take, and how many there are; what a prompt starts from does not."""
        told = self.settings.model_dump_json(include={"model", "method", "data", "train", "eval"})
        return self.tasks, self.settings.sources, self.settings.prompt.length, told

    @cached_property
    def effort(self) -> Effort:
        train, data, tasks = self.settings.train, self.settings.data, len(self.tasks)
        if self.settings.method.zero_shot:
            return Effort(0, 0.0, ANSWER * tasks * (data.limit_test or UNKNOWN))
        an_epoch = max((data.limit_train or UNKNOWN) * tasks / train.batch, 1)
        steps = ceil((train.epochs or 0) * an_epoch) if train.steps is None else train.steps
        every = train.eval_every
        interval = an_epoch if every == "epoch" else max(every * steps, 1) if every < 1 else every
        validation = ceil(steps / interval) * tasks * (data.limit_validation or UNKNOWN)
        return Effort(
            steps, STEP * steps * train.batch + ANSWER * validation, ANSWER * tasks * (data.limit_test or UNKNOWN)
        )

    def prompt_references(self) -> list[str]:
        """The prompts it starts from: its sources, where its method uses them, and those its initialisation names."""
        sources = self.settings.sources if self.settings.method.uses_sources else ()
        return [*sources, *names(parse_prompt(self.settings.prompt.init))]

    def references(self) -> list[str]:
        return [*self.prompt_references(), *self.settings.method.references()]

    def identity(self, plan: "Plan") -> str:
        settings, starts = self.settings, {}
        measured = measured_names(parse_prompt(settings.prompt.init))
        for reference in self.prompt_references():
            for name, path in plan.find(reference, self).items():
                starts[f"{reference}:{name}"] = _hash_prompt(path)
                if reference in measured:
                    starts[f"{reference}:{name}:origin"] = _hash_prompt(path, origin=True)
        for reference in settings.method.references():
            starts[reference] = _hash_file(plan.state_of(reference, self))
        model = model_identity(located_model(settings.model, self.base))
        tasks = {name: task_identity(name, self.base, settings.data) for name in settings.tasks}
        return run_id(settings, {"model": model, "tasks": tasks, "starts": starts})

    def saved(self) -> Table:
        return self.settings.saved()


def task_identity(name: str, base: Path, options: DataOptions) -> list[Any]:
    """What decides the text of a task's rows, its rows included."""
    task, data = find_task(name, base), dataset_of(name, base, options.revision, options.folder)
    own = [task.template, task.prefix, task.label_column, {str(k): v for k, v in task.words.items()}, task.metrics]
    own += [task.encoding, task.missing]
    told = [instruction(task, options.labels)] if options.form != "fields" else []
    return [task.version, data.fingerprint, digest(own) if task.files else "", *told]


@lru_cache(maxsize=4096)
def _hash_prompt(path: Path, origin: bool = False) -> str:
    if known := stored_hash(path, origin):
        return known
    from cpeft.prompts.exchange import load_prompt  # here: a plan loads torch only for prompts of other programs
    from cpeft.prompts.soft_prompt import matrix_hash

    prompt = load_prompt(path)
    matrix = prompt.origin if origin else prompt.weight
    return "" if matrix is None else matrix_hash(matrix)


@lru_cache(maxsize=4096)
def _hash_file(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]
