"""Task vectors across origins: which runs are cells and controls, and means, intervals and ratios by hand."""

import pytest
from fabricate import write_crossing, write_prompt, write_trial
from test_page import read

SOURCE = {"rte": 80.0}


def test_a_table_by_hand(tmp_path):
    """Own 80, 82, 84; other cells of each origin 78 and 76, 81 and 79, 83 and 85, so differences of -3, -2 and 0: their mean
    is -5/3, their deviation sqrt(7/3), and t(0.975, 2) = 4.303 gives a half width of 3.795; g = -1.091 x 0.564; of eight ways
    to set the signs four are as far from 0. As published, Welch's test of three cells and six. Ratios 0.5, 1 and 3."""
    _, page = read(write_crossing(tmp_path))
    assert "crossing" in page.sections
    controls = "50.00 (1) 51.00 (1) 52.00 (1) 48.00 (1)"
    row = f"rte accuracy 82.00 ± 2.00 (3) 80.33 ± 3.33 (6) {controls} 47.50 1.50"
    assert page.row("rte", "80.33") == row
    told = "rte accuracy −1.67 [−5.5, 2.1] −0.62 3 0.500 0.500 too few origins not significant, p 0.384"
    assert page.row("rte", "−1.67") == told
    assert page.row("mini/cb accuracy", "(1)") == "mini/cb accuracy 60.00 (1) 47.50"
    assert page.row("Own origin").endswith("Noise Shuffled rows Another task Origin alone Majority |v| / |origin|")


@pytest.mark.parametrize(
    "init",
    [
        "vocab + 0.5*v(sources/rte)", "vocab + v(sources/rte) + v(sources/rte)", "labels + v(sources/rte)", "sources/rte",
        "mean(vocab, random) + v(sources/rte)", "sources/rte - v(sources/rte)", "vocab + v(nowhere/rte)",
        "vocab + cross(v(sources/rte@1))", "vocab + v('prompts/rte')",
    ],
)  # fmt: skip
def test_other_starts_are_no_cells(tmp_path, init):
    write_trial(tmp_path, "sources", "sources", 0, SOURCE)
    write_trial(tmp_path, "zero", "zero", 0, SOURCE, init, steps=0)
    assert "crossing" not in read(tmp_path)[1].sections


def test_trained_runs_and_mixtures_are_no_cells(tmp_path):
    write_trial(tmp_path, "sources", "sources", 0, SOURCE)
    vector = "vocab + v(sources/rte)"
    write_trial(tmp_path, "targets", "trained", 0, SOURCE, vector)
    write_trial(tmp_path, "targets", "mixed", 0, SOURCE, vector, steps=0, settings={"sources": ["sources/*"]})
    write_trial(tmp_path, "targets", "nothing", 0, SOURCE, vector, steps=0, prompts=[])
    assert "crossing" not in read(tmp_path)[1].sections


def test_the_only_seed_stands_for_all_and_labels_tell_sources_apart(tmp_path):
    """Without @ a run takes the source of its seed, else the only one: that one is of another origin."""
    for label in ("short", "long"):
        write_trial(tmp_path, "sources", label, 0, SOURCE)
    for label, score in (("short", 70.0), ("long", 75.0)):
        write_trial(tmp_path, "zero", label, 3, {"rte": score}, f"vocab + cross(v(sources/{label}/rte))", steps=0)
    write_trial(tmp_path, "zero", "both", 3, {"rte": 1.0}, "vocab + cross(v(sources/rte))", steps=0)  # which of them?
    html, page = read(tmp_path)
    assert "Vectors of sources/short across origins" in html
    assert page.row("rte accuracy", "70.00 (1)") == "rte accuracy 70.00 (1) 47.50"
    assert page.row("rte accuracy", "75.00 (1)") == "rte accuracy 75.00 (1) 47.50"


def test_origins_are_those_of_the_initial_draw(tmp_path):
    """`seeds.init` decides what `vocab` is, not the seed."""
    settings = {"seeds": {"init": 7}}
    write_prompt(write_trial(tmp_path, "sources", "sources", 0, SOURCE, settings=settings), "rte", 0.25)
    vector = "vocab + cross(v(sources/rte@0))"
    write_trial(tmp_path, "zero", "zero", 5, {"rte": 81.0}, vector, steps=0, settings=settings)
    write_trial(tmp_path, "zero", "zero", 0, {"rte": 61.0}, vector, steps=0)
    assert read(tmp_path)[1].row("81.00 (1)", "61.00") == "rte accuracy 81.00 (1) 61.00 (1) 47.50 0.25"


def test_dtypes_do_not_mix(tmp_path):
    write_trial(tmp_path, "sources", "sources", 0, SOURCE)
    for seed, dtype in ((0, "float32"), (1, "bfloat16")):
        more = {"model": {"name": "t5-tiny", "dtype": dtype}}
        write_trial(tmp_path, "zero", "zero", seed, SOURCE, "vocab + cross(v(sources/rte@0))", steps=0, **more)
    html, _ = read(tmp_path)
    assert html.count("Vectors of sources across origins: test scores in per cent") == 2
