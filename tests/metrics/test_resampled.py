"""Metrics of many resamples at once equal the plain metric on each of them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpeft.metrics import METRICS, MetricContext
from cpeft.metrics.resampled import resampled

LABELS = ("no", "yes", "rarely asked")
MEANS = [name for name, metric in METRICS.items() if metric.mean_over == "row"]
TEXTS = st.sampled_from([*LABELS, "no ", "something else", ""])


@pytest.mark.parametrize("metric", [*MEANS, "f1", "macro_f1", "matthews"])
@given(rows=st.lists(st.tuples(TEXTS, st.sampled_from(LABELS[:2])), min_size=2, max_size=12), seed=st.integers(0, 99))
def test_every_resample_is_the_plain_metric(metric, rows, seed):
    labels = LABELS[:2] if metric == "f1" else LABELS
    predictions, references = [text for text, _ in rows], [(right,) for _, right in rows]
    picks = np.random.default_rng(seed).integers(len(rows), size=(5, len(rows)))
    context, compute = MetricContext(labels), METRICS.get(metric)
    plain = [compute([predictions[i] for i in one], [references[i] for i in one], context) for one in picks.tolist()]
    assert resampled(metric, predictions, references, context, picks) == pytest.approx(plain)
