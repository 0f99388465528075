"""Sums of task vectors: the choice of the scale, and relative performance by hand."""

import json

import pytest
from fabricate import answer, change, write_addition, write_trial
from test_page import read

from cpeft.report.published.matching import published_metrics
from cpeft.report.section import SECTIONS, Page
from cpeft.report.study import Study
from cpeft.report.vectors.addition import additions
from cpeft.report.vectors.scales import choose
from cpeft.store.run_folder import Store


def test_a_table_by_hand(tmp_path):
    """Seed 0 ties on validation rows and takes the smaller scale. rte: 40/50 and 54/60, 80% and 90%; cb: 60/60 and 66/60, 100%
    and 110%. With two seeds the half width is 12.706 times half their difference. Over tasks: 85% and 105%, and so with two."""
    html, page = read(write_addition(tmp_path))
    assert "addition" in page.sections
    first = page.row("rte + cb")
    assert first == "rte + cb 0: 0.5, 1: 1 rte accuracy 47.00 55.00 85.0 [21.5, 148.5] 2 47.50 3"
    assert (
        page.row("cb accuracy", "105.0")
        == "rte + cb 0: 0.5, 1: 1 cb accuracy 63.00 60.00 105.0 [41.5, 168.5] 2 47.50 3"
    )
    assert page.row("Mean over tasks") == "Mean over tasks 95.0 [−32.1, 222.1] 2 tasks"
    assert 'id="addition-scales-1"' in html


def test_controls_by_hand(tmp_path):
    """Noise was made for seed 0 alone and at two scales, of which validation rows choose 1: 25/50 and 30/60 are 50%, where the
    sum of that seed keeps 80% and 100%: 30 and 50 more. The vector of another task keeps 20% of rte and 25% of cb; at its only
    scale, 1, the sums keep 1/50 and 54/60 of rte, 1/60 and 66/60 of cb: 26 and 30.83 more."""
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
    assert page.row("noise 1", "50.0") == "noise 1 50.0 90.0 +40.00 [−87.1, 167.1] 2 0.500 1.000 too few tasks"
    assert page.row("another task 1", "22.5") == (
        "another task 1 22.5 50.9 +28.42 [−2.3, 59.1] 2 0.500 1.000 too few tasks"
    )


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
    assert "rte + cb + mini/mood 0: 0.333333 rte accuracy 40.00 50.00 80.0 1 47.50 3" in page.row(
        "rte + cb + mini/mood"
    )
    assert page.row("cb accuracy", "5.00").endswith("cb accuracy 5.00 0.00 47.50 3")  # in per cent of nothing
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


def test_a_task_counts_once_however_many_sums_it_has(tmp_path):
    """rte keeps 85%, cb 105% of one sum and 110% of the other, wic 100%: 97.5, with half a width of 4.303 x 11.456 / 1.732."""
    write_addition(tmp_path)
    for seed in (0, 1, 2):
        write_trial(tmp_path, "singles", "singles", seed, {"wic": 50.0})
    write_trial(tmp_path, "singles", "singles", 2, {"cb": 50.0})
    init = "vocab + sum(v(singles/cb), v(singles/wic))"
    for seed in (0, 2):
        scores = {"cb": 60.0, "wic": 50.0}
        write_trial(tmp_path, "pairs", "pairs init=1", seed, scores, init, steps=0, validation=9.0)
    _, page = read(tmp_path)
    assert page.row("Mean over tasks") == "Mean over tasks 97.5 [69.0, 126.0] 3 tasks"


FOUR = [
    ("a", "yes", "yes"),
    ("b", "no", "yes"),
    ("b", "yes", "yes"),
    ("c", "yes", "no"),
]  # "b" twice; two of four right


def write_limited(store, more=()):
    """A sum that answered two rows of rte, its single prompt four, noise the first of them."""
    single, _ = (write_trial(store, "singles", "singles", 0, {task: 50.0}) for task in ("rte", "cb"))
    answer(single, "rte", FOUR)
    vectors = "sum(v(singles/rte), v(singles/cb))"
    for label, init, rows in (("sum", vectors, FOUR[:2]), ("noise", f"noise({vectors})", [("a", "no", "yes")])):
        run = write_trial(store, label, label, 0, {"rte": 1.0, "cb": 40.0}, f"vocab + {init}", steps=0, validation=40.0)
        answer(run, "rte", [*rows, *more])


def test_sum_and_single_prompt_are_scored_on_the_same_rows(tmp_path):
    """Of the two rows of the sum it has one right, and the single prompt of four rows one too; on noise's only row noise has
    none right and both others have it. cb was limited nowhere: 40 of 50."""
    write_limited(tmp_path)
    _, page = read(tmp_path)
    assert "rte accuracy 50.00 50.00 100.0 1 47.50 2" in page.row("rte accuracy", "100.0")
    assert page.row("cb accuracy", "80.0").endswith("cb accuracy 40.00 50.00 80.0 1 47.50 3")
    assert (
        page.row("noise", "90.0") == "noise 1 40.0 90.0 +50.00 [−585.3, 685.3] 2 1.000 1.000 too few tasks"
    )  # (0 + 80) / 2, (100 + 80) / 2


def test_rows_that_cannot_be_matched_are_said(tmp_path):
    """A source of the sum that its single prompt never saw, as with another limit of tokens."""
    write_limited(tmp_path, more=[("cut", "yes", "no")])
    _, page = read(tmp_path)
    assert "not the same: 3 and 4" in page.row("rte accuracy", "33.33")
    assert page.row("noise", "not on the same test rows")


def write_cola(store):
    """rte + cola at two scales: Matthews' correlation, cola's first metric, prefers 1, and exact match 0.5."""

    def both(result, matthews):
        result["data"]["cola"]["headline"] = "matthews"
        result["scores"]["cola"]["matthews"] = {"value": matthews, "low": 0.0, "high": 0.0}

    for task in ("rte", "cola"):
        single = write_trial(store, "singles", "singles", 0, {task: 80.0})
    change(single, lambda result: both(result, 40.0))
    for scale, matthews, exact in ((0.5, 10.0, 70.0), (1, 50.0, 60.0)):
        scores, init = {"rte": exact, "cola": exact}, f"vocab + {scale}*sum(v(singles/rte), v(singles/cola))"
        first = (exact + matthews) / 2
        run = write_trial(store, "pairs", f"pairs {scale}", 0, scores, init, 0, validation=first)
        change(run, lambda result, value=matthews: both(result, value))
        told = {f"validation/{task}/accuracy": exact for task in scores} | {"validation/cola/matthews": matthews}
        (run / "metrics.jsonl").write_text(json.dumps({"step": 0, "headline": first, **told}) + "\n")
    return Study.of(Store(store))


def test_beside_the_paper_exact_match_chooses_the_scale(tmp_path):
    def rows(paper):
        (each,) = SECTIONS.get("addition")(Page(study, paper=paper))["additions"]
        return [[cell.text for cell in row.cells] for row in each["sums"].bodies[0][:-1]]

    study = write_cola(tmp_path)
    first, second = rows(None)
    assert first[1:5] == ["0: 1", "rte accuracy", "60.00", "80.00"]
    assert second[2:] == ["cola matthews", "50.00", "40.00", "125.0", "", "1", "47.50", "3"]
    first, second = rows("tpv")
    assert first[1:5] == ["0: 0.5", "rte accuracy", "70.00", "80.00"]
    assert second[2:] == ["cola accuracy", "70.00", "80.00", "87.5", "", "1", "", "3"]


def test_without_validation_scores_by_name_the_first_metric_chooses(tmp_path):
    study = write_cola(tmp_path)
    next(tmp_path.glob("pairs/*/metrics.jsonl")).write_text("")
    (table,) = additions(study, published_metrics("addition"))
    assert (table.sums[0].chosen, table.asked) == ({0: 1}, False)
