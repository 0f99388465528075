"""Test scores of several runs on the very same rows.

Stages may limit their test rows. Limits are nested, so the rows of the smallest set are among those of every other: where the
numbers of rows differ, all runs are scored anew on these, from the answers that they kept. Rows are matched by what was asked
and what is right, for a row's number is that within its own run.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cpeft.errors import ConfigError
from cpeft.metrics import METRICS, MetricContext
from cpeft.metrics.base import NO_LABEL
from cpeft.report.study import Run
from cpeft.report.vectors.starts import score

Asked = tuple[str, tuple[str, ...], int]  # source, references, and which it is of several rows that share both


@dataclass(frozen=True)
class Scores:
    """Of several runs, in their order, with the number of test rows that each had. If these differ, `shared` rows were scored;
    None where no row of one could be told in another, and each score is of its own rows."""

    values: tuple[float, ...]
    rows: tuple[int, ...]
    shared: int | None


def score_together(runs: Sequence[Run], task: str, metric: str) -> Scores:
    """The runs on the rows of a task that all of them answered."""
    sizes = tuple(run.result.data[task].rows["test"] for run in runs)
    plain = tuple(score(run, task, metric) for run in runs)
    if len(set(sizes)) == 1:
        return Scores(plain, sizes, sizes[0])
    answers = [_answers(run, task) for run in runs]
    fewest = min(answers, key=len)
    context = MetricContext(runs[0].result.data[task].labels)
    hidden = not context.labels and not all(
        run.keeps_texts for run in runs
    )  # hashes are equal or not, and nothing more
    if hidden or len(fewest) != min(sizes) or any(fewest.keys() - own.keys() for own in answers):
        return Scores(plain, sizes, None)  # answers were not kept, or texts are rendered in another way
    references = [right for _, right, _ in fewest]
    try:
        compute = METRICS.get(metric)
        values = tuple(compute([own[asked] for asked in fewest], references, context) for own in answers)
    except ConfigError:  # a metric of the recipe's own, or one of rows in groups, which are not kept
        return Scores(plain, sizes, None)
    return Scores(values, sizes, len(fewest))


def _answers(run: Run, task: str) -> Mapping[Asked, str]:
    seen, found = Counter[tuple[str, tuple[str, ...]]](), {}
    for row in run.answers:
        if row["task"] == task:
            text = row["source"], tuple(row["references"])
            found[*text, seen[text]] = NO_LABEL if row["prediction"] is None else row["prediction"]
            seen[text] += 1
    return found
