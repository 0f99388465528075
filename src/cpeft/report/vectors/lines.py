"""Lines of runs: one initialisation or method over numbers of training examples and seeds.

A line holds the runs that share their label but for the number of examples. Runs without training that start the same way,
whatever their label, are its points at 0. Where a label stands for several starts of a task, or several runs claim one point,
the stages are lines of their own; where several runs of one stage claim a point, there is no line. The base is plain prompt
tuning from a drawn prompt, one task per run: of several the line that trains longest, then the one with most points. A line
that trains for another number of steps says so in its name. A short training whose only use was to weigh sources by
(`weighted(...)`) is a part of those runs and no line to compare with.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from cpeft.prompts.formula.tree import Call, Fresh, names
from cpeft.report.study import GRID, Run, distinct
from cpeft.report.vectors.starts import DRAWN, formula_of, headline

Shots = int | Literal["full"]
PLAIN = "prompt_tuning"
ROWS = ("few_shot", "few_shot_per", "limit_train", "limit_validation", "limit_test")  # how many rows, not how they read


@dataclass(frozen=True)
class Trial:
    """A run and one task of it, with what decides whether it belongs to a line."""

    run: Run
    task: str
    seed: int
    shots: Shots  # 0 where nothing was trained
    per: str  # class or total
    start: str  # the settings of its starting prompt, its method and its text
    plain: bool  # prompt tuning of this task alone, from a prompt that is drawn from the model and mixed with nothing

    @classmethod
    def of(cls, run: Run, task: str) -> "Trial":
        config = run.config
        data, formula = config.get("data", {}), formula_of(config)
        shots, per = _examples(data, run.result.data[task].rows["train"])
        start: dict[str, Any] = {key: config[key] for key in ("prompt", "method", "sources", "source") if key in config}
        start["data"] = {key: value for key, value in data.items() if key not in ROWS}
        return cls(
            run, task, run.result.seed,
            shots=shots if run.result.steps else 0, per=per,
            start=GRID.sub("", json.dumps(start, sort_keys=True)),  # a start may be that of the same place in the grid
            plain=run.result.method == PLAIN and len(run.result.tasks) == 1
            and isinstance(formula, Fresh) and formula.kind in DRAWN and not config.get("sources"),
        )  # fmt: skip

    @property
    def point(self) -> tuple[str, Shots, int]:
        return self.task, self.shots, self.seed

    @property
    def own(self) -> bool:
        """Whether what was learned is the task's alone: the run has no other task, or a target prompt for each. A sum of
        vectors and a prompt trained on several tasks belong to all of them together."""
        result = self.run.result
        return len(result.tasks) == 1 or self.task in result.prompts


def _examples(data: Mapping[str, Any], rows: int) -> tuple[Shots, str]:
    """How many examples the settings `data` ask for, per class or in total; `rows` were trained on. A limit above what a task
    has leaves nothing out; of rows in whole groups (MultiRC's) somewhat fewer are drawn than it says, which looks the same."""
    few, limit = data.get("few_shot", "full"), data.get("limit_train")
    if few == "full" and limit is not None and rows >= limit:
        return limit, "total"
    return few, data.get("few_shot_per", "class")


@dataclass(frozen=True)
class Line:
    """One initialisation or method; `plain` where it is prompt tuning of single tasks from drawn prompts. `bare` are the
    folders of its untrained runs by task, which lines that start alike share; these are called `as_it_is`."""

    name: str
    stage: str
    plain: bool
    steps: int | None  # of training on few examples, where all runs have the same
    scores: Mapping[str, Mapping[Shots, Mapping[int, float]]]  # test scores by task, number of examples and seed
    bare: Mapping[str, frozenset[Path]] = field(default_factory=dict)
    as_it_is: str = ""
    label: str = ""  # of its runs, without the number of examples
    trainable: tuple[int, ...] = ()  # parameters of its trained runs, in rising order

    @property
    def points(self) -> int:
        """Numbers of examples, over all tasks."""
        return sum(map(len, self.scores.values()))

    def at(self, task: str, shots: Shots) -> Mapping[int, float]:
        return self.scores.get(task, {}).get(shots, {})


def rising(shots: Iterable[Shots]) -> list[Shots]:
    """Numbers of examples in rising order, all rows last."""
    return sorted(shots, key=lambda k: float("inf") if k == "full" else k)


def examples(shots: Shots) -> str:
    """A number of training examples in words."""
    return "untrained" if shots == 0 else "all rows" if shots == "full" else f"{shots} examples"


def gather(trials: Sequence[Trial]) -> list[Line]:
    """The lines of trained runs with their untrained points, the base first."""
    labels: dict[str, list[Trial]] = {}
    for trial in trials:
        if trial.shots != 0:
            labels.setdefault(trial.run.method, []).append(trial)
    lines = []
    for label, members in labels.items():
        apart, stages = _clash(members), dict[str, list[Trial]]()
        for trial in members:
            stages.setdefault(trial.run.result.stage if apart else "", []).append(trial)
        for part in stages.values():
            if len({trial.point for trial in part}) < len(part):
                continue
            starts = {(trial.task, trial.start) for trial in part}
            bare = [trial for trial in trials if trial.shots == 0 and (trial.task, trial.start) in starts]
            lines.append(_line(label, bare, part))
    counts = Counter(line.name for line in lines)
    named = [replace(line, name=f"{line.name} ({line.stage})") if counts[line.name] > 1 else line for line in lines]
    ordered = sorted(
        named, key=lambda line: (not line.plain, -(line.steps or 0), -line.points) if line.plain else (True,)
    )
    return [replace(line, name=line.name + _otherwise(line, ordered[0])) for line in ordered]


def _otherwise(line: Line, base: Line) -> str:
    """What a name says of a training of another length than the base's."""
    return f" (trained for {line.steps} steps)" if line.steps and base.steps and line.steps != base.steps else ""


def without_probes(lines: Sequence[Line], runs: Iterable[Run]) -> list[Line]:
    """The lines but those of shorter training than the base's, from stages that runs refer to as the probe of a weighted start
    and never as anything else."""
    probed, used = set[str](), set[str]()
    for run in runs:
        formula, sources = formula_of(run.config), run.config.get("sources", [])
        match formula:
            case Call("weighted", (probe, *parts)):
                probed |= {_stage(name) for name in names(probe)}
            case _:
                parts = [formula]
        used |= {_stage(name) for part in parts for name in names(part)}
        used |= {_stage(name) for name in ([sources] if isinstance(sources, str) else sources)}
    base = lines[0].steps if lines and lines[0].plain else None
    return [line for line in lines if not (base and line.steps and line.steps < base and line.stage in probed - used)]


def _stage(reference: str) -> str:
    return reference.partition("/")[0]


def _clash(trials: Sequence[Trial]) -> bool:
    starts = {(trial.task, trial.start) for trial in trials}
    points = {trial.point for trial in trials}
    return len(points) < len(trials) or len({task for task, _ in starts}) < len(starts)


def _line(name: str, bare: Sequence[Trial], trained: Sequence[Trial]) -> Line:
    scores: dict[str, dict[Shots, dict[int, float]]] = {}
    for trial in (*bare, *trained):
        scores.setdefault(trial.task, {}).setdefault(trial.shots, {})[trial.seed] = headline(trial.run, trial.task)
    steps = {trial.run.result.steps for trial in trained if trial.shots != "full"}
    one = steps.pop() if len(steps) == 1 else None
    called = distinct(trial.run.method for trial in bare)
    folders = {
        task: frozenset(t.run.folder.path for t in bare if t.task == task) for task in distinct(t.task for t in bare)
    }
    plain = all(trial.plain for trial in (*bare, *trained))
    sizes = {trial.run.result.trainable for trial in trained}
    trainable = tuple(sorted(size for size in sizes if size is not None))
    stage = trained[-1].run.result.stage
    return Line(name, stage, plain, one, scores, folders, " and ".join(called), name, trainable)


def untrained(lines: Sequence[Line]) -> list[Line]:
    """The lines that have untrained runs, under the name of these: of lines that start alike, and so share them, the first."""
    firsts: dict[frozenset[tuple[str, frozenset[Path]]], Line] = {}
    for line in lines:
        if line.bare:
            firsts.setdefault(frozenset(line.bare.items()), replace(line, name=line.as_it_is))
    counts = Counter(line.name for line in firsts.values())
    return [
        replace(each, name=f"{each.name} ({each.stage})") if counts[each.name] > 1 else each for each in firsts.values()
    ]
