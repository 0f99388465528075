"""Boards: methods that were scored on the same tasks after training on as many examples, and how sure their order is.

Two looks at the same scores: each method against a baseline, with Holm's correction over the methods, and mean ranks over
tasks with the tests of Friedman and Nemenyi. A task counts once, as the mean of a method's seeds: seeds of one task are alike,
and say nothing of other tasks. On a single task the units are the seeds that both methods have. What was not trained, such as
the model without a prompt, stands beside the trained methods.

The baseline is plain prompt tuning from a drawn prompt, one task per run; without that, the first method that was not trained.
The best group are the leader and all methods that are not significantly worse (Holm's correction over the others). It is empty
where no difference could be significant, and holds no method that is at chance on every task.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from cpeft.prompts.formula.tree import Fresh, Name
from cpeft.report.study import Run, Study, distinct
from cpeft.report.summary import at_chance, constants, scale_of
from cpeft.report.vectors.lines import Line, Shots, Trial, examples, gather, rising, untrained, without_probes
from cpeft.report.vectors.starts import formula_of, headline
from cpeft.stats.corrected_tests import Tested, judged
from cpeft.stats.intervals import ALPHA, Verdict
from cpeft.stats.many import Ranking, rank_methods
from cpeft.stats.paired import Paired, compare

Scores = Mapping[str, Mapping[int, float]]  # by task and seed
NO_PROMPT = "no_prompt"


@dataclass(frozen=True)
class Standing:
    """A method of a board. `tested` is its difference to the baseline (None of the baseline, and where there is none or too few
    units), `chance` the tasks on which its mean does not beat the best constant answer; `label` is that of its runs."""

    name: str
    label: str
    scores: Scores
    trainable: tuple[int, ...]
    chance: frozenset[str]
    tested: Tested | None = None

    @property
    def means(self) -> dict[str, float]:
        """Mean over seeds by task."""
        return {task: float(np.mean(list(seeds.values()))) for task, seeds in self.scores.items()}

    @property
    def mean(self) -> float:
        """Mean over tasks."""
        return float(np.mean(list(self.means.values())))

    @property
    def trained(self) -> bool:
        return self.trainable != (0,)

    @property
    def hopeless(self) -> bool:
        """Whether it is at chance on every task."""
        return self.chance == frozenset(self.scores)


@dataclass(frozen=True)
class Board:
    """Methods from the best mean down. `group` names the best group; `comparisons` is the number of tests against the
    baseline; `ranking` is None for fewer than three methods and on a single task."""

    dtype: str
    shots: Shots
    tasks: tuple[str, ...]
    base: str
    methods: tuple[Standing, ...]
    ranking: Ranking | None
    group: frozenset[str]

    @property
    def leader(self) -> Standing:
        return self.methods[0]

    @property
    def comparisons(self) -> int:
        return sum(each.tested is not None for each in self.methods)

    @property
    def units(self) -> str:
        """What a comparison counts."""
        return "tasks" if len(self.tasks) > 1 else "seeds"

    @property
    def enough(self) -> int:
        """The least number of units with which a difference could be significant among as many comparisons."""
        return enough(max(self.comparisons, 1))

    @property
    def where(self) -> str:
        """Its tasks and training examples in words."""
        tasks = f"over {len(self.tasks)} tasks" if len(self.tasks) > 1 else f"on {self.tasks[0]}"
        return f"{tasks}, {'untrained' if self.shots == 0 else f'trained on {examples(self.shots)}'}"

    @property
    def size(self) -> int:
        """Number of methods times tasks."""
        return len(self.tasks) * len(self.methods)


def enough(comparisons: int) -> int:
    """The least number of units n with which every one of as many comparisons could be significant: after Holm's correction the
    least p is comparisons * 2^(1 - n)."""
    return math.ceil(1 + math.log2(comparisons / ALPHA))


def boards(study: Study) -> list[Board]:
    """All boards of two methods or more, the largest first; untrained methods alone make one only where nothing was trained."""
    trials = [Trial.of(run, task) for run in study.runs for task in run.result.tasks]
    finite = [trial for trial in trials if math.isfinite(headline(trial.run, trial.task))]
    found = []
    for dtype in distinct(trial.run.result.model.dtype for trial in finite):
        own = [trial for trial in finite if trial.run.result.model.dtype == dtype]
        lines, beside = without_probes(gather(own), study.runs), _beside(own)
        every = rising({shots for line in lines for of_task in line.scores.values() for shots in of_task} or {0})
        for shots in reversed(every):
            bare = [line for line in untrained(lines) if line.name not in {other.name for other in beside}]
            members = [*(bare if shots == 0 else lines), *beside]
            if shots != 0 or bare or len(every) == 1:
                found += _of_shots(study.runs, dtype, shots, members)
    return sorted(found, key=lambda board: -board.size)


def _beside(trials: Sequence[Trial]) -> list[Line]:
    """Lines of what was not trained and is no experiment with vectors: the model without a prompt, then prompts of other runs
    as they are; not those that only show where a trained method starts."""
    started = {(trial.task, trial.start) for trial in trials if trial.shots != 0}
    labels: dict[str, list[Trial]] = {}
    for trial in trials:
        if trial.shots == 0 and isinstance(formula_of(trial.run.config), Fresh | Name):
            labels.setdefault(trial.run.method, []).append(trial)
    found = []
    for label, members in sorted(labels.items(), key=lambda item: item[1][0].run.result.method != NO_PROMPT):
        if all((trial.task, trial.start) in started for trial in members):
            continue
        scores: dict[str, dict[Shots, dict[int, float]]] = {}
        for trial in members:
            scores.setdefault(trial.task, {}).setdefault(0, {})[trial.seed] = headline(trial.run, trial.task)
        stage = members[0].run.result.stage
        found.append(Line(label, stage, False, None, scores, label=label, trainable=(0,)))
    return found


def _of_shots(runs: Sequence[Run], dtype: str, shots: Shots, lines: Sequence[Line]) -> list[Board]:
    """A board for the tasks of every line, of the lines that have all of these; the fewer tasks must bring another method."""
    shared = {line.name: {task: seeds for task in line.scores if (seeds := _at(line, task, shots))} for line in lines}
    found: dict[frozenset[str], Board] = {}
    for tasks in sorted(distinct(tuple(sorted(scores)) for scores in shared.values() if scores), key=len, reverse=True):
        rivals = [line for line in lines if shared[line.name].keys() >= set(tasks)]
        names = frozenset(line.name for line in rivals)
        if len(rivals) > 1 and names not in found:
            scores = {line.name: {task: shared[line.name][task] for task in tasks} for line in rivals}
            found[names] = _board(runs, dtype, shots, rivals, scores)
    return list(found.values())


def _at(line: Line, task: str, shots: Shots) -> Mapping[int, float]:
    return line.at(task, 0 if line.trainable == (0,) else shots)


def _board(runs: Sequence[Run], dtype: str, shots: Shots, lines: Sequence[Line], scores: Mapping[str, Scores]) -> Board:
    tasks, bars = tuple(next(iter(scores.values()))), constants(runs)
    metrics = {task: run.result.data[task].headline for run in runs for task in tasks if task in run.result.data}
    standings = {
        line.name: Standing(
            line.name,
            line.label,
            scores[line.name],
            (0,) if shots == 0 else line.trainable,
            frozenset(
                task
                for task in tasks
                if (task, metrics[task]) in bars
                and at_chance(_mean(scores[line.name][task]), bars[task, metrics[task]], metrics[task])
            ),
        )
        for line in lines
    }
    falling = {task for task in tasks if not scale_of(metrics[task]).higher_is_better}
    merits = {
        name: {task: -mean if task in falling else mean for task, mean in each.means.items()}
        for name, each in standings.items()
    }
    base = next(
        (
            line.name
            for line in [*(line for line in lines if line.plain), *lines]
            if line.plain or line.trainable == (0,)
        ),
        "",
    )
    tested = _tested(base, standings) if base else {}
    ordered = sorted(merits, key=lambda name: -_mean(merits[name]))
    return Board(
        dtype,
        shots,
        tasks,
        base,
        tuple(replace(standings[name], tested=tested.get(name)) for name in ordered),
        rank_methods(merits) if len(merits) > 2 and len(tasks) > 1 else None,
        _group(ordered[0], standings),
    )


def _mean(scores: Mapping[int, float] | Mapping[str, float]) -> float:
    return float(np.mean(list(scores.values())))


def _group(leader: str, standings: Mapping[str, Standing]) -> frozenset[str]:
    tested = _tested(leader, standings)
    if all(each.verdict is Verdict.CANNOT for each in tested.values()):
        return frozenset()
    worse = {name for name, each in tested.items() if each.verdict is Verdict.SIGNIFICANT}
    return frozenset(name for name, each in standings.items() if name not in worse and not each.hopeless)


def _tested(base: str, standings: Mapping[str, Standing]) -> dict[str, Tested]:
    """The other methods against one of them, as one family."""
    pairs = {name: _paired(each, standings[base]) for name, each in standings.items() if name != base}
    known = {name: paired for name, paired in pairs.items() if paired}
    return dict(zip(known, judged(list(known.values())), strict=True))


def _paired(first: Standing, second: Standing) -> Paired | None:
    """Over tasks; on a single task over the seeds that both have, None of fewer than two."""
    if len(first.scores) > 1:
        return compare(first.means, second.means, "tasks")
    ((_, own), (_, other)) = (*first.scores.items(), *second.scores.items())
    both = [seed for seed in own if seed in other]
    return compare({s: own[s] for s in both}, {s: other[s] for s in both}) if len(both) > 1 else None
