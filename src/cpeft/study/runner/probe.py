"""The cost of the unfinished runs of a study: a few steps and rows of every kind of run are timed and extrapolated.

    seconds of a run = steps * s/step + rows answered * s/row,   rows answered = evaluations * validation rows + test rows

Runs of one kind differ in seeds, rates and initial prompts, which take no time; vocabulary rows replace prompts that do not
exist yet. Loading models and rows is not counted, nor is it in a run's `seconds`; early stopping is not considered.
"""

import tempfile
import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path
from typing import Any

from cpeft.evaluation.task_data import SplitData, TaskData, task_data
from cpeft.models.loading import FrozenLM
from cpeft.prompts.formula.parse import parse_prompt
from cpeft.prompts.soft_prompt import SoftPrompt
from cpeft.store.run_folder import RunFolder
from cpeft.study.recipe.runs import TrainingRun
from cpeft.study.recipe.settings import RunSettings, located_model
from cpeft.study.runner.plan import Plan
from cpeft.study.runner.prepare import make_learner, make_member, model_in, model_of
from cpeft.training.callbacks import Callback, RunInTraining
from cpeft.training.carbon import Meter
from cpeft.training.engine import train_gang
from cpeft.training.member import Member
from cpeft.training.memory import free
from cpeft.training.workers import Workers

STEPS, ROWS = 4, 16  # of a probe; the first step is a warm-up and not timed


@dataclass(frozen=True)
class Estimate:
    """Hours in one process, and kWh if electricity can be measured here (`reason` says why not). `runs` counts the pending
    training runs, `kinds` their kinds, and `unprobed` the runs that are estimated by the mean of the others."""

    runs: int
    kinds: int
    unprobed: int
    hours: float
    kwh: float | None
    reason: str


class _Clock(Callback):
    """Records the time at the end of each step."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def on_step(self, member: RunInTraining, record: dict[str, Any]) -> None:
        self.times.append(time.monotonic())


def estimate(plan: Plan, progress: Callable[[int, int], None] = lambda done, kinds: None) -> Estimate:
    """Probe every kind of pending training run; `progress` is called with the number of kinds that are done and of all kinds.
    Raises the same CpeftErrors as the runs."""
    pending = [entry.run for entry in plan.entries() if entry.state.pending]
    kinds: dict[Hashable, list[TrainingRun]] = {}
    for run in pending:
        if isinstance(run, TrainingRun):
            kinds.setdefault(run.kind, []).append(run)
    if not kinds:
        return Estimate(0, 0, 0, 0.0, 0.0, "")
    meter = Meter(plan.recipe.training[0].settings.energy)
    meter.start()
    seconds, probed = 0.0, 0
    for number, runs in enumerate(kinds.values()):
        progress(number, len(kinds))
        if not runs[0].settings.method.references():  # otherwise it needs a trained attention, which may not exist yet
            seconds += len(runs) * _seconds(runs[0], plan)
            probed += len(runs)
            free()
    spent = meter.stop()
    total = sum(map(len, kinds.values()))
    seconds *= total / max(probed, 1)
    kwh = None if spent is None else seconds * spent.kwh / spent.seconds
    return Estimate(total, len(kinds), total - probed, seconds / 3600, kwh, meter.reason)


def _seconds(run: TrainingRun, plan: Plan) -> float:
    """Seconds of one run, estimated by a probe."""
    prompt = run.settings.prompt.model_copy(update={"init": parse_prompt("vocab")})
    settings = run.settings.model_copy(update={"prompt": prompt})
    lm = model_of(model_in(plan.store, located_model(settings.model, run.base)))
    data = [task_data(name, run.base, settings.data, settings.seed_for("subset"), lm) for name in settings.tasks]
    sources = _stand_ins(run, plan, lm)
    with tempfile.TemporaryDirectory() as folder:
        whole = _member(settings, lm, data, sources, Path(folder))
        evaluations = max(ceil(whole.total / whole.interval), 1) if whole.trainable else 0
        rows = sum(evaluations * len(task.parts["validation"].rows) + len(task.parts["test"].rows) for task in data)
        step_s, row_s = _time(settings, lm, data, sources, Path(folder), trains=whole.total > 0)
    return whole.total * step_s + rows * row_s


def _stand_ins(run: TrainingRun, plan: Plan, lm: FrozenLM) -> dict[str, SoftPrompt]:
    """Vocabulary prompts, as many as the run will mix."""
    named = [plan.references.named(reference, run) for reference in run.settings.sources]
    count = sum(sum(len(need.tasks) for need in needs) or 1 for needs in named)  # a file is one prompt
    length = run.settings.prompt.length
    rows_PD = lm.vocabulary.table_VD[:length].clone()
    mixes = run.settings.method.uses_sources
    return {f"source {i}": SoftPrompt(rows_PD) for i in range(count)} if mixes else {}


def _member(
    settings: RunSettings, lm: FrozenLM, data: Sequence[TaskData], sources: dict[str, SoftPrompt], folder: Path,
    callbacks: Sequence[Callback] = (),
) -> Member:  # fmt: skip
    learner = make_learner(settings, lm, data, sources, sources.__getitem__, lambda name: {})
    return make_member(settings, learner, data, RunFolder(folder), Workers(), name="probe", callbacks=callbacks)


def _time(
    settings: RunSettings, lm: FrozenLM, data: Sequence[TaskData], sources: dict[str, SoftPrompt], folder: Path, trains: bool
) -> tuple[float, float]:  # fmt: skip
    """Seconds per step and per answered row."""
    few = [
        replace(task, parts={**task.parts, **{p: _first(task.parts[p]) for p in ("validation", "test")}})
        for task in data
    ]
    steps = {"steps": STEPS if trains else 0, "epochs": None, "eval_every": STEPS, "log_every": 1}
    short = settings.model_copy(update={"train": settings.train.model_copy(update=steps)})
    clock = _Clock()
    member = _member(short, lm, few, sources, folder, [clock])
    train_gang([member], short.gang)
    if member.failure:
        raise member.failure
    began = time.monotonic()
    for index, task in enumerate(few):
        task.answers(member.learner, index, "test", short.eval)
    row_s = (time.monotonic() - began) / sum(len(task.parts["test"].rows) for task in few)
    return (clock.times[-1] - clock.times[0]) / (STEPS - 1) if trains else 0.0, row_s


def _first(part: SplitData) -> SplitData:
    return replace(part, examples=part.examples[:ROWS], rows=part.rows[:ROWS])
