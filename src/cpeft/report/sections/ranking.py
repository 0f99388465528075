"""Methods over tasks: which does better over all of them, and whether that is more than chance.

Two looks at the same runs. Each method against plain prompt tuning from a drawn prompt, paired over tasks, with Holm's
correction over the methods; and mean ranks over tasks with the tests of Friedman and Nemenyi. For both a task counts once, as
the mean of the seeds that all methods have: seeds of one task are alike, and say nothing of other tasks.
"""

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cpeft.report.render.numbers import (
    columns,
    comparison,
    comparison_columns,
    decimal,
    fixed,
    header,
    probability,
)
from cpeft.report.render.table import Row, Table
from cpeft.report.section import Page, section
from cpeft.report.study import Study
from cpeft.report.summary import scale_of
from cpeft.report.vectors.lines import Line, Shots, Trial, examples, gather, rising, untrained, without_probes
from cpeft.stats.corrected_tests import Tested, judged
from cpeft.stats.many import Ranking, rank_methods
from cpeft.stats.paired import compare_tasks, task_means

Units = Mapping[tuple[str, int], float]  # score by task and seed


@dataclass(frozen=True)
class Contestant:
    """A method: its mean over tasks and seeds, and its difference to the base among those of its table (None of the base, and
    where there is none)."""

    name: str
    mean: float
    tested: Tested | None


@dataclass(frozen=True)
class Contest:
    """Methods that were scored on the same tasks after as many examples; `ranking` is None for fewer than three."""

    dtype: str
    shots: Shots
    tasks: tuple[str, ...]
    base: str
    methods: tuple[Contestant, ...]
    ranking: Ranking | None


@section("ranking", "Methods over tasks", 50)
def ranking(page: Page) -> dict[str, Any] | None:
    """Methods that were scored on the same tasks, compared over these."""
    found = contests(page.study)
    several = len({contest.dtype for contest in found}) > 1
    shown = [
        {
            "title": f"{examples(contest.shots).capitalize()}: {len(contest.methods)} methods on {', '.join(contest.tasks)}"
            + f", {contest.dtype}" * several,
            "table": _table(contest, number),
        }
        for number, contest in enumerate(found, 1)
    ]
    return {"contests": shown} if found else None


def _table(contest: Contest, number: int) -> Table:
    ranking, shots = contest.ranking, examples(contest.shots)
    caption = (
        f"Methods over {len(contest.tasks)} tasks, {shots}: test scores in per cent, frozen model in {contest.dtype}"
    )
    if ranking:
        critical = fixed(ranking.critical_difference)
        caption += f"; Friedman’s p {probability(ranking.p)}, critical difference of ranks {critical}"
    rows = [
        Row(
            [
                header(method.name),
                decimal(method.mean, "mean"),
                decimal(ranking.ranks[method.name] if ranking else None),
                *comparison(method.tested),
            ]
        )
        for method in contest.methods
    ]
    difference = f"Difference to {contest.base}" if contest.base else "Difference"
    heads = [*columns("Method", "Mean#", "Rank#"), *comparison_columns(difference, "Tasks")]
    label = f"Methods over {', '.join(contest.tasks)}, {shots}, {contest.dtype}"
    return Table(f"ranking-{number}", caption, heads, [rows], "controls", label)


def contests(study: Study) -> list[Contest]:
    """Every number of examples at which two methods or more were scored on the same tasks, two or more."""
    trials = [Trial.of(run, task) for run in study.runs for task in run.result.tasks]
    headlines = {trial.task: trial.run.result.data[trial.task].headline for trial in trials}
    falling = {task for task, metric in headlines.items() if not scale_of(metric).higher_is_better}
    found = []
    for dtype in dict.fromkeys(trial.run.result.model.dtype for trial in trials):
        own = [trial for trial in trials if trial.run.result.model.dtype == dtype]
        lines = without_probes(gather(own), study.runs)
        for shots in rising({shots for line in lines for of_task in line.scores.values() for shots in of_task}):
            for tasks, rivals in _rivals(untrained(lines) if shots == 0 else lines, shots).items():
                if contest := _contest(dtype, shots, tasks, rivals, falling):
                    found.append(contest)
    return found


def _rivals(lines: Sequence[Line], shots: Shots) -> dict[tuple[str, ...], list[Line]]:
    """The lines that were scored on the same two tasks or more, by these tasks."""
    rivals: dict[tuple[str, ...], list[Line]] = {}
    for line in lines:
        tasks = tuple(sorted(task for task in line.scores if line.at(task, shots)))
        if len(tasks) > 1:
            rivals.setdefault(tasks, []).append(line)
    return {tasks: found for tasks, found in rivals.items() if len(found) > 1}


def _contest(
    dtype: str, shots: Shots, tasks: tuple[str, ...], lines: Sequence[Line], falling: Container[str]
) -> Contest | None:
    """None where the lines have no seeds in common; on tasks that are `falling` lower scores are better."""
    of_line: dict[str, Units] = {
        line.name: {(task, seed): score for task in tasks for seed, score in line.at(task, shots).items()}
        for line in lines
    }
    common = sorted(set.intersection(*(set(units) for units in of_line.values())))
    if {task for task, _ in common} != set(tasks) or len(common) < 2:
        return None
    scores = {name: {unit: units[unit] for unit in common} for name, units in of_line.items()}
    base = next((line.name for line in lines if line.plain), "")
    against = {name: compare_tasks(units, scores[base]) for name, units in scores.items() if base and name != base}
    tested = dict(zip(against, judged(list(against.values())), strict=True))
    methods = [
        Contestant(name, float(np.mean(list(units.values()))), tested.get(name)) for name, units in scores.items()
    ]
    return Contest(
        dtype, shots, tasks, base, tuple(sorted(methods, key=lambda each: -each.mean)), _ranking(scores, falling)
    )


def _ranking(scores: Mapping[str, Units], falling: Container[str]) -> Ranking | None:
    if len(scores) < 3:
        return None
    means = {name: task_means(units) for name, units in scores.items()}
    return rank_methods(
        {name: {task: -mean if task in falling else mean for task, mean in own.items()} for name, own in means.items()}
    )
