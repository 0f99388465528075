"""The public functions: train, evaluate and predict from Python, without a recipe.

lm = cpeft.load_lm("t5-small")
learner = cpeft.train(lm, "rte", prompt={"length": 20}, train={"steps": 500})
cpeft.evaluate(learner, "rte")["accuracy"]
cpeft.predict(learner, "rte", [{"sentence1": "...", "sentence2": "..."}])
"""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cpeft.config import digest
from cpeft.errors import ConfigError
from cpeft.evaluation.task_data import task_data
from cpeft.models.loading import FrozenLM
from cpeft.models.prompted import PromptedLM
from cpeft.prompts.exchange import load_prompt
from cpeft.prompts.soft_prompt import SoftPrompt, read_tensors
from cpeft.store.result import Score
from cpeft.store.run_folder import RunFolder
from cpeft.study.recipe.settings import parse_settings, run_id
from cpeft.study.runner.prepare import make_learner, make_member, same_space
from cpeft.tasks import Row
from cpeft.training.engine import train_gang
from cpeft.training.workers import Workers
from cpeft.use.target import Subject, load_subject, prompts_subject


def train(
    lm: FrozenLM,
    tasks: str | Sequence[str],
    sources: Mapping[str, SoftPrompt] | None = None,
    start: SoftPrompt | None = None,
    seed: int = 0,
    folder: str | Path | None = None,
    **settings: Any,
) -> PromptedLM:
    """Train a method on one task (or several together) and return the learner in its best state.

    `sources` are the prompts that methods such as ATTEMPT mix; `start` is the prompt training starts from, instead of
    `prompt.init`. `settings` are a recipe's tables (`prompt`, `method`, `data`, `optim`, `train`, `eval`) as dictionaries. With
    a `folder`, repeating an interrupted call resumes from the last checkpoint. `learner.export()` returns the trained
    SoftPrompts. Raises ConfigError for settings that do not fit, and what training raises.
    """
    if alien := sorted({"track", "energy", "predictions"} & settings.keys()):
        raise ConfigError(f"train() keeps no run folder, and [{alien[0]}] needs one; use `cpeft run`")
    names = (tasks,) if isinstance(tasks, str) else tuple(tasks)
    if start is not None:
        settings["prompt"] = {**settings.get("prompt", {}), "init": "start", "length": start.length}
    run = parse_settings({**settings, "tasks": names, "seed": seed, "model": {"name": lm.name}})
    if run.changes_model and (sources or start is not None):
        raise ConfigError(f"method '{run.method.name}' trains no prompt: leave out sources and start")
    data = tuple(task_data(name, None, run.data, run.seed_for("subset"), lm) for name in names)
    sources = dict(sources or {})

    def resolve(name: str) -> SoftPrompt:
        return same_space(start, name, lm) if start is not None and name == "start" else load_prompt(name)

    learner = make_learner(run, lm, data, sources, resolve, lambda path: read_tensors(Path(path)))
    given = sources if start is None else {**sources, "start": start}
    starts = {name: prompt.weight.flatten().tolist() for name, prompt in given.items()}
    rows = [each.dataset.fingerprint for each in data]
    identity = run_id(run, {"lm": [lm.fingerprint, lm.dtype], "rows": rows, "starts": digest(starts)})
    with tempfile.TemporaryDirectory() as scratch:
        place = RunFolder(Path(folder or scratch))
        member = make_member(run, learner, data, place, Workers(), name="+".join(names), identity=identity)
        train_gang([member], run.gang)
    if member.failure is not None:
        raise member.failure
    return learner


def evaluate(
    what: PromptedLM | SoftPrompt | str, task: str, lm: FrozenLM | None = None, split: str = "test", **data: Any
) -> dict[str, Score]:
    """Scores with 95% intervals of a learner, a prompt, or the path of a run or prompt, under the text options
    it was trained with, changed by `data` (settings of `[data]`)."""
    return _subject(what, lm, data).evaluate(task, split)


def predict(
    what: PromptedLM | SoftPrompt | str, task: str, rows: Sequence[Row], lm: FrozenLM | None = None, **data: Any
) -> list[str]:
    """Answers to unlabelled rows of a task."""
    return _subject(what, lm, data).predict(task, rows)


def _subject(what: PromptedLM | SoftPrompt | str, lm: FrozenLM | None, data: dict[str, Any]) -> Subject:
    if isinstance(what, PromptedLM):
        found = Subject(what)
    elif isinstance(what, SoftPrompt):
        found = prompts_subject({"prompt": what}, lm=lm)
    else:
        found = load_subject(what, lm=lm)
    return found.under({"data": data}) if data else found
