"""From the settings of a run to a member of a gang: model, rows, prompts, method, and validation."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import nan
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cpeft.baselines import changed_lm
from cpeft.errors import ConfigError, PromptMismatch
from cpeft.evaluation.decoding import mean_loss, new_tokens
from cpeft.evaluation.predictions import SCHEMA
from cpeft.evaluation.row_format import row_format
from cpeft.evaluation.task_data import TaskData, task_data
from cpeft.methods.base import METHODS, MethodInputs, PromptMethod
from cpeft.metrics import METRICS
from cpeft.models.loading import FrozenLM, load_lm, placed
from cpeft.models.prompted import PromptedLM
from cpeft.options.model import ModelOptions
from cpeft.options.prompt import PromptOptions
from cpeft.prompts.exchange import load_prompt, load_stored
from cpeft.prompts.init import initial_prompt
from cpeft.prompts.soft_prompt import SoftPrompt, read_tensors
from cpeft.seeds import generator
from cpeft.store.run_folder import RunFolder, Store
from cpeft.study.recipe.runs import TrainingRun
from cpeft.study.recipe.settings import RunSettings, located_model
from cpeft.study.runner.plan import Plan
from cpeft.training.callbacks import Callback
from cpeft.training.member import Evaluation, Member
from cpeft.training.workers import Workers


@dataclass(frozen=True)
class Prepared:
    """A run ready to train."""

    run: TrainingRun
    member: Member
    data: tuple[TaskData, ...]
    notes: list[str]


@lru_cache(maxsize=1)
def model_of(options: ModelOptions) -> FrozenLM:
    """The frozen model, loaded once per process."""
    return load_lm(**options.model_dump())


def model_in(store: Store, options: ModelOptions, keep: bool = False) -> ModelOptions:
    """The options with the number format that `auto` means in a store; `keep` records it in the store for all later runs."""
    if options.dtype != "auto":
        return options

    def here() -> str:
        return placed("auto", options.device)[1]

    return options.model_copy(update={"dtype": store.keep_dtype(here) if keep else store.dtype() or here()})


def prepare(
    run: TrainingRun,
    plan: Plan,
    folder: RunFolder,
    guard: Callable[[], None],
    callbacks: Sequence[Callback],
    workers: Workers,
) -> Prepared:
    """Load and build everything a run needs; raises CpeftErrors for mistakes of the user."""
    settings, cut = run.settings, run.settings.source.rows
    lm = model_of(model_in(plan.store, located_model(settings.model, run.base), keep=True))
    data = tuple(task_data(name, run.base, settings.data, settings.seed_for("subset"), lm) for name in settings.tasks)

    def loaded(name: str, path: Path) -> SoftPrompt:
        prompt = load_prompt(path) if settings.prompt.rows == "live" else load_stored(path)[0].whole()
        return same_space(prompt, name, lm).keep(cut)

    def one(reference: str) -> SoftPrompt:
        paths = plan.references.find(reference, run)
        if len(paths) > 1:
            names = ", ".join(paths)
            raise PromptMismatch(f"'{reference}' names {len(paths)} prompts ({names}); exactly one is needed")
        return loaded(*next(iter(paths.items())))

    sources: dict[str, SoftPrompt] = {}
    for reference in settings.sources if settings.method.uses_sources else ():
        for name, path in plan.references.find(reference, run).items():
            sources[name if name not in sources else str(path)] = loaded(name, path)
    notes = []
    if cut != "all" and run.prompt_references():
        notes.append(f"source.rows = '{cut}': only these rows of each prompt that this run starts from are used")
    learner = make_learner(
        settings, lm, data, sources, one, lambda name: read_tensors(plan.references.state_of(name, run))
    )
    for task in data:
        _check_fits(learner, task, settings)
    member = make_member(settings, learner, data, folder, workers, name=str(run), callbacks=callbacks, guard=guard)
    return Prepared(run, member, data, notes)


def _check_fits(learner: PromptedLM, task: TaskData, settings: RunSettings) -> None:
    """Raise TooLong unless prompt, longest source and, for decoder-only models, everything generated fit the positions."""
    longest = max(part.longest for part in task.parts.values())
    if not learner.lm.encoder_decoder:
        targets = max((len(row.target) for part in task.parts.values() for row in part.rows), default=0)
        longest += max(targets, new_tokens(learner.text, task.closed, settings.eval))
    learner.lm.check_fits(learner.method.length, longest)


def make_learner(
    settings: RunSettings, lm: FrozenLM, data: Sequence[TaskData], sources: dict[str, SoftPrompt],
    resolve: Callable[[str], SoftPrompt], state: Callable[[str], dict[str, Tensor]],
) -> PromptedLM:  # fmt: skip
    """The learner of a run, with initial values drawn from `seed.init`."""
    seed, tasks = settings.seed_for("init"), tuple(one.task.name for one in data)
    if settings.changes_model:
        return changed_lm(lm, settings.method, tasks, seed, settings.data, settings.seed_for("subset"))
    words = tuple(dict.fromkeys(label for one in data for label in one.labels))
    initial_PD = initial_prompt(settings.prompt, lm.vocabulary, generator(seed, "prompt"), words, resolve)
    live = None if settings.prompt.rows == "live" else settings.prompt.length
    inputs = MethodInputs(tasks, initial_PD, sources, seed, str(settings.prompt.init), state, live)
    method = METHODS.get(settings.method.name)(settings.method, inputs)
    if taken := sorted(set(method.extras) & set(SCHEMA.names)):
        raise ConfigError(f"method '{settings.method.name}': predictions have a column '{taken[0]}' of their own")
    learner = PromptedLM(lm, _as_published(method, settings.prompt, lm), settings.data, settings.seed_for("subset"))
    if settings.predictions.kept or not settings.data.examples:  # examples are texts of rows
        learner.asked = {one.task.name: row_format(one, learner, settings.eval) for one in data}
    return learner


def _as_published(method: PromptMethod, options: PromptOptions, lm: FrozenLM) -> PromptMethod:
    """The method in the precision it is trained in; raises ConfigError if a published layout or precision does not apply."""
    if options.rows == "doubled" and not lm.encoder_decoder:
        raise ConfigError(
            "prompt.rows = 'doubled' is a layout of encoder-decoder prompts; decoder-only models read all rows"
        )
    if options.dtype == "bfloat16":
        if method.reads_input:
            raise ConfigError("prompt.dtype = 'bfloat16' is for methods that train a prompt and no network")
        for parameter in method.parameters():
            parameter.data = parameter.data.to(torch.bfloat16)  # not the recorded origin
    return method


def make_member(
    run: RunSettings, learner: PromptedLM, data: Sequence[TaskData], folder: RunFolder, workers: Workers, **more: Any
) -> Member:
    """A member that trains on the concatenated rows of all its tasks, each row with the index of its task."""
    rows = [row for index, task in enumerate(data) for row in task.rows("train", index)]
    return Member(
        learner=learner, rows=rows, options=run.train, optim=run.optim, folder=folder,
        order_seed=run.seed_for("order"), dropout_seed=run.seed_for("dropout"), scale=learner.lm.vocabulary.rms,
        evaluate=lambda: _validate(learner, data, run, workers), higher_is_better=_direction(data),
        writes=workers.first, keeps_batch=run.predictions.kept, **more,
    )  # fmt: skip


def _direction(data: Sequence[TaskData]) -> bool:
    """Whether a higher headline is better; raises ConfigError where that differs between the tasks, whose mean says nothing."""
    headlines = {each.task.name: METRICS.get(each.task.metrics[0]).higher_is_better for each in data}
    if len(set(headlines.values())) > 1:
        lower = ", ".join(task for task, higher in headlines.items() if not higher)
        raise ConfigError(f"lower is better for {lower} and higher for the other tasks of the run: train them apart")
    return headlines[data[0].task.name]


def _validate(learner: PromptedLM, data: Sequence[TaskData], settings: RunSettings, workers: Workers) -> Evaluation:
    """Validation scores of every task; the headline is the mean of the tasks' first metrics."""
    scores: dict[str, float] = {}
    headlines, losses = [], []
    options = settings.eval.model_copy(update={"decode": ("greedy",)})
    for index, one in enumerate(data):
        decoded = one.answers(learner, index, "validation", options, workers)
        own = one.score("validation", [row.text for row in decoded])
        scores |= {f"{one.task.name}/{metric}": score.value for metric, score in own.items()}
        headlines.append(own[one.task.metrics[0]].value)
        if settings.train.select == "loss":
            rows = one.rows("validation", index)
            losses.append(mean_loss(learner, rows, settings.eval.token_budget))
    headline = sum(headlines) / len(headlines)
    result = Evaluation(headline, sum(losses) / len(losses) if losses else nan, scores)
    return workers.broadcast(result)  # one process decides, so that early stopping is the same in all


def same_space(prompt: SoftPrompt, name: str, lm: FrozenLM) -> SoftPrompt:
    """The prompt, if it was made for this model; raises PromptMismatch naming both models otherwise."""
    known = prompt.provenance
    if prompt.width != lm.width or (known.embedding or lm.fingerprint) != lm.fingerprint:
        owner = known.model or "another model"
        table = "; their embedding tables differ" if prompt.width == lm.width else ""
        raise PromptMismatch(
            f"prompt '{name}' (width {prompt.width}) was trained on {owner}, this model is {lm.name} (width {lm.width}){table}"
        )
    lm.check_same(f"prompt '{name}'", vars(known))
    return prompt
