"""What `cpeft eval`, `predict` and the Python functions act on: a run, a prompt, or an expression of prompts, on a model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import torch
from torch import Tensor

from cpeft.config import parse
from cpeft.data.encode import EncodedRow, cut
from cpeft.data.options import DataOptions
from cpeft.errors import ConfigError, PromptError, PromptMismatch
from cpeft.evaluation.decoding import EvalOptions, decode_rows
from cpeft.evaluation.scoring import Score, score_texts
from cpeft.methods.bank import PromptBank
from cpeft.models.loading import Dtype, FrozenLM, load_lm
from cpeft.models.prompted import PromptedLM
from cpeft.models.saved import load_method
from cpeft.prompts.exchange import load_prompt
from cpeft.prompts.expression import Expression, Mean, Name, names, parse_expression
from cpeft.prompts.soft_prompt import SoftPrompt, check_same_space, read_json
from cpeft.study.prepare import outputs
from cpeft.study.settings import find_task
from cpeft.study.task_data import task_data
from cpeft.tasks import Row
from cpeft.training.member import Shape
from cpeft.training.workers import Workers


@dataclass(frozen=True)
class Subject:
    """A learner ready to answer, the text options it was trained with, and the tasks it knows by index."""

    learner: PromptedLM
    data: DataOptions
    tasks: tuple[str, ...]

    @property
    def shape(self) -> Shape:
        lm = self.learner.lm
        room = self.data.max_source if self.data.padding == "room" else None
        return Shape(lm.text.pad or 0, room, self.learner.method.length, counts_target=not lm.encoder_decoder)


def load_subject(text: str, model: str | None = None, lm: FrozenLM | None = None) -> Subject:
    """A run folder, a prompt folder or file, or an expression over prompt paths such as `mean(a, b)`."""
    path = Path(text)
    if (path / "method" / "method.json").exists():
        card = read_json(path / "method" / "method.json")
        lm = lm or load_lm(model or card["model"], card["revision"] if not model else None, card.get("dtype", "auto"))
        data = parse(DataOptions, card["data"], "data", path / "method" / "method.json")
        return Subject(load_method(path / "method", lm), data, tuple(card["tasks"]))
    return prompts_subject({text: _evaluate(text)}, model, lm)


def prompts_subject(prompts: Mapping[str, SoftPrompt], model: str | None = None, lm: FrozenLM | None = None) -> Subject:
    """Prompts of one model, each usable by any row."""
    first = next(iter(prompts.values()))
    name = model or first.provenance.model
    if lm is None and not name:
        raise ConfigError("this prompt does not say which model it belongs to: give --model")
    dtype = cast(Dtype, first.provenance.dtype or "auto")
    lm = lm or load_lm(name, first.provenance.revision if not model else None, dtype)
    for text, prompt in prompts.items():
        if prompt.width != lm.width or (prompt.provenance.embedding or lm.fingerprint) != lm.fingerprint:
            owner = prompt.provenance.model or "another model"
            raise PromptMismatch(
                f"prompt '{text}' (width {prompt.width}) belongs to {owner}, not to {lm.name} (width {lm.width})"
            )
    return Subject(PromptedLM(lm, PromptBank(prompts)), DataOptions(), tuple(prompts))


def _evaluate(text: str) -> SoftPrompt:
    """The prompt a path or an expression over paths stands for."""
    if Path(text).exists():
        return load_prompt(text)
    expression = parse_expression(text)
    wanted = names(expression)
    if isinstance(expression, Name) or not wanted:
        raise PromptError(f"'{text}' is no run folder, no prompt and no expression of prompts")
    first = load_prompt(wanted[0])
    known = replace(first.provenance, init=text, run="", scores={}, note="")
    return SoftPrompt(_weight(expression, text), known)


def _weight(expression: Expression, text: str) -> Tensor:
    """The rows an expression stands for; one of saved prompts draws nothing from a model."""
    if isinstance(expression, Name):
        return load_prompt(expression.value).weight
    if not isinstance(expression, Mean):
        raise PromptError(f"'{text}': only saved prompts can be averaged here, not '{expression.kind}'")
    check_same_space(*(load_prompt(name) for name in names(expression)))
    return torch.stack([_weight(part, text) for part in expression.parts]).mean(0)


def _index(subject: Subject, task: str, base: Path | None) -> int:
    """Which of the subject's tasks this is, a file by the name it gives its task; the first where it is none of them."""
    name = find_task(task, base).name
    return subject.tasks.index(name) if name in subject.tasks else 0


def evaluate(
    subject: Subject, task: str, split: str = "test", options: EvalOptions | None = None, base: Path | None = None
) -> dict[str, Score]:
    """Every metric of a task on a split of its rows, with bootstrap intervals."""
    options = options or EvalOptions()
    learner = subject.learner
    data = [task_data(task, base, subject.data, 0, learner.lm)]
    index = _index(subject, task, base)
    data = data * (index + 1)  # rows carry the index of the run's task whose prompt they use
    decoded = outputs(learner, data, index, split, subject.shape, options, Workers())
    part, each = data[index].parts[split], data[index]
    references = [example.references for example in part.examples]
    groups = [example.group for example in part.examples]
    texts = [row.text for row in decoded]
    return {
        metric: score_texts(metric, texts, references, each.labels, groups, options.bootstrap)
        for metric in each.task.metrics
    }


def predict(
    subject: Subject, task: str, rows: Sequence[Row], which: Sequence[int] = (), options: EvalOptions | None = None,
    base: Path | None = None,
) -> list[str]:  # fmt: skip
    """Answers to unlabelled rows. `which` gives each row's prompt by index; rows may differ within one batch."""
    found, learner = find_task(task, base), subject.learner
    codec, options = learner.lm.text, options or EvalOptions()
    labels = found.labels(subject.data.labels)
    spoken = {codec.decode(ids): label for ids, label in zip(codec.targets(list(labels)), labels, strict=True)}
    default = _index(subject, task, base)
    sources = codec.sources([found.source(row, subject.data.prefix == "task") for row in rows], subject.data.cue)
    encoded = [
        EncodedRow(cut(ids, subject.data.max_source), (), which[i] if which else default)
        for i, ids in enumerate(sources)
    ]
    learner.lm.check_fits(learner.method.length, max((len(row.source) for row in encoded), default=0))
    decoded = decode_rows(learner, encoded, subject.shape, tuple(spoken), options)
    return [spoken.get(row.text, row.text) for row in decoded]
