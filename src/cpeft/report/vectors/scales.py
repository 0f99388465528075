"""The search for the scale of a sum of task vectors, by validation scores (Task Prompt Vectors, figure 2).

Published: of the scales in rising order the first that is best, strictly better than 0; and 1 where none is. What counts is
the mean over the tasks of a sum, of each task's first metric or of the metric that is asked for.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from cpeft.report.vectors.starts import Asked, Start, metric_of


@dataclass(frozen=True)
class Search:
    """What was put on one origin in the place of one set of tasks: runs by scale, and their validation scores. `asked` is
    False where these are of the first metrics because the runs wrote down no others."""

    starts: Mapping[float, Start]
    validation: Mapping[float, float]
    asked: bool = True

    @classmethod
    def of(cls, starts: Mapping[float, Start], asked: Asked) -> "Search":
        """By the metrics that are asked for, if the runs wrote all of them down."""
        runs = {scale: start.run for scale, start in starts.items()}
        first = next(iter(runs.values())).result
        metrics = {task: metric_of(list(runs.values()), task, asked(task)) for task in first.tasks}
        found = {scale: value for scale, run in runs.items() if (value := run.result.validation) is not None}
        if any(metric != first.data[task].headline for task, metric in metrics.items()):
            other = {scale: value for scale, run in runs.items() if (value := run.validation(metrics)) is not None}
            return cls(starts, other) if len(other) == len(found) else cls(starts, found, asked=False)
        return cls(starts, found)

    def chosen(self, scales: Collection[float]) -> float:
        """The best of some scales."""
        return choose({scale: score for scale, score in self.validation.items() if scale in scales})


def choose(validation: Mapping[float, float]) -> float:
    """The scale with the best validation score by the published rule; where none beats 0 it is 1, or the largest there is."""
    best, chosen = 0.0, 1.0 if 1.0 in validation else max(validation)
    for scale, score in sorted(validation.items()):
        if score > best:
            best, chosen = score, scale
    return chosen
