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

from cpeft.config import digest, parse
from cpeft.data.options import DataOptions
from cpeft.evaluation.scoring import Score
from cpeft.models.loading import FrozenLM
from cpeft.models.prompted import PromptedLM
from cpeft.prompts.exchange import load_prompt
from cpeft.prompts.soft_prompt import SoftPrompt, read_tensors
from cpeft.study import subject as subjects
from cpeft.study.prepare import make_learner, train_rows, validate
from cpeft.study.settings import RunSettings, parse_settings, run_id
from cpeft.study.task_data import TaskData, task_data
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

    learner = make_learner(run, lm, data, dict(sources or {}), load_prompt, lambda path: read_tensors(Path(path)))
    with tempfile.TemporaryDirectory() as scratch:
        member = Member(
            name="+".join(names), learner=learner, rows=train_rows(data), shape=learner.shape, options=run.train,
            optim=run.optim, order_seed=run.seed_for("order"), dropout_seed=run.seed_for("dropout"),
            folder=Path(folder or scratch), evaluate=lambda: validate(learner, data, run, Workers()),
            scale=lm.embedding_rms, identity=_identity(run, data, lm, sources),
        )  # fmt: skip
        train_gang([member], run.gang)
    if member.failure is not None:
        raise member.failure
    return learner


def _identity(
    run: RunSettings, data: Sequence[TaskData], lm: FrozenLM, sources: Mapping[str, SoftPrompt] | None
) -> str:
    """What a checkpoint must agree with to be gone on from."""
    starts = {name: prompt.weight.flatten().tolist() for name, prompt in (sources or {}).items()}
    rows = [each.fingerprint for each in data]
    return run_id(run, {"lm": [lm.fingerprint, lm.dtype], "rows": rows, "starts": digest(starts)})


def evaluate(
    what: PromptedLM | SoftPrompt | str, task: str, lm: FrozenLM | None = None, split: str = "test", **data: Any
) -> dict[str, Score]:
    """Scores with 95% intervals of a learner, a prompt, or the path of a run or prompt, under the text options
    it was trained with unless `data` (as in `[data]`) says otherwise."""
    return subjects.evaluate(_subject(what, lm, data), task, split)


def predict(
    what: PromptedLM | SoftPrompt | str, task: str, rows: Sequence[Row], lm: FrozenLM | None = None, **data: Any
) -> list[str]:
    """Answers to unlabelled rows of a task."""
    return subjects.predict(_subject(what, lm, data), task, rows)


def _subject(what: PromptedLM | SoftPrompt | str, lm: FrozenLM | None, data: dict[str, Any]) -> subjects.Subject:
    if isinstance(what, PromptedLM):
        found = subjects.Subject(what)
    elif isinstance(what, SoftPrompt):
        found = subjects.prompts_subject({"prompt": what}, lm=lm)
    else:
        found = subjects.load_subject(what, lm=lm)
    options = parse(DataOptions, {**found.learner.data.model_dump(), **data}, "data")
    return found.with_settings(options, found.eval) if data else found
