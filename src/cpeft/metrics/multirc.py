"""MultiRC (Khashabi et al. 2018): answers judged one by one, scored alone or with the others of their question.

F1a is the binary F1 over all answers; EM the share of questions with every answer right; F1m the mean over questions of
the macro F1 of a question's answers, the definition of the SuperGLUE metric. A prediction outside the two labels counts
as the opposite of the reference everywhere.
"""

from collections import defaultdict
from collections.abc import Sequence

from cpeft.errors import ConfigError
from cpeft.metrics.base import MetricContext, References, metric
from cpeft.metrics.classification import accuracy, binary, f1, macro_f1

Group = tuple[list[str], list[tuple[str, ...]]]


def questions(predictions: Sequence[str], references: References, context: MetricContext, metric: str) -> list[Group]:
    """Predictions and references of every question."""
    if len(context.groups) != len(references):
        raise ConfigError(f"metric '{metric}' needs the group of every row, as the task 'multirc' gives it")
    texts = binary(predictions, references, context, metric)
    groups: dict[str, Group] = defaultdict(lambda: ([], []))
    for name, text, answers in zip(context.groups, texts, references, strict=True):
        groups[name][0].append(text)
        groups[name][1].append(answers)
    return list(groups.values())


@metric("multirc_f1a")
def multirc_f1a(predictions: Sequence[str], references: References, context: MetricContext) -> float:
    """Binary F1 over all answers."""
    return f1(predictions, references, context)


@metric("multirc_em", mean_over="group")
def multirc_em(predictions: Sequence[str], references: References, context: MetricContext) -> float:
    """The share of questions with every answer right."""
    groups = questions(predictions, references, context, "multirc_em")
    return sum(100.0 for group in groups if accuracy(*group, context) == 100.0) / len(groups) if groups else 0.0


@metric("multirc_f1m", mean_over="group")
def multirc_f1m(predictions: Sequence[str], references: References, context: MetricContext) -> float:
    """Macro F1 of each question, averaged."""
    groups = questions(predictions, references, context, "multirc_f1m")
    return sum(macro_f1(*group, context) for group in groups) / len(groups) if groups else 0.0
