"""Metrics over many resamples of rows at once, for intervals.

Why: a thousand resamples, each through the whole metric, cost more than answering the test rows. Metrics that are means over
rows are computed once per distinct row; F1 of all resamples in one call of scikit-learn, every resample with labels of its own.
Their oracle is the plain metric on each resample.
"""

import numpy as np
from sklearn.metrics import f1_score

from cpeft.metrics.base import METRICS, NO_LABEL, MetricContext, References
from cpeft.metrics.classification import binary, gold, inside

TOGETHER = 100  # resamples of one call


def resampled(
    metric: str, predictions: list[str], references: References, context: MetricContext, picks_RN: np.ndarray
) -> np.ndarray:
    """The metric on each resample, [R]; `picks_RN` are row numbers."""
    compute = METRICS.get(metric)
    if compute.mean_over == "row":
        return np.asarray(_of_rows(metric, predictions, references, context)[picks_RN].mean(1))
    if metric in ("f1", "macro_f1"):
        return _f1(metric, predictions, references, context, picks_RN)
    return np.array(
        [compute([predictions[i] for i in rows], [references[i] for i in rows], context) for rows in picks_RN.tolist()]
    )


def _of_rows(metric: str, predictions: list[str], references: References, context: MetricContext) -> np.ndarray:
    """The metric of every row alone."""
    compute = METRICS.get(metric)
    pairs = list(zip(predictions, references, strict=True))
    known = {pair: compute([pair[0]], [pair[1]], context) for pair in set(pairs)}
    return np.array([known[pair] for pair in pairs])


def _f1(
    metric: str, predictions: list[str], references: References, context: MetricContext, picks_RN: np.ndarray
) -> np.ndarray:
    texts = (
        inside(predictions, context, metric)
        if metric == "macro_f1"
        else binary(predictions, references, context, metric)
    )
    right = gold(references)
    names = {text: code for code, text in enumerate(dict.fromkeys([*context.labels, NO_LABEL, *right]))}
    scored = range(len(context.labels)) if metric == "macro_f1" else [1]
    predicted_N, right_N = (np.array([names[text] for text in column]) for column in (texts, right))
    found = []
    for part_RN in np.array_split(picks_RN, max(len(picks_RN) // TOGETHER, 1)):
        own_R1 = len(names) * np.arange(len(part_RN))[:, None]
        labels = (own_R1 + np.array(scored)).ravel()
        nothing = np.nan if metric == "macro_f1" else 0.0
        each = f1_score(
            (own_R1 + right_N[part_RN]).ravel(), (own_R1 + predicted_N[part_RN]).ravel(), labels=labels, average=None,
            zero_division=nothing,
        )  # fmt: skip
        found.append(100.0 * np.nanmean(each.reshape(len(part_RN), -1), 1))
    return np.concatenate(found)
