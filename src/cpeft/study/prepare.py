"""From settings to a member of a gang: model, rows, prompts, method, and how it is scored on validation rows."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from math import nan
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cpeft.data.encode import EncodedRow
from cpeft.errors import PromptMismatch
from cpeft.evaluation.decoding import Decoded, EvalOptions, decode_rows, mean_loss
from cpeft.evaluation.scoring import score_texts
from cpeft.methods.base import METHODS, MethodInputs
from cpeft.models.loading import FrozenLM, ModelOptions, load_lm
from cpeft.models.prompted import PromptedLM
from cpeft.prompts.exchange import load_prompt
from cpeft.prompts.init import initial_prompt
from cpeft.prompts.soft_prompt import SoftPrompt, read_tensors
from cpeft.seeds import generator
from cpeft.study.plan import Plan
from cpeft.study.recipe import RecipeRun
from cpeft.study.settings import RunSettings
from cpeft.study.store import RunFolder
from cpeft.study.task_data import Part, TaskData, task_data
from cpeft.training.callbacks import Callback
from cpeft.training.callbacks.metrics_file import MetricsFile
from cpeft.training.member import Evaluation, Member, Shape
from cpeft.training.workers import Workers


@dataclass(frozen=True)
class Prepared:
    """A run ready to train."""

    run: RecipeRun
    folder: RunFolder
    member: Member
    learner: PromptedLM
    data: tuple[TaskData, ...]
    shape: Shape
    sources: dict[str, SoftPrompt]


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
    sources = _sources(run, plan, lm)
    learner = make_learner(settings, lm, data, sources, lambda name: _one(plan, name, run, lm), _state(plan, run))
    shape = shape_of(settings, lm, learner.method.length)
    for each in data:
        target = max((len(row.target) for part in each.parts.values() for row in part.rows), default=0)
        longest = max(part.longest for part in each.parts.values())
        lm.check_fits(shape.extra, longest + (target if shape.counts_target else 0))
    member = Member(
        name=f"{run.stage}/{run.name}",
        learner=learner,
        rows=train_rows(data),
        shape=shape,
        options=settings.train,
        optim=settings.optim,
        order_seed=settings.seed_for("order"),
        dropout_seed=settings.seed_for("dropout"),
        folder=folder.path,
        evaluate=lambda: validate(learner, data, shape, settings, workers),
        scale=lm.embedding_rms,
        callbacks=(*([MetricsFile(folder.path / "metrics.jsonl")] if workers.first else []), *watchers),
        guard=guard,
        writes=workers.first,
    )
    return Prepared(run, folder, member, learner, data, shape, sources)


def located_model(options: ModelOptions, base: Path) -> ModelOptions:
    """A model folder given relative to the recipe, made absolute; hub names stay as they are."""
    beside = base / options.name
    return options.model_copy(update={"name": str(beside.resolve())}) if beside.is_dir() else options


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
    room = settings.data.max_source if settings.data.padding == "room" else None
    return PromptedLM(lm, method, settings.data.max_source if method.reads_input else room)


def shape_of(settings: RunSettings, lm: FrozenLM, length: int) -> Shape:
    """How this run's rows become batches."""
    room = settings.data.max_source if settings.data.padding == "room" else None
    return Shape(lm.text.pad or 0, room, length, counts_target=not lm.encoder_decoder)


def train_rows(data: Sequence[TaskData]) -> list[EncodedRow]:
    """The concatenated training rows of all tasks of a run, each with its task's index."""
    return [replace(row, task=i) for i, each in enumerate(data) for row in each.parts["train"].rows]


def part_rows(data: Sequence[TaskData], index: int, split: str) -> tuple[Part, list[EncodedRow]]:
    """One task's rows of a split, with its index within the run."""
    part = data[index].parts[split]
    return part, [replace(row, task=index) for row in part.rows]


def outputs(
    learner: PromptedLM, data: Sequence[TaskData], index: int, split: str, shape: Shape, options: EvalOptions,
    workers: Workers,
) -> list[Decoded]:  # fmt: skip
    """Decoded rows of one task, predicted texts as the labels they stand for."""
    each = data[index]
    _, rows = part_rows(data, index, split)
    return [
        replace(decoded, text=each.say(decoded.text), choice=each.say(decoded.choice) if decoded.choice else None)
        for decoded in decode_rows(learner, rows, shape, tuple(each.spoken), options, workers)
    ]


def validate(
    learner: PromptedLM, data: Sequence[TaskData], shape: Shape, settings: RunSettings, workers: Workers
) -> Evaluation:
    """Validation scores of every task; the headline is the mean of the tasks' first metrics."""
    scores: dict[str, float] = {}
    headlines, losses = [], []
    options = settings.eval.model_copy(update={"decode": ("greedy",)})
    for index, each in enumerate(data):
        part, rows = part_rows(data, index, "validation")
        texts = [decoded.text for decoded in outputs(learner, data, index, "validation", shape, options, workers)]
        references = [example.references for example in part.examples]
        groups = [example.group for example in part.examples]
        for metric in each.task.metrics:
            scores[f"{each.task.name}/{metric}"] = score_texts(metric, texts, references, each.labels, groups).value
        headlines.append(scores[f"{each.task.name}/{each.task.metrics[0]}"])
        if settings.train.select == "loss":
            losses.append(mean_loss(learner, rows, shape, settings.eval.token_budget))
    headline = sum(headlines) / len(headlines)
    return Evaluation(headline, sum(losses) / len(losses) if losses else nan, scores)


def _sources(run: RecipeRun, plan: Plan, lm: FrozenLM) -> dict[str, SoftPrompt]:
    if not METHODS.get(run.settings.method.name).uses_sources:
        return {}
    found = [found for reference in run.settings.sources for found in plan.find(reference, run)]
    sources: dict[str, SoftPrompt] = {}
    for each in found:
        prompt = _checked(load_prompt(each.path), each.name, lm).rows(run.settings.source.rows)
        sources[each.name if each.name not in sources else str(each.path)] = prompt
    return sources


def _one(plan: Plan, name: str, run: RecipeRun, lm: FrozenLM) -> SoftPrompt:
    found = plan.find(name, run)
    if len(found) > 1:
        raise PromptMismatch(f"'{name}' names {len(found)} prompts ({', '.join(f.name for f in found)}); one is wanted")
    return _checked(load_prompt(found[0].path), name, lm)


def _checked(prompt: SoftPrompt, name: str, lm: FrozenLM) -> SoftPrompt:
    """A prompt that lives in this model's space; raises PromptMismatch naming both."""
    provenance = prompt.provenance
    if provenance.embedding and provenance.embedding != lm.fingerprint:
        raise PromptMismatch(f"prompt '{name}' was trained on {provenance.model}, this run's model is {lm.name}")
    if prompt.width != lm.width:
        raise PromptMismatch(f"prompt '{name}' has width {prompt.width}, {lm.name} has {lm.width}")
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
