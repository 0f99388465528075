"""From settings to a member of a gang: model, rows, prompts, method, and how it is scored on validation rows."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from math import nan
from typing import Any

import torch
from torch import Tensor

from cpeft.data.encode import EncodedRow
from cpeft.errors import PromptMismatch
from cpeft.evaluation.decoding import mean_loss, new_tokens
from cpeft.methods.base import METHODS, MethodInputs
from cpeft.models.loading import FrozenLM, ModelOptions, load_lm
from cpeft.models.prompted import PromptedLM
from cpeft.prompts.exchange import load_prompt
from cpeft.prompts.init import initial_prompt
from cpeft.prompts.soft_prompt import SoftPrompt, read_tensors
from cpeft.seeds import generator
from cpeft.study.answers import answers, score_part
from cpeft.study.plan import Found, Plan
from cpeft.study.recipe import RecipeRun
from cpeft.study.settings import RunSettings, located_model
from cpeft.study.store import RunFolder
from cpeft.study.task_data import TaskData, task_data
from cpeft.training.callbacks import Callback
from cpeft.training.callbacks.metrics_file import MetricsFile
from cpeft.training.member import Evaluation, Member
from cpeft.training.workers import Workers


@dataclass(frozen=True)
class Prepared:
    """A run ready to train."""

    run: RecipeRun
    folder: RunFolder
    member: Member
    learner: PromptedLM
    data: tuple[TaskData, ...]
    sources: dict[str, SoftPrompt]
    notes: tuple[str, ...]


@lru_cache(maxsize=1)
def model_of(options: ModelOptions) -> FrozenLM:
    """The frozen model, loaded once per process."""
    return load_lm(options.name, options.revision, options.dtype, options.device, options.quantize, options.attention)


def prepare(
    run: RecipeRun,
    plan: Plan,
    folder: RunFolder,
    guard: Callable[[], None],
    watchers: Sequence[Callback],
    workers: Workers,
) -> Prepared:
    """Load and build everything a run needs; mistakes of the user come out as CpeftErrors."""
    settings = run.settings
    lm = model_of(located_model(settings.model, run.base))
    data = tuple(task_data(name, run.base, settings.data, settings.seed_for("subset"), lm) for name in settings.tasks)
    sources, notes = _sources(run, plan, lm)
    learner = make_learner(settings, lm, data, sources, lambda name: _one(plan, name, run, lm), _state(plan, run))
    for each in data:
        _check_fits(learner, each, settings)
    member = Member(
        name=f"{run.stage}/{run.name}",
        learner=learner,
        rows=train_rows(data),
        shape=learner.shape,
        options=settings.train,
        optim=settings.optim,
        order_seed=settings.seed_for("order"),
        dropout_seed=settings.seed_for("dropout"),
        folder=folder.path,
        evaluate=lambda: validate(learner, data, settings, workers),
        scale=lm.embedding_rms,
        callbacks=(*([MetricsFile(folder.path / "metrics.jsonl")] if workers.first else []), *watchers),
        guard=guard,
        writes=workers.first,
    )
    return Prepared(run, folder, member, learner, data, sources, tuple(notes))


def _check_fits(learner: PromptedLM, each: TaskData, settings: RunSettings) -> None:
    """Prompt, longest source and, for decoder-only models, everything generated must fit the positions."""
    longest = max(part.longest for part in each.parts.values())
    if not learner.lm.encoder_decoder:
        targets = max((len(row.target) for part in each.parts.values() for row in part.rows), default=0)
        longest += max(targets, new_tokens(learner.lm.text, each.closed, settings.eval))
    learner.lm.check_fits(learner.method.length, longest)


def make_learner(
    settings: RunSettings,
    lm: FrozenLM,
    data: Sequence[TaskData],
    sources: dict[str, SoftPrompt],
    resolve: Callable[[str], SoftPrompt],
    state: Callable[[str], dict[str, Tensor]],
) -> PromptedLM:
    """The learner of a run, with its initial prompt drawn from `seed.init`."""
    seed = settings.seed_for("init")
    words = tuple(dict.fromkeys(label for each in data for label in each.labels))
    initial_PD = initial_prompt(settings.prompt, lm.vocabulary, generator(seed, "prompt"), words, resolve)
    inputs = MethodInputs(
        tuple(each.task.name for each in data), initial_PD, sources, seed, settings.prompt.init, state
    )
    method = METHODS.get(settings.method.name)(settings.method, inputs)
    return PromptedLM(lm, method, settings.data)


def train_rows(data: Sequence[TaskData]) -> list[EncodedRow]:
    """The concatenated training rows of all tasks of a run, each with its task's index."""
    return [replace(row, task=i) for i, each in enumerate(data) for row in each.parts["train"].rows]


def validate(learner: PromptedLM, data: Sequence[TaskData], settings: RunSettings, workers: Workers) -> Evaluation:
    """Validation scores of every task; the headline is the mean of the tasks' first metrics."""
    scores: dict[str, float] = {}
    headlines, losses = [], []
    options = settings.eval.model_copy(update={"decode": ("greedy",)})
    for index, each in enumerate(data):
        decoded = answers(learner, each, index, "validation", options, workers)
        own = score_part(each, "validation", [row.text for row in decoded])
        scores |= {f"{each.task.name}/{metric}": score.value for metric, score in own.items()}
        headlines.append(own[each.task.metrics[0]].value)
        if settings.train.select == "loss":
            rows = [replace(row, task=index) for row in each.parts["validation"].rows]
            losses.append(mean_loss(learner, rows, learner.shape, settings.eval.token_budget))
    headline = sum(headlines) / len(headlines)
    result = Evaluation(headline, sum(losses) / len(losses) if losses else nan, scores)
    return workers.tell(result)  # one process decides, so that early stopping is the same in all


def _sources(run: RecipeRun, plan: Plan, lm: FrozenLM) -> tuple[dict[str, SoftPrompt], list[str]]:
    """The source prompts by name, and a note on every one that was cut on purpose."""
    if not METHODS.get(run.settings.method.name).uses_sources:
        return {}, []
    found = [found for reference in run.settings.sources for found in plan.find(reference, run)]
    sources: dict[str, SoftPrompt] = {}
    for each in found:
        prompt = _loaded(each, run, lm)
        sources[each.name if each.name not in sources else str(each.path)] = prompt
    cut = run.settings.source.rows
    return sources, [f"source.rows = '{cut}': only these rows of each source prompt are used"] if cut != "all" else []


def _one(plan: Plan, name: str, run: RecipeRun, lm: FrozenLM) -> SoftPrompt:
    found = plan.find(name, run)
    if len(found) > 1:
        raise PromptMismatch(f"'{name}' names {len(found)} prompts ({', '.join(f.name for f in found)}); one is wanted")
    return _loaded(found[0], run, lm)


def _loaded(found: Found, run: RecipeRun, lm: FrozenLM) -> SoftPrompt:
    return same_space(load_prompt(found.path), found.name, lm).rows(run.settings.source.rows)


def same_space(prompt: SoftPrompt, name: str, lm: FrozenLM) -> SoftPrompt:
    """The prompt, if it lives in this model's space; raises PromptMismatch naming both."""
    known = prompt.provenance
    if prompt.width != lm.width or (known.embedding or lm.fingerprint) != lm.fingerprint:
        owner = known.model or "another model"
        raise PromptMismatch(
            f"prompt '{name}' (width {prompt.width}) was trained on {owner}, this model is {lm.name} (width {lm.width})"
        )
    return prompt


def _state(plan: Plan, run: RecipeRun) -> Callable[[str], dict[str, Any]]:
    return lambda reference: read_tensors(plan.state_of(reference, run))


def trainable(learner: PromptedLM) -> int:
    """Numbers that training changes."""
    return sum(p.numel() for group in learner.param_groups() for p in group.params)


def hardware() -> dict[str, Any]:
    """What the run was computed on."""
    import platform

    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {"machine": platform.machine(), "system": platform.system(), "threads": torch.get_num_threads(), "gpu": gpu}
