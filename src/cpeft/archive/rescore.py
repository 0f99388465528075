"""Answers computed again by the model, where the model and the rows of a task are on this machine.

Both are compared by content, with hashes that the results have: another model or other rows are reported as not checked. Of
what an archive names nothing is read from disk but models, and the rows of tasks that are registered here or that the caller
names. No model is downloaded.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import torch

from cpeft.archive.checks import ALIEN, kept_prompt, printable, reading
from cpeft.baselines import load_learner
from cpeft.config import parse
from cpeft.errors import ConfigError, CpeftError, MissingModel, PromptMismatch, UnknownName
from cpeft.evaluation.decoding import DecodedRow
from cpeft.evaluation.predictions import hashed
from cpeft.evaluation.task_data import TaskData, dataset_of, task_data
from cpeft.files import read_json
from cpeft.metrics.base import NO_LABEL
from cpeft.models.loading import FrozenLM, load_lm
from cpeft.models.places import content_of
from cpeft.models.prompted import PromptedLM
from cpeft.options.evaluation import EvalOptions
from cpeft.options.model import ModelOptions
from cpeft.report.study import Run
from cpeft.store.run_folder import METHOD_CARD, METHOD_STATE
from cpeft.study.runner.data_check import Finding
from cpeft.tasks.custom import find_task, load_custom

TIES = 0.05  # share of answers that rounding on another machine may change, all of them near ties


class NotHere(Exception):
    """Something that an answer depends on is not on this machine."""


class Rescorer:
    """Scores runs again. `model` takes the place of the models that runs name; `files` are users' own tasks."""

    def __init__(self, model: str | None = None, files: Sequence[Path] = ()) -> None:
        self._model = model
        self._tasks: Mapping[str, str] = {load_custom(file).name: str(file) for file in files}
        self._loaded = lru_cache(maxsize=1)(_load)

    def of(self, run: Run) -> Iterator[Finding]:
        """Findings about a run: one per task."""
        where = printable(f"{run.result.stage}/{run.result.name}")
        try:
            learner, options = self._learner(run)
            yield from _exported(run, learner, where)
        except NotHere as error:
            yield Finding("unchecked", where, f"not scored again: {printable(str(error))}")
            return
        except (*ALIEN, RuntimeError) as error:  # RuntimeError: torch, of tensors that do not fit the method
            yield Finding("error", where, f"cannot be scored again: {reading(error, run.folder.path)}")
            return
        for place, task in enumerate(learner.method.tasks):
            try:
                yield self._task(run, learner, options, place, task)
            except NotHere as error:
                what = printable(f"not scored again on {task}: {error}")
                yield Finding("unchecked", where, what)
            except ALIEN as error:
                yield Finding(
                    "error", where, printable(f"cannot be scored again on {task}: {reading(error, run.folder.path)}")
                )

    def _learner(self, run: Run) -> tuple[PromptedLM, EvalOptions]:
        folder = run.folder.method_path
        if not all((folder / name).is_file() for name in (METHOD_CARD, METHOD_STATE)):
            raise NotHere("the archive has no weights of its method")
        card = read_json(folder / METHOD_CARD)
        name = self._model or card["model"]
        place = {
            "name": name,
            "dtype": card["dtype"],
            "device": "auto",
            "revision": None if self._model else card["revision"],
        }
        options = parse(ModelOptions, {**card["lm"], **place}, "model")
        try:
            lm = self._loaded(options)
            here, then = content_of(name, options.file), run.result.weights
            if here and then and len(then) == 64 and here != then:
                raise NotHere(f"model '{name}' has other weights here")
            return load_learner(folder, lm), parse(EvalOptions, card["eval"], "eval")
        except MissingModel:
            raise NotHere(f"model '{name}' is not on this machine") from None
        except (PromptMismatch, ConfigError) as error:
            raise NotHere(str(error).replace(str(folder), "the run")) from None

    def _task(self, run: Run, learner: PromptedLM, options: EvalOptions, place: int, task: str) -> Finding:
        data = self._data(run, learner, task)
        decoded = data.answers(learner, place, "test", options)
        scores = data.score_decoded("test", decoded, 0)
        kept = [row["prediction"] for row in run.answers if row["task"] == task]
        metric, recorded = data.task.metrics[0], run.result.scores[task]
        scored = f"{metric} {recorded[metric].value:.2f}, here {scores[metric].value:.2f}"
        other = _differing(kept, decoded)
        where, what = f"{run.result.stage}/{run.result.name}", f"{task} scored again on {learner.lm.name}"
        if not other and len(kept) == len(decoded):
            return Finding("ok", printable(where), printable(f"{what}: all {len(kept)} answers are the same; {scored}"))
        few = len(kept) == len(decoded) and other <= max(1, TIES * len(kept))
        why = "rounding on another machine can do that" if few else "rounding cannot explain that"
        text = f"{what}: {other} of {len(kept)} answers differ; {scored}; {why}"
        return Finding("warning" if few else "error", printable(where), printable(text))

    def _data(self, run: Run, learner: PromptedLM, task: str) -> TaskData:
        known, name = run.result.data[task], self._tasks.get(task, task)
        if name.endswith(".toml") and task not in self._tasks:
            raise NotHere("its name is that of a file; give --task FILE")
        try:
            version = find_task(name).version
        except UnknownName:
            raise NotHere("no task of this name is registered here; give its TOML file with --task") from None
        try:
            dataset = dataset_of(name, None, learner.data.revision)
        except CpeftError as error:
            raise NotHere(f"its rows are not here ({error})") from None
        if (version, dataset.fingerprint) != (known.version, known.fingerprint):
            raise NotHere(f"the rows of {task} here are not those of the archive")
        options = learner.data.model_copy(update={"folder": None})
        return task_data(name, None, options, learner.subset, learner.lm)


def _load(options: ModelOptions) -> FrozenLM:
    return load_lm(**options.model_dump(), fetch=False)


def _differing(kept: Sequence[str | None], decoded: Sequence[DecodedRow]) -> int:
    """How many of the kept answers, or of their hashes, are others than these."""
    given = [None if row.text == NO_LABEL else row.text for row in decoded]
    return sum(
        one != other and (other is None or one != hashed(other)) for one, other in zip(kept, given, strict=False)
    )


def _exported(run: Run, learner: PromptedLM, where: str) -> Iterator[Finding]:
    """An error for every exported prompt that is not what the run was scored with."""
    for name, prompt in learner.export().items():
        if name in run.result.prompts and not torch.equal(kept_prompt(run, name).weight, prompt.weight):
            yield Finding("error", where, printable(f"the prompt '{name}' is not the one that was scored"))
