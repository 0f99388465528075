"""What the claims of several studies share: scores of a store, differences over tasks and over seeds, Markdown tables."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from cpeft.report.render.numbers import cell, columns
from cpeft.report.render.table import Row, Table
from cpeft.stats.intervals import t_interval
from cpeft.stats.paired import compare, compare_tasks, task_means
from cpeft.store.result import Result

Seeds = Mapping[int, float]  # score by seed
Scores = Mapping[tuple[str, str, str], Seeds]  # by (stage, label, task)
TaskSeeds = Mapping[tuple[str, int], float]  # score by (task, seed)


def read_scores(results: Iterable[Result], metric: str) -> Scores:
    """The scores of all runs, in per cent."""
    scores: dict[tuple[str, str, str], dict[int, float]] = {}
    for result in results:
        for task in result.tasks:
            by_seed = scores.setdefault((result.stage, result.label, task), {})
            by_seed[result.seed] = result.scores[task][metric].value
    return scores


def of_tasks(scores: Scores, stage: str, label: str, tasks: Iterable[str]) -> TaskSeeds:
    """The scores of one method by task and seed. Raises KeyError for a task without runs."""
    return {(task, seed): score for task in tasks for seed, score in scores[stage, label, task].items()}


def mean(scores: TaskSeeds) -> float:
    """The mean over tasks, each of them the mean of its seeds."""
    return float(np.mean(list(task_means(scores).values())))


def minus(first: Seeds, second: Seeds) -> Seeds:
    """First minus second, paired by seed. Raises KeyError where the second lacks a seed."""
    return {seed: score - second[seed] for seed, score in first.items()}


def interval(values: Iterable[float]) -> str:
    """Mean and Student's 95% interval of two values or more."""
    values = list(values)
    low, high = t_interval(values)
    return f"{np.mean(values):+.1f} [{low:+.1f}, {high:+.1f}]"


def over_tasks(first: TaskSeeds, second: TaskSeeds) -> str:
    """First minus second: mean and interval over tasks, and the p-value with the least one that so many tasks can reach."""
    paired = compare_tasks(first, second)
    return f"{interval(paired.differences)}, p {paired.p:.2f}, least p {paired.least_p:.2f}, {paired.units} tasks"


def over_seeds(first: Seeds, second: Seeds) -> str:
    """First minus second on one task: mean and interval over seeds."""
    return interval(compare(first, second).differences)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """The lines of a Markdown table."""
    body = [Row([cell(text) for text in row]) for row in rows]
    return Table("", "", columns(*head), [body]).markdown().splitlines()
