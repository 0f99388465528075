"""Runs that share a label and are no seeds of one method: rows of their own, named by what differs, wherever labels count."""

import pytest
from fabricate import change, write_trial
from test_page import read

from cpeft.report.sections.beside import stores_beside
from cpeft.report.study import Study
from cpeft.report.summary import summarise
from cpeft.report.top.board import boards
from cpeft.report.vectors.lines import Trial, gather
from cpeft.report.vectors.starts import untrained
from cpeft.store.run_folder import Store

FAST = {"optim": {"lr": 0.3}}


def named(run, identity):
    """The same folder under another id: what is written next would take its place."""
    return run.rename(run.with_name(run.name.rpartition("-")[0] + f"-{identity}"))


def study(folder):
    return Study.of(Store(folder))


def again(store, seeds=(0, 1), tasks=("rte", "cb"), label="plain"):
    """The same recipe twice, the second time with another learning rate, and that on rte alone."""
    for seed in seeds:
        for task in tasks:
            named(write_trial(store, "few", label, seed, {task: 50.0 + seed}), f"{seed:012x}")
        write_trial(store, "few", label, seed, {"rte": 60.0 + seed}, settings=FAST)
    return store


def test_other_settings_are_no_seeds(tmp_path):
    cells = summarise(study(again(tmp_path)).runs)
    assert {(cell.task, cell.method): cell.values for cell in cells if cell.kind != "fixed"} == {
        ("rte", "plain"): (50, 51), ("rte", "plain · optim.lr=0.3"): (60, 61), ("cb", "plain"): (50, 51),
    }  # fmt: skip
    html, page = read(tmp_path)
    assert page.row("plain · optim.lr=0.3", "60.50")
    assert page.row("seed 0: 60.00, seed 1: 61.00")
    legend = html[html.index('id="curves"') :]
    assert "plain · optim.lr=0.3" in legend[: legend.index("</ul>")]


def test_one_run_of_each_has_no_interval_over_seeds(tmp_path):
    cells = summarise(study(again(tmp_path, seeds=(0,), tasks=("rte",))).runs)
    assert [(cell.seeds, cell.kind) for cell in cells if cell.kind != "fixed"] == [(1, "rows"), (1, "rows")]


def test_methods_over_tasks_and_lines_keep_them_apart(tmp_path):
    for seed in (0, 1):
        for task in ("rte", "cb"):
            named(write_trial(tmp_path, "few", "plain", seed, {task: 50.0}), f"{seed:012x}")
            write_trial(tmp_path, "few", "plain", seed, {task: 60.0}, settings=FAST)
    (board,) = boards(study(tmp_path))
    assert {each.name: each.mean for each in board.methods} == {"plain · optim.lr=0.3": 60, "plain": 50}


def test_a_changed_number_of_examples_is_a_point_of_the_line(tmp_path):
    for shots in (4, 16):
        named(
            write_trial(tmp_path, "few", "plain", 0, {"rte": 50.0 + shots}, settings={"data": {"few_shot": shots}}),
            f"{shots:012x}",
        )
    trials = [Trial.of(run, "rte") for run in study(tmp_path).runs]
    (line,) = gather(trials)
    assert (line.name, line.scores["rte"]) == ("plain", {4: {0: 54}, 16: {0: 66}})


def test_a_method_has_one_name_on_all_tasks(tmp_path):
    """What is said of rte, where two rates meet, is said of cb, where there is one."""
    slow = {"optim": {"lr": 0.1}}
    for task, settings in (("rte", slow), ("cb", slow)):
        named(write_trial(tmp_path, "few", "plain", 0, {task: 50.0}, settings=settings), "0" * 12)
    write_trial(tmp_path, "few", "plain", 0, {"rte": 60.0}, settings=FAST)
    assert {(*run.result.tasks, run.label) for run in study(tmp_path).runs} == {
        ("rte", "plain · optim.lr=0.1"), ("cb", "plain · optim.lr=0.1"), ("rte", "plain · optim.lr=0.3"),
    }  # fmt: skip


def test_settings_by_task_and_those_that_decide_nothing_name_nothing(tmp_path):
    """What one task needs differs between tasks only; how a run shares a machine and who watches it are no settings of it."""
    write_trial(tmp_path, "few", "plain", 0, {"rte": 50.0}, settings={"train": {"epochs": 20}})
    write_trial(tmp_path, "few", "plain", 0, {"cb": 50.0})
    other = {"gang": {"size": 2}, "energy": {"measure": "off"}, "track": {"use": ["wandb"]}, "train": {"log_every": 5}}
    write_trial(tmp_path, "few", "plain", 1, {"rte": 51.0}, settings={**other, "train": {"epochs": 20, "log_every": 5}})
    write_trial(tmp_path, "few", "plain", 2, {"rte": 51.0}, settings={"train": {"epochs": 20}, "seeds": {"init": 1}})
    assert study(tmp_path).labels == ["plain"]


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (lambda result: result.update(weights="feedbeef" * 8), "weights=feedbeef"),
        (lambda result: result["data"]["rte"].update(fingerprint="c0ffee00" * 8), "rte fingerprint=c0ffee00"),
        (lambda result: result["data"]["rte"].update(version=2), "rte version=2"),
    ],
)
def test_other_weights_rows_and_texts_are_no_seeds_either(tmp_path, edit, said):
    write_trial(tmp_path, "few", "plain", 0, {"rte": 50.0})
    change(write_trial(tmp_path, "few", "plain", 1, {"rte": 50.0}), edit)
    assert any(said in label for label in study(tmp_path).labels)
    assert len(study(tmp_path).labels) == 2


def test_one_seed_twice_is_told_by_given_seeds_and_else_by_the_id(tmp_path):
    """Sources that were made again leave two runs of one seed whose settings are the same."""
    named(write_trial(tmp_path, "few", "plain", 0, {"rte": 50.0}), "a" * 12)
    named(write_trial(tmp_path, "few", "plain", 0, {"rte": 51.0}), "b" * 12)
    named(write_trial(tmp_path, "few", "plain", 0, {"rte": 52.0}, settings={"seeds": {"init": 7}}), "c" * 12)
    write_trial(tmp_path, "few", "plain", 1, {"rte": 53.0})
    assert sorted(run.label for run in study(tmp_path).runs) == [
        "plain", f"plain · run {'a' * 12}", f"plain · run {'b' * 12}", "plain · seeds.init=7",
    ]  # fmt: skip


def test_references_know_runs_by_their_label_in_the_recipe(tmp_path):
    """Both sources have seed 0, so `sources/tuned/rte` is none of them; of seed 1 there is one."""
    for seed in (0, 1):
        named(write_trial(tmp_path, "sources", "tuned", seed, {"rte": 50.0}), f"{seed:012x}")
        write_trial(tmp_path, "zero", "sum", seed, {"rte": 50.0}, "vocab + v(sources/tuned/rte)", steps=0)
    write_trial(tmp_path, "sources", "tuned", 0, {"rte": 60.0}, settings=FAST)
    assert [start.run.result.seed for start in untrained(study(tmp_path))] == [1]


def test_two_stores_meet_at_the_same_settings(tmp_path):
    """A method at two rates in one store meets its like in the other; at one rate in each, whatever it is."""
    again(tmp_path / "old")
    for seed in (0, 1):
        write_trial(tmp_path / "new", "few", "plain", seed, {"rte": 70.0 + seed}, settings=FAST)
        write_trial(tmp_path / "new", "few", "plain", seed, {"cb": 55.0}, settings=FAST)
    found = stores_beside(study(tmp_path / "old"), study(tmp_path / "new"))
    assert {(row.key[1:], row.mean, row.other) for row in found.rows} == {
        (("plain · optim.lr=0.3", "rte"), 60.5, 70.5), (("plain", "cb"), 50.5, 55),
    }  # fmt: skip
    assert found.lonely == (2, 0)
    assert ("optim.lr of few, plain", "default", "0.3") in found.facts


def test_two_stores_do_not_mix_dtypes(tmp_path):
    half = {"name": "t5-tiny", "dtype": "bfloat16"}
    named(write_trial(tmp_path / "old", "few", "plain", 0, {"rte": 50.0}), "a" * 12)
    write_trial(tmp_path / "old", "few", "plain", 0, {"rte": 40.0}, model=half)
    write_trial(tmp_path / "new", "few", "plain", 0, {"rte": 60.0}, model=half)
    (row,) = stores_beside(study(tmp_path / "old"), study(tmp_path / "new")).rows
    assert (row.key[1], row.mean, row.other) == ("plain, bfloat16", 40, 60)
