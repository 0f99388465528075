"""The public functions `train`, `evaluate` and `predict`: one prompt, one model, no recipe.

lm = cpeft.load_lm("t5-small")
learner = cpeft.train(lm, "rte", prompt={"length": 20}, train={"steps": 500})
cpeft.evaluate(learner, "rte")["accuracy"]
cpeft.predict(learner, "rte", [{"sentence1": "...", "sentence2": "..."}])
"""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cpeft.config import parse
from cpeft.data.options import DataOptions
from cpeft.evaluation.scoring import Score
from cpeft.models.loading import FrozenLM
from cpeft.models.prompted import PromptedLM
from cpeft.prompts.exchange import load_prompt
from cpeft.prompts.soft_prompt import SoftPrompt
from cpeft.study import subject as subjects
from cpeft.study.prepare import make_learner, shape_of, train_rows, validate
from cpeft.study.settings import parse_settings
from cpeft.study.task_data import task_data
from cpeft.tasks import Row
from cpeft.training.engine import train_gang
from cpeft.training.member import Member
from cpeft.training.workers import Workers


def train(
    lm: FrozenLM,
    tasks: str | Sequence[str],
    sources: Mapping[str, SoftPrompt] | None = None,
    seed: int = 0,
    folder: str | Path | None = None,
    **settings: Any,
) -> PromptedLM:
    """Train a method on one task (or several together) and return the learner in its best state.

    `settings` are a recipe's tables (`prompt`, `method`, `data`, `optim`, `train`, `eval`) as dictionaries. With a `folder`
    the same call after a kill goes on from the last checkpoint. `learner.export()` gives the trained SoftPrompts.
    """
    names = (tasks,) if isinstance(tasks, str) else tuple(tasks)
    run = parse_settings({**settings, "tasks": names, "seed": seed, "model": {"name": lm.name}})
    data = tuple(task_data(name, None, run.data, run.seed_for("subset"), lm) for name in names)

    def no_state(reference: str) -> dict[str, Any]:
        from cpeft.prompts.soft_prompt import read_tensors

        return read_tensors(Path(reference))

    learner = make_learner(run, lm, data, dict(sources or {}), load_prompt, no_state)
    shape = shape_of(run, lm, learner.method.length)
    with tempfile.TemporaryDirectory() as scratch:
        member = Member(
            name="+".join(names), learner=learner, rows=train_rows(data), shape=shape, options=run.train, optim=run.optim,
            order_seed=run.seed_for("order"), dropout_seed=run.seed_for("dropout"), folder=Path(folder or scratch),
            evaluate=lambda: validate(learner, data, shape, run, Workers()), scale=lm.embedding_rms,
        )  # fmt: skip
        train_gang([member], run.gang)
    if member.failure is not None:
        raise member.failure
    return learner


def evaluate(
    what: PromptedLM | SoftPrompt | str, task: str, lm: FrozenLM | None = None, split: str = "test", **data: Any
) -> dict[str, Score]:
    """Scores with 95% intervals of a learner, a prompt, or the path of a run or prompt; `data` as in `[data]`."""
    return subjects.evaluate(_subject(what, lm, data), task, split)


def predict(
    what: PromptedLM | SoftPrompt | str, task: str, rows: Sequence[Row], lm: FrozenLM | None = None, **data: Any
) -> list[str]:
    """Answers to unlabelled rows of a task."""
    return subjects.predict(_subject(what, lm, data), task, rows)


def _subject(what: PromptedLM | SoftPrompt | str, lm: FrozenLM | None, data: dict[str, Any]) -> subjects.Subject:
    if isinstance(what, PromptedLM):
        return subjects.Subject(what, parse(DataOptions, data, "data"), what.method.tasks)
    if isinstance(what, SoftPrompt):
        found = subjects.prompts_subject({"prompt": what}, lm=lm)
    else:
        found = subjects.load_subject(what, lm=lm)
    return subjects.Subject(found.learner, parse(DataOptions, data, "data"), found.tasks) if data else found
