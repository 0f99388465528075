"""What the comparisons of a planned study can show at best: the least p that each of them can reach after correction.

The planned runs get made-up scores by which every method differs from every other one in the same direction in all tasks and
seeds, so each p-value is the least that is possible. The boards of such runs are those that the report will have, made and
judged by the same functions.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cpeft.config import Table
from cpeft.report.study import Run, Study, distinct, named_apart
from cpeft.report.top.board import Board, boards, enough
from cpeft.stats.intervals import ALPHA
from cpeft.store.result import DataInfo, ModelInfo, RunResult, Score, Seconds
from cpeft.store.run_folder import RunFolder, Store

METRIC = "accuracy"  # of the made-up scores
MANY = 10**9  # rows, more than any limit


@dataclass(frozen=True)
class Outline:
    """A planned run as far as comparisons depend on it; `config` has the settings that are not at their defaults, `steps` is 0
    for a run that trains nothing."""

    stage: str
    label: str
    name: str
    tasks: tuple[str, ...]
    method: str
    seed: int
    steps: int
    config: Table


@dataclass(frozen=True)
class Power:
    """The comparisons of one board: how many methods are compared with `base` (empty where there is none, and nothing is
    tested) over how many `units`, the largest of their least p-values after correction (None where nothing can be tested), and
    how many of them cannot be significant. `needed` are the units that one comparison needs, and as many as here."""

    where: str
    base: str
    comparisons: int
    units: int
    of: str
    least_p: float | None
    hopeless: int
    needed: tuple[int, int]

    @classmethod
    def of_board(cls, board: Board) -> "Power":
        tested = [each.tested for each in board.methods if each.tested]
        rivals = len(board.methods) - 1
        units = min((each.paired.units for each in tested), default=1)
        return cls(
            where=board.where,
            base=board.base,
            comparisons=rivals if board.base else 0,
            units=units,
            of=board.units,
            least_p=max((each.p for each in tested), default=None),
            hopeless=sum(each.p > ALPHA for each in tested) + rivals - len(tested) if board.base else 0,
            needed=(enough(1), enough(rivals)),
        )

    @property
    def line(self) -> str:
        """In words."""
        if not self.base:
            return (
                f"{self.where}: no baseline (plain prompt tuning, or a method without training), so nothing is tested"
            )
        what = f"{self.comparisons} comparison{'s' * (self.comparisons > 1)} with {self.base}"
        least = "nothing can be tested" if self.least_p is None else f"least p after correction {self.least_p:.2g}"
        return f"{what} over {self.units} {self.of[: -1 if self.units == 1 else None]}, {least}"

    @property
    def warning(self) -> str:
        """Why some or all comparisons cannot be significant, and what they need; empty where all can."""
        if not self.hopeless:
            return ""
        who = (
            "no comparison can"
            if self.hopeless == self.comparisons
            else f"{self.hopeless} of {self.comparisons} cannot"
        )
        least = "" if self.least_p is None else f"least {self.least_p:.2g}; "
        one, every = self.needed
        needs = f"{one} {self.of} are needed for one comparison"
        needs += f", {every} for {self.comparisons}" if self.comparisons > 1 else ""
        units = f"{self.units} {self.of[: -1 if self.units == 1 else None]}"
        return f"with {units} {who} reach p <= {ALPHA} ({least}{needs})"


def power(planned: Sequence[Outline]) -> list[Power]:
    """The comparisons of all planned boards, the largest first."""
    values = {key: place + 1.0 for place, key in enumerate(distinct((run.stage, run.label) for run in planned))}
    runs = named_apart([_finished(run, values[run.stage, run.label]) for run in planned])
    return [Power.of_board(board) for board in boards(Study(Store("planned"), runs, ()))]


def in_short(found: Sequence[Power]) -> list[tuple[str, Power]]:
    """Where comparisons are, and their power; boards of the same power are put together."""
    groups: dict[Power, list[Power]] = {}
    for each in found:
        groups.setdefault(replace(each, where=""), []).append(each)
    return [(alike[0].where + _more(len(alike) - 1), alike[0]) for alike in groups.values()]


def _more(count: int) -> str:
    return f" (and {count} more leaderboard{'s' * (count > 1)} alike)" if count else ""


def _finished(run: Outline, value: float) -> Run:
    """The run as if it were finished, with one score on all of its tasks."""
    about = DataInfo(version=1, origin="", rows={"train": MANY}, majority=None, labels=(), headline=METRIC, notes=())
    result = RunResult(
        stage=run.stage, label=run.label, name=run.name, tasks=run.tasks, method=run.method, seed=run.seed, prompts=run.tasks,
        scores={task: {METRIC: Score(value, value, value)} for task in run.tasks}, data=dict.fromkeys(run.tasks, about),
        steps=run.steps, trainable=int(run.steps > 0), model=ModelInfo(name="", dtype=""),
        seconds=Seconds(training=0.0, scoring=0.0), versions={}, hardware={},
    )  # fmt: skip
    return Run(RunFolder(Path(run.stage) / f"{run.name}-planned"), result, run.config, run.label)
