"""Metrics over a closed label set, computed by scikit-learn.

Predictions are compared as whole strings, stripped and case-sensitive. The published code compared the first 16
characters (papers.md E-15) and, for CB, averaged over the predicted labels alone (E-16); neither is done here.
"""

from collections.abc import Sequence

from sklearn.metrics import f1_score, matthews_corrcoef

from cpeft.errors import ConfigError
from cpeft.metrics.base import NO_LABEL, MetricContext, References, best, metric


def gold(references: References) -> list[str]:
    """The canonical answer of every row."""
    return [row[0].strip() for row in references]


def inside(predictions: Sequence[str], context: MetricContext, metric: str) -> list[str]:
    """The predictions with every text outside the label set turned into `NO_LABEL`."""
    if not context.labels:
        raise ConfigError(f"metric '{metric}' needs a task with a closed label set")
    return [text.strip() if text.strip() in context.labels else NO_LABEL for text in predictions]


def binary(predictions: Sequence[str], references: References, context: MetricContext, metric: str) -> list[str]:
    """The predictions of a two-label task; a text outside the labels counts as the opposite of the reference."""
    if len(context.labels) != 2:
        raise ConfigError(f"metric '{metric}' needs exactly two labels, the task has {len(context.labels)}")
    opposite = dict(zip(context.labels, reversed(context.labels), strict=True))
    valid = inside(predictions, context, metric)
    return [opposite[right] if text == NO_LABEL else text for text, right in zip(valid, gold(references), strict=True)]


@metric("accuracy", "exact_match", mean_over="row")
def accuracy(predictions: Sequence[str], references: References, context: MetricContext) -> float:
    """The share of rows whose prediction equals one of the accepted answers."""
    return best(predictions, references, str.strip)


@metric("f1")
def f1(predictions: Sequence[str], references: References, context: MetricContext) -> float:
    """F1 of the second label, the positive class."""
    texts = binary(predictions, references, context, "f1")
    return 100.0 * float(f1_score(gold(references), texts, pos_label=context.labels[1], zero_division=0.0))


@metric("macro_f1")
def macro_f1(predictions: Sequence[str], references: References, context: MetricContext) -> float:
    """The mean F1 of the declared labels.

    A label that is neither a reference nor a prediction has no F1 and is left out of the mean; otherwise perfect predictions
    could not reach 100 on a test split that lacks a class, as TREC's does.
    """
    texts = inside(predictions, context, "macro_f1")
    right = gold(references)
    return 100.0 * float(f1_score(right, texts, labels=context.labels, average="macro", zero_division=float("nan")))


@metric("matthews", low=-100.0)
def matthews(predictions: Sequence[str], references: References, context: MetricContext) -> float:
    """The Matthews correlation; texts outside the label set are one more class, so they are errors but no evidence."""
    texts = inside(predictions, context, "matthews")
    right = gold(references)
    if len({*texts, *right}) < 2:  # scikit-learn answers 0 too, with a warning
        return 0.0
    return 100.0 * float(matthews_corrcoef(right, texts))
