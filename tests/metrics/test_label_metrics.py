"""Metrics over label sets and scores, against scikit-learn, scipy and cases worked by hand."""

import random
import warnings

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as oracle

from cpeft.errors import ConfigError, DataError
from cpeft.metrics import METRICS, MetricContext

TWO = MetricContext(labels=("negative", "positive"))
THREE = MetricContext(labels=("entailment", "neutral", "contradiction"))


EMPTY = MetricContext()


def score(name: str, predictions: list[str], references: list[str], context: MetricContext = EMPTY) -> float:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return METRICS.get(name)(predictions, [(text,) for text in references], context)


def draw(labels: tuple[str, ...], seed: int) -> tuple[list[str], list[str]]:
    dice = random.Random(seed)
    return dice.choices(labels, k=50), dice.choices(labels, k=50)


@pytest.mark.parametrize("seed", range(5))
def test_binary_metrics_equal_scikit_learn(seed: int) -> None:
    given, right = draw(TWO.labels, seed)
    assert score("accuracy", given, right, TWO) == pytest.approx(100 * oracle.accuracy_score(right, given))
    assert score("f1", given, right, TWO) == pytest.approx(100 * oracle.f1_score(right, given, pos_label="positive"))
    assert score("matthews", given, right, TWO) == pytest.approx(100 * oracle.matthews_corrcoef(right, given))


@pytest.mark.parametrize("seed", range(5))
def test_macro_f1_equals_scikit_learn(seed: int) -> None:
    given, right = draw(THREE.labels, seed)
    assert score("macro_f1", given, right, THREE) == pytest.approx(100 * oracle.f1_score(right, given, average="macro"))


def test_long_labels_are_compared_whole() -> None:
    """The published code compared 16 characters, the share that these two labels have in common."""
    labels = ("MeanOfTransportationOnWater", "MeanOfTransportationOnRails")
    assert [len(label) for label in labels] == [27, 27]
    assert labels[0][:16] == labels[1][:16]
    context = MetricContext(labels=labels)
    for name in ("accuracy", "exact_match", "f1", "macro_f1", "matthews"):
        assert score(name, [labels[0], labels[1]], [labels[1], labels[0]], context) <= 0.0
    assert score("accuracy", list(labels), list(labels), context) == 100.0


def test_accuracy_strips_but_keeps_case() -> None:
    assert METRICS.get("exact_match") is METRICS.get("accuracy")
    assert score("accuracy", [" positive\n", "Positive", ""], ["positive", "positive", "positive"]) == 100 / 3
    assert METRICS.get("accuracy")(["b"], [("a", "b")], MetricContext()) == 100.0


def test_an_invalid_prediction_is_the_wrong_class_in_f1() -> None:
    # Row 1 a false negative, row 2 a false positive, row 3 a hit: F1 = 2 / (2 + 1 + 1).
    assert score("f1", ["?", "?", "positive"], ["positive", "negative", "positive"], TWO) == 50.0
    with pytest.raises(ConfigError, match="exactly two labels, the task has 3"):
        score("f1", ["neutral"], ["neutral"], THREE)


def test_macro_f1_counts_invalid_predictions_as_errors() -> None:
    right = ["entailment", "neutral", "contradiction"]
    assert score("macro_f1", ["?", "neutral", "contradiction"], right, THREE) == pytest.approx(200 / 3)
    assert score("macro_f1", ["entailment"] * 3, right, THREE) == pytest.approx(100 * 0.5 / 3)
    assert score("macro_f1", ["?"] * 3, right, THREE) == 0.0


def test_macro_f1_leaves_out_labels_that_nobody_named() -> None:
    assert score("macro_f1", ["entailment", "neutral"], ["entailment", "neutral"], THREE) == 100.0
    assert score("macro_f1", ["entailment", "contradiction"], ["entailment", "entailment"], THREE) == pytest.approx(
        100 * (2 / 3) / 2
    )
    with pytest.raises(ConfigError, match="'macro_f1' needs a task with a closed label set"):
        score("macro_f1", ["a"], ["a"])


def test_matthews_of_constant_or_invalid_predictions_is_zero() -> None:
    right = ["positive", "negative", "positive"]
    assert score("matthews", ["positive"] * 3, right, TWO) == 0.0
    assert score("matthews", ["?"] * 3, right, TWO) == 0.0
    assert score("matthews", ["positive"] * 3, ["positive"] * 3, TWO) == 0.0
    assert score("matthews", ["negative", "positive", "negative"], right, TWO) == pytest.approx(-100.0)


@pytest.mark.parametrize("seed", range(3))
def test_correlations_equal_scipy(seed: int) -> None:
    given, right = np.random.default_rng(seed).uniform(0, 5, (2, 40)).round(1)
    texts = [f"{value:.1f}" for value in given], [f"{value:.1f}" for value in right]
    assert score("pearson", *texts) == pytest.approx(100 * stats.pearsonr(given, right)[0])
    assert score("spearman", *texts) == pytest.approx(100 * stats.spearmanr(given, right)[0])


@pytest.mark.parametrize("name", ["pearson", "spearman"])
def test_what_is_no_number_is_minus_one(name: str) -> None:
    right = ["1.0", "2.0", "4.0", "5.0"]
    expected = score(name, ["-1", "2.0", "-1", "5.0"], right)
    assert score(name, ["nan", " 2.0", "four", "5.0\n"], right) == expected
    assert score(name, ["3.0"] * 4, right) == 0.0
    assert score(name, ["x"] * 4, right) == 0.0
    assert score(name, ["1.0"], ["1.0"]) == 0.0
    with pytest.raises(DataError, match="needs numbers as references"):
        score(name, ["1.0"], ["high"])


def test_every_metric_is_within_its_range_on_nonsense() -> None:
    context = MetricContext(labels=("false", "true"), groups=("a", "a", "b"))
    for name, metric in METRICS.items():
        references = [("1.0",), ("2.0",), ("3.0",)] if name in ("pearson", "spearman") else [("true",)] * 3
        assert metric.low <= metric(["", "?", "nonsense"], references, context) <= metric.high
