"""What `cpeft eval`, `predict` and the Python functions act on: a run, a prompt, or an expression of prompts, on a model."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

import torch
from torch import Tensor

from cpeft.config import merge, override, parse
from cpeft.data.options import DataOptions
from cpeft.data.resolve import read_rows
from cpeft.errors import ConfigError, PromptError, PromptMismatch
from cpeft.evaluation.decoding import EvalOptions, decode_rows
from cpeft.evaluation.scoring import Score
from cpeft.methods.bank import PromptBank
from cpeft.models.loading import Dtype, FrozenLM, ModelOptions, load_lm
from cpeft.models.prompted import PromptedLM
from cpeft.models.saved import load_method
from cpeft.prompts.exchange import load_prompt
from cpeft.prompts.expression import Expression, Mean, Name, names, parse_expression
from cpeft.prompts.soft_prompt import SoftPrompt, check_same_space, read_json, replace_text
from cpeft.study.answers import answers, score_decoded
from cpeft.study.prepare import same_space
from cpeft.study.settings import find_task
from cpeft.study.task_data import encode_sources, spoken_labels, task_data
from cpeft.tasks import Row, Task
from cpeft.training.workers import Workers


@dataclass(frozen=True)
class Subject:
    """A learner ready to answer, the seed its few-shot rows were drawn with, and how it was evaluated."""

    learner: PromptedLM
    subset: int = 0
    eval: EvalOptions = field(default_factory=EvalOptions)

    def with_settings(self, data: DataOptions, options: EvalOptions) -> "Subject":
        """The same learner under other text or evaluation options."""
        return replace(self, learner=PromptedLM(self.learner.lm, self.learner.method, data), eval=options)

    def index(self, task: Task) -> int:
        """The task's index within the run; raises ConfigError where the prompt depends on it and the run has no such task."""
        tasks = self.learner.method.tasks
        if task.name in tasks or not self.learner.method.by_task or isinstance(self.learner.method, PromptBank):
            return tasks.index(task.name) if task.name in tasks else 0
        raise ConfigError(f"this run has a prompt for each of {', '.join(tasks)} and none for '{task.name}'")


def load_subject(text: str, model: str | None = None, lm: FrozenLM | None = None) -> Subject:
    """A run folder, a prompt folder or file, or an expression over prompt paths such as `mean(a, b)`."""
    path = Path(text)
    if (path / "method" / "method.json").exists():
        card = read_json(path / "method" / "method.json")
        if lm is None:
            options = parse(
                ModelOptions, {**card["lm"], "name": model or card["model"], "dtype": card["dtype"]}, "model"
            )
            lm = load_lm(**(options.model_dump() | ({"revision": None} if model else {})))
        scoring = parse(EvalOptions, card["eval"], "eval", path / "method" / "method.json")
        return Subject(load_method(path / "method", lm), card["subset"], scoring)
    return prompts_subject({text: _evaluate(text)}, model, lm)


def prompts_subject(prompts: Mapping[str, SoftPrompt], model: str | None = None, lm: FrozenLM | None = None) -> Subject:
    """Prompts of one model, each usable by any row, under the text options they were trained with."""
    first = next(iter(prompts.values())).provenance
    name = model or first.model
    if lm is None and not name:
        raise ConfigError("this prompt does not say which model it belongs to: give --model")
    lm = lm or load_lm(name, first.revision if not model else None, cast(Dtype, first.dtype or "auto"))
    for text, prompt in prompts.items():
        same_space(prompt, text, lm)
        if prompt.provenance.text != first.text:
            raise PromptMismatch(
                f"prompt '{text}' was trained on other text ({prompt.provenance.text}) than the first ({first.text}); "
                "answer their rows in separate calls"
            )
    return Subject(PromptedLM(lm, PromptBank(prompts), parse(DataOptions, first.text, "data")))


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


def evaluate(subject: Subject, task: str, split: str = "test", base: Path | None = None) -> dict[str, Score]:
    """Every metric of a task on a split of its rows, with bootstrap intervals."""
    learner = subject.learner
    each = task_data(task, base, learner.data, subject.subset, learner.lm)
    decoded = answers(learner, each, subject.index(each.task), split, subject.eval, Workers())
    return score_decoded(each, split, decoded, subject.eval.bootstrap)


def predict(
    subject: Subject, task: str, rows: Sequence[Row], which: Sequence[int] = (), base: Path | None = None
) -> list[str]:
    """Answers to unlabelled rows. `which` gives each row's prompt by index; rows may differ within one batch."""
    found, learner = find_task(task, base), subject.learner
    spoken = spoken_labels(found, learner.data, learner.lm.text)
    texts = [found.source(row, learner.data.prefix == "task") for row in rows]
    index = which or [subject.index(found)] * len(texts)
    encoded = [
        replace(row, task=i)
        for row, i in zip(encode_sources(texts, learner.data, learner.lm.text)[0], index, strict=True)
    ]
    closed = tuple(spoken) if found.labels(learner.data.labels) else ()
    decoded = decode_rows(learner, encoded, learner.shape, closed, subject.eval)
    return [spoken.get(row.text, row.text) for row in decoded]


def predict_file(what: str, task: str, rows: Path, out: Path, settings: Sequence[str], model: str | None) -> int:
    """Answer the rows of a JSONL, CSV or Parquet file into a JSONL file; a column `prompt` may name each row's prompt.
    Returns the number of rows."""
    table = read_rows(rows).to_pylist()
    wanted = [str(row.pop("prompt", None) or what) for row in table]
    paths = list(dict.fromkeys(wanted))
    if paths == [what]:
        subject, which = load_subject(what, model), []
    else:
        subject = prompts_subject({path: load_prompt(path) for path in paths}, model)
        which = [paths.index(path) for path in wanted]
    texts = predict(overridden(subject, settings), task, table, which, Path())
    out.parent.mkdir(parents=True, exist_ok=True)
    lines = [
        json.dumps({**row, "prediction": text}, ensure_ascii=False, default=str)
        for row, text in zip(table, texts, strict=True)
    ]
    replace_text(out, "".join(line + "\n" for line in lines))
    return len(lines)


def overridden(subject: Subject, settings: Sequence[str]) -> Subject:
    """A subject under `data.*` and `eval.*` settings of a command line."""
    if not settings:
        return subject
    now = {"data": subject.learner.data.model_dump(), "eval": subject.eval.model_dump()}
    table = merge(now, *(override(argument) for argument in settings))
    if other := sorted(set(table) - set(now)):
        raise ConfigError(f"only data.* and eval.* can be set here, not {', '.join(other)}")
    return subject.with_settings(parse(DataOptions, table["data"], "data"), parse(EvalOptions, table["eval"], "eval"))
