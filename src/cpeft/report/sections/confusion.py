"""Which answer was given where which was right: test rows of all seeds together, per task, stage and method.

Only tasks with a closed set of answers have such a table. What a model wrote outside the set is counted as such.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Any

from cpeft.report.section import Page, section
from cpeft.report.study import Run, Study

OUTSIDE = "(no label)"
MOST = 20  # labels beyond which a table says nothing to the eye


@dataclass(frozen=True)
class Confusion:
    """`counts[i][j]`: rows whose right answer is label i and that were answered with `answers[j]`."""

    task: str
    stage: str
    method: str
    dtype: str
    runs: int
    labels: tuple[str, ...]
    answers: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]

    def share(self, right: int, answered: int) -> float:
        """Of the rows with this right answer."""
        return self.counts[right][answered] / max(sum(self.counts[right]), 1)


@section("confusion", "Confusion matrices", 140)
def confusion(page: Page) -> dict[str, Any] | None:
    """Right by given answers of each task, stage and method."""
    found = confusions(page.study)
    return {"tables": found} if found else None


def confusions(study: Study) -> list[Confusion]:
    """In the order of tasks, and of stages and methods in the recipe."""
    counted: dict[tuple[str, str, str, str], tuple[int, Counter[tuple[str, str]]]] = {}
    labels: dict[str, tuple[str, ...]] = {}
    for run in study.runs:
        closed = {task: about.labels for task, about in run.result.data.items()}
        closed = {task: names for task, names in closed.items() if 1 < len(names) <= MOST}
        labels |= closed
        for task, pairs in _pairs(run, closed).items():
            key = (task, *run.group, run.result.model.dtype)
            runs, before = counted.get(key, (0, Counter()))
            counted[key] = (runs + 1, before + pairs)
    tasks = list(labels)
    ordered = sorted(counted.items(), key=lambda found: tasks.index(found[0][0]))
    return [_table(key, runs, pairs, labels[key[0]]) for key, (runs, pairs) in ordered]


def _pairs(run: Run, closed: dict[str, tuple[str, ...]]) -> dict[str, Counter[tuple[str, str]]]:
    """How often (right, answered) came, per task; rows with several right answers stand in no table."""
    found: dict[str, Counter[tuple[str, str]]] = {}
    for row in run.answers:
        task, right = row["task"], row["references"]
        if task in closed and len(right) == 1 and right[0] in closed[task]:
            answered = row["prediction"] if row["prediction"] in closed[task] else OUTSIDE
            found.setdefault(task, Counter())[right[0], answered] += 1
    return found


def _table(
    key: tuple[str, str, str, str], runs: int, pairs: Counter[tuple[str, str]], labels: tuple[str, ...]
) -> Confusion:
    answers = (*labels, OUTSIDE) if any(answered == OUTSIDE for _, answered in pairs) else labels
    counts = tuple(tuple(pairs[right, answered] for answered in answers) for right in labels)
    return Confusion(*key, runs, labels, answers, counts)
