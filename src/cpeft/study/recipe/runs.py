"""The run that trains and is scored, and what identifies it. `comparison.py` has the run that trains nothing."""

import hashlib
from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from math import ceil
from pathlib import Path
from typing import Any, Self

from cpeft.config import Table, digest
from cpeft.data.options import DataOptions
from cpeft.evaluation.task_data import dataset_of
from cpeft.models.places import model_identity
from cpeft.prompts.hashes import stored_hash
from cpeft.study.recipe.references import Effort, Gang, RecipeRun, References
from cpeft.study.recipe.settings import RunSettings, located_model, run_id
from cpeft.tasks import instruction
from cpeft.tasks.custom import find_task

UNKNOWN = 1000  # rows that a split is taken to have where its size is unknown
STEP, ANSWER = (
    3,
    2,
)  # forward passes: a training row goes forward and back (twice the work), a test row is read and answered


Change = Callable[[RunSettings], RunSettings]


@dataclass(frozen=True)
class TrainingRun(RecipeRun):
    """A run that trains and is scored; `tasks` are names, where the settings may hold files."""

    settings: RunSettings

    @property
    def seed(self) -> int:
        return self.settings.seed

    @property
    def gang(self) -> Gang | None:
        return None if self.settings.changes_model else (self.settings.model, self.settings.gang, self.settings.energy)

    @cached_property
    def kind(self) -> Hashable:
        """Everything that decides how long a step and a row take, and how many there are; initial values do not."""
        settings = self.settings.model_dump_json(include={"model", "method", "data", "train", "eval"})
        return self.tasks, self.settings.sources, self.settings.prompt.length, settings

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

    def changed(self, change: Change, base: Path) -> Self:
        """The run with other settings, and files looked up elsewhere."""
        return replace(self, base=base, settings=change(self.settings))

    def prompt_references(self) -> list[str]:
        """The prompts it starts from: its sources, where its method uses them, and those its initialisation names."""
        sources = self.settings.sources if self.settings.method.uses_sources else ()
        return [*sources, *self.settings.prompt.init.names]

    def references(self) -> list[str]:
        return [*self.prompt_references(), *self.settings.method.references()]

    def identity(self, references: References) -> str:
        settings, starts = self.settings, {}
        measured = settings.prompt.init.measured_names
        for reference in self.prompt_references():
            for name, path in references.find(reference, self).items():
                starts[f"{reference}:{name}"] = _hash_prompt(path)
                if reference in measured:
                    starts[f"{reference}:{name}:origin"] = _hash_prompt(path, origin=True)
        for reference in settings.method.references():
            starts[reference] = _hash_file(references.state_of(reference, self))
        model = model_identity(located_model(settings.model, self.base))
        tasks = {name: task_identity(name, self.base, settings.data) for name in settings.tasks}
        return run_id(settings, {"model": model, "tasks": tasks, "starts": starts, **self.code})

    def saved(self) -> Table:
        return self.settings.saved()


def task_identity(name: str, base: Path, options: DataOptions) -> list[Any]:
    """Everything that decides the text of a task's rows: its version, the rows, its templates and words."""
    task, data = find_task(name, base), dataset_of(name, base, options.revision, options.folder)
    text = [task.template, task.prefix, task.label_column, {str(k): v for k, v in task.words.items()}, task.metrics]
    text += [task.encoding, task.missing]
    instructions = [instruction(task, options.labels)] if options.form != "fields" else []
    return [task.version, data.fingerprint, digest(text) if task.files else "", *instructions]


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
