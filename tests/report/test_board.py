"""Boards of methods: paired differences, ranks, the best group and what is left out, by hand."""

import re

import pytest
from fabricate import write_trial
from test_page import read

from cpeft.report.study import Study
from cpeft.report.top.board import boards
from cpeft.store.run_folder import Store


def found(folder):
    return boards(Study.of(Store(folder)))


NOTHING, SPOT, SUM = ("nothing", "vocab", 0.0), ("SPoT", "s/a", 6.0), ("sum", "s/b", 3.0)


def write_board(store, tasks=("rte", "cb", "wic"), methods=(NOTHING, SPOT, SUM)):
    """Every method gains as much on every task, but for SPoT's second seed, which gains 2 more."""
    for name, init, gain in methods:
        for number, task in enumerate(tasks):
            for seed in (0, 1):
                score = 50.0 + 5 * number + gain + 2 * (name == "SPoT") * seed
                write_trial(store, f"stage-{name}", name, seed, {task: score}, init)
    return store


def test_a_table_by_hand(tmp_path):
    """SPoT gains 6 and 8 by the seeds of each of three tasks, so 7 on every task; three signs alike have p = 2/8, doubled for
    the smaller of two by Holm, where six pairs of task and seed would have 2/64. Ranks are equal everywhere: 6 of 216."""
    html, page = read(write_board(tmp_path))
    assert page.row("SPoT", "62.00 1.00") == "SPoT 62.00 1.00 +7.00 [7.0, 7.0] 0.500 too few tasks 1,234"
    assert page.row("sum", "58.00 2.00") == "sum 58.00 2.00 +3.00 [3.0, 3.0] 0.500 too few tasks 1,234"
    assert page.row("nothing", "55.00 3.00") == "nothing 55.00 3.00 baseline 1,234"
    assert re.search(
        r"Friedman’s p 0.0(2[5-9]|3[01]), critical difference of ranks 1.91", html
    )  # 2.3437 sqrt(3 x 4 / (6 x 3))


def test_two_methods_have_no_ranks(tmp_path):
    (board,) = found(write_board(tmp_path, methods=(NOTHING, SPOT)))
    assert board.ranking is None
    assert board.base == "nothing"


def test_a_single_task_is_judged_over_the_seeds_that_both_have(tmp_path):
    for seed in range(7):
        write_trial(tmp_path, "few", "nothing", seed, {"rte": 50.0 + seed})
        write_trial(tmp_path, "few", "SPoT", seed + 1, {"rte": 52.0 + seed}, "s/a")
        write_trial(tmp_path, "few", "once", 99, {"rte": 90.0}, "s/b") if seed == 0 else None
    (board,) = found(tmp_path)
    once, spot, nothing = board.methods
    assert (once.name, once.tested, nothing.tested) == ("once", None, None)
    assert spot.tested.paired.differences == pytest.approx([1.0] * 6)  # of seeds 1 to 6
    assert (board.units, spot.tested.shown) == ("seeds", "significant")
    assert spot.tested.p == pytest.approx(2 / 2**6)


def test_the_best_group_are_those_that_are_not_significantly_worse(tmp_path):
    """Over eight tasks: the leader, one as good but for noise that turns its sign, and one clearly worse."""
    tasks = [f"task {i}" for i in range(8)]
    for number, task in enumerate(tasks):
        for name, init, gain in (
            ("first", "s/a", 10.0),
            ("second", "s/b", 9.9 if number % 2 else 10.0),
            ("nothing", "vocab", 0.0),
        ):
            write_trial(tmp_path, "few", name, 0, {task: 50.0 + number + gain}, init)
    (board,) = found(tmp_path)
    assert board.group == {"first", "second"}
    assert read(tmp_path)[1].row("first", "best group")


def test_there_is_no_best_group_where_none_could_be_told_or_all_are_at_chance(tmp_path):
    (board,) = found(write_board(tmp_path / "few"))
    assert board.group == frozenset()
    for number in range(8):
        for name, init, score in (("SPoT", "s/a", 20.0), ("nothing", "vocab", 10.0)):
            write_trial(tmp_path / "weak", "few", name, 0, {f"task {number}": score + number}, init)
    (weak,) = found(tmp_path / "weak")
    assert weak.methods[1].tested is None
    assert weak.methods[0].tested.shown == "significant"
    assert weak.group == frozenset()
    assert all(each.hopeless for each in weak.methods)


def test_the_least_number_of_tasks_is_the_one_at_which_a_verdict_is_possible(tmp_path):
    """With two comparisons 2 x 2 / 2^n is below 0.05 from seven tasks on."""
    for count, shown in ((6, "too few tasks"), (7, "significant")):
        (board,) = found(write_board(tmp_path / str(count), tasks=[f"task {i}" for i in range(count)]))
        assert board.enough == 7
        assert {each.tested.shown for each in board.methods if each.tested} == {shown}


def test_what_was_not_trained_stands_beside_what_was(tmp_path):
    """No prompt and the prompt of another task do, a sum of vectors and the start of a line do not. Where nothing is plain
    prompt tuning, the first untrained method is the baseline; its only seed is no other method's."""
    settings = {"prompt": {"init": "labels"}}
    for task, other in (("rte", "cb"), ("cb", "rte")):
        write_trial(
            tmp_path,
            "zero",
            "no prompt",
            0,
            {task: 10.0},
            steps=0,
            method="no_prompt",
            settings={"method": {"name": "no_prompt"}},
        )
        for seed in (1, 2):
            write_trial(tmp_path, "tuned", "prompt tuning", seed, {task: 60.0 + seed}, settings=settings)
            write_trial(tmp_path, "zero", "start", seed, {task: 5.0}, steps=0, settings=settings)
            write_trial(tmp_path, "wrong", "wrong", seed, {task: 20.0}, f"tuned/{other}", steps=0)
            write_trial(tmp_path, "sum", "sum", seed, {task: 70.0}, f"vocab + v(tuned/{other})", steps=0)
    board = found(tmp_path)[0]
    assert {each.name: each.mean for each in board.methods} == {"prompt tuning": 61.5, "wrong": 20, "no prompt": 10}
    assert (board.base, board.shots) == ("no prompt", "full")
    assert [each.trainable for each in board.methods] == [(1234,), (0,), (0,)]


def test_runs_of_several_tasks_take_part_and_pairs_do_not(tmp_path):
    write_board(tmp_path, methods=(NOTHING, SPOT))
    for seed in (0, 1):
        scores = {"rte": 51.0, "cb": 56.0, "wic": 61.0}
        write_trial(
            tmp_path, "shared", "shared", seed, scores, settings={"method": {"name": "attempt"}, "sources": ["s/*"]}
        )
        for pair in (("rte", "cb"), ("rte", "wic"), ("cb", "wic")):
            write_trial(tmp_path, "pairs", "pairs", seed, dict.fromkeys(pair, 50.0), "s/c")
    (board,) = found(tmp_path)
    assert {method.name: method.mean for method in board.methods} == pytest.approx(
        {"SPoT": 62, "shared": 56, "nothing": 55}
    )


def test_over_tasks_seeds_need_not_be_the_same(tmp_path):
    write_board(tmp_path, methods=(NOTHING,))
    for task in ("rte", "cb", "wic"):
        write_trial(tmp_path, "late", "late", 7, {task: 50.0}, "s/a")
    (board,) = found(tmp_path)
    assert board.methods[1].tested.paired.differences == pytest.approx([-5.0, 0.0, -10.0])  # of cb, rte and wic


def test_fewer_tasks_make_a_board_only_where_they_bring_another_method(tmp_path):
    write_board(tmp_path)
    write_trial(tmp_path, "late", "late", 0, {"rte": 90.0}, "s/c")
    whole, part = found(tmp_path)
    assert (len(whole.tasks), len(whole.methods)) == (3, 3)
    assert (part.tasks, len(part.methods), part.leader.name) == (("rte",), 4, "late")


def test_the_base_is_plain_prompt_tuning_of_single_tasks(tmp_path):
    """Fine-tuning, LoRA and a shared prompt draw their start too, and train as long or longer."""
    write_board(tmp_path, methods=(NOTHING, SPOT))
    for seed in (0, 1):
        scores = {"rte": 51.0, "cb": 56.0, "wic": 61.0}
        for method in ("fine_tuning", "lora"):
            for task, score in scores.items():
                settings = {"method": {"name": method}}
                write_trial(tmp_path, method, method, seed, {task: score}, method=method, settings=settings)
        mpt = {"method": {"name": "mpt"}}
        write_trial(tmp_path, "shared", "MPT", seed, scores, steps=360, method="mpt", settings=mpt)
        write_trial(tmp_path, "shared", "one for all", seed, scores, steps=360)
    (board,) = found(tmp_path)
    assert board.base == "nothing"
    assert {method.name for method in board.methods} == {
        "nothing",
        "SPoT",
        "fine_tuning",
        "lora",
        "MPT",
        "one for all",
    }


def test_lengths_of_training_are_told_against_the_base(tmp_path):
    write_board(tmp_path, methods=(NOTHING, ("sources of 160 steps", "s/a", 1.0)))
    for task in ("rte", "cb", "wic"):
        for seed in (0, 1):
            few = {"data": {"few_shot": 16}}
            for name, init, steps in (
                ("nothing", "vocab", 20),
                ("sources of 160 steps", "s/a", 20),
                ("long", "s/b", 60),
            ):
                write_trial(tmp_path, "few", name, seed, {task: 50.0 + seed}, init, steps, settings=few)
    names = {method.name for board in found(tmp_path) for method in board.methods}
    assert names == {"nothing", "sources of 160 steps", "long (trained for 60 steps)"}


def test_untrained_runs_are_compared_once_under_their_own_name(tmp_path):
    """Three numbers of steps start alike, so what is untrained is one method; with another start there are two."""
    for seed in (0, 1):
        for task in ("rte", "cb"):
            for steps in (0, 20, 60):
                write_trial(tmp_path, "ladder", f"sources steps={steps}", seed, {task: 40.0 + steps}, steps=steps)
    assert [board.shots for board in found(tmp_path)] == ["full"]
    for seed in (0, 1):
        for task in ("rte", "cb"):
            for steps in (0, 20):
                write_trial(tmp_path, "few", f"SPoT steps={steps}", seed, {task: 45.0 + steps}, "s/a", steps)
    none = next(board for board in found(tmp_path) if board.shots == 0)
    assert (none.shots, none.base) == (0, "sources steps=0")
    assert {method.name: method.mean for method in none.methods} == {"sources steps=0": 40, "SPoT steps=0": 45}
