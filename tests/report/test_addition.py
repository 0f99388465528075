"""Sums of task vectors: the choice of the scale, and relative performance by hand."""

import pytest
from fabricate import write_addition, write_trial
from test_page import read

from cpeft.report.addition import choose


def test_a_table_by_hand(tmp_path):
    """Seed 0 ties on validation rows and takes the smaller scale. rte: 40/50 and 54/60, 80% and 90%; cb: 60/60 and 66/60, 100%
    and 110%. With two seeds the half width is 12.706 times half their difference. Over all: 90% and 100%."""
    html, page = read(write_addition(tmp_path))
    assert "addition" in page.sections
    first = page.row("rte + cb")
    assert first == "rte + cb 0: 0.5 , 1: 1 rte accuracy 47.00 55.00 85.0 [21.5, 148.5] 2 47.50"
    assert page.row("cb accuracy", "105.0") == "cb accuracy 63.00 60.00 105.0 [41.5, 168.5] 2 47.50"
    assert page.row("Mean of all tasks") == "Mean of all tasks of all sums 95.0 [31.5, 158.5] 2"
    assert 'id="addition-scales-1"' in html


def test_controls_by_hand(tmp_path):
    """Noise was made for seed 0 alone and at two scales, of which validation rows choose 1: 25/50 and 30/60 are 50%, where the
    sum of that seed keeps 80% and 100%. The vector of another task keeps 20% and 25% of both."""
    write_addition(tmp_path)
    write_trial(tmp_path, "singles", "singles", 0, {"wic": 50.0})
    write_trial(tmp_path, "singles", "singles", 1, {"wic": 50.0})
    noise = "noise(sum(v(singles/rte), v(singles/cb)))"
    for scale, validation, scores in ((0.5, 10.0, (1.0, 1.0)), (1, 20.0, (25.0, 30.0))):
        found = dict(zip(("rte", "cb"), scores, strict=True))
        write_trial(
            tmp_path, "controls", f"noise {scale}", 0, found, f"vocab + {scale}*{noise}", 0, validation=validation
        )
    for seed, rte in ((0, 10.0), (1, 12.0)):
        found = {"rte": rte, "cb": 15.0}
        write_trial(tmp_path, "controls", "other", seed, found, "vocab + v(singles/wic)", steps=0, validation=5.0)
    html, page = read(tmp_path)
    assert 'id="addition-controls-1"' in html
    assert page.row("noise 1", "50.0") == "noise 1 50.0 1 90.0 1"
    assert page.row("another task 1", "22.5") == "another task 1 22.5 [22.5, 22.5] 2 95.0 [31.5, 158.5] 2"


@pytest.mark.parametrize(
    ("validation", "chosen"),
    [
        ({1.0: 60.0, 0.5: 60.0, 0.25: 59.0}, 0.5), ({0.0: 50.0, 0.5: 40.0, 1.0: 30.0}, 0.0),
        ({0.5: 0.0, 1.0: 0.0, 2.0: 0.0}, 1.0), ({0.5: -3.0, 1.0: -1.0, 2.0: -2.0}, 1.0), ({0.25: 0.0, 0.5: 0.0}, 0.5),
        ({0.5: 0.0, 1.0: 0.1, 2.0: 0.1}, 1.0),
    ],
)  # fmt: skip
def test_the_scale_is_the_first_that_is_best_and_better_than_nothing(validation, chosen):
    assert choose(validation) == chosen


def test_one_scale_and_one_seed_show_what_there_is(tmp_path):
    for task, score in (("rte", 50.0), ("cb", 0.0), ("mini/mood", 80.0)):
        write_trial(tmp_path, "singles", "singles", 0, {task: score})
    vectors = "v(singles/rte), v(singles/cb), v(singles/mini/mood)"
    write_trial(tmp_path, "all", "all", 0, {"rte": 40.0, "cb": 5.0, "mini/mood": 60.0}, f"vocab + mean({vectors})", steps=0,
                validation=35.0)  # fmt: skip
    html, page = read(tmp_path)
    assert "rte + cb + mini/mood 0: 0.333333 rte accuracy 40.00 50.00 80.0 1 47.50" in page.row("rte + cb + mini/mood")
    assert page.row("cb accuracy", "5.00") == "cb accuracy 5.00 0.00 47.50"  # in per cent of nothing
    assert "addition-scales" not in html  # a curve of one point


@pytest.mark.parametrize(
    "init",
    [
        "vocab + sum(v(singles/rte), 0.5*v(singles/cb))",
        "vocab + v(singles/rte)",
        "vocab + sum(noise(v(singles/rte)), v(singles/cb))",
        "vocab + sum(cross(v(singles/rte@1)), v(singles/cb))", "vocab + sum(v(singles/rte), v(singles/rte))",
    ],
)  # fmt: skip
def test_other_formulas_are_no_sums(tmp_path, init):
    for seed, task in ((0, "rte"), (0, "cb"), (1, "rte")):
        write_trial(tmp_path, "singles", "singles", seed, {task: 50.0})
    write_trial(tmp_path, "pairs", "pairs", 0, {"rte": 40.0, "cb": 40.0}, init, steps=0, validation=40.0)
    assert "addition" not in read(tmp_path)[1].sections


def test_the_mean_of_all_counts_seeds_that_have_every_sum(tmp_path):
    write_addition(tmp_path)
    for seed in (0, 1, 2):
        write_trial(tmp_path, "singles", "singles", seed, {"wic": 50.0})
    write_trial(tmp_path, "singles", "singles", 2, {"cb": 50.0})
    init = "vocab + sum(v(singles/cb), v(singles/wic))"
    for seed in (0, 2):
        scores = {"cb": 60.0, "wic": 50.0}
        write_trial(tmp_path, "pairs", "pairs init=1", seed, scores, init, steps=0, validation=9.0)
    _, page = read(tmp_path)
    assert page.row("Mean of all tasks") == "Mean of all tasks of all sums 95.0 1"  # seed 0: 80, 100, 100 and 100
