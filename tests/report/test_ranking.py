"""Methods over tasks: paired differences, ranks and what is left out, by hand."""

import re

import pytest
from fabricate import write_trial
from test_page import read

from cpeft.report.sections.ranking import contests
from cpeft.report.study import Study
from cpeft.store.run_folder import Store


def found(folder):
    return contests(Study.of(Store(folder)))


NOTHING, SPOT, SUM = ("nothing", "vocab", 0.0), ("SPoT", "s/a", 6.0), ("sum", "s/b", 3.0)


def write_contest(store, tasks=("rte", "cb", "wic"), methods=(NOTHING, SPOT, SUM)):
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
    html, page = read(write_contest(tmp_path))
    assert page.row("SPoT", "62.00 1.00") == "SPoT 62.00 1.00 +7.00 [7.0, 7.0] 3 0.250 0.500 too few tasks"
    assert page.row("sum", "58.00 2.00") == "sum 58.00 2.00 +3.00 [3.0, 3.0] 3 0.250 0.500 too few tasks"
    assert page.row("nothing", "55.00 3.00") == "nothing 55.00 3.00"
    assert re.search(
        r"Friedman’s p 0.0(2[5-9]|3[01]), critical difference of ranks 1.91", html
    )  # 2.3437 sqrt(3 x 4 / (6 x 3))


def test_two_methods_have_no_ranks_and_one_task_no_contest(tmp_path):
    (contest,) = found(write_contest(tmp_path / "a", methods=(NOTHING, SPOT)))
    assert contest.ranking is None
    assert contest.base == "nothing"
    assert found(write_contest(tmp_path / "b", tasks=("rte",))) == []


def test_runs_of_several_tasks_take_part_and_pairs_do_not(tmp_path):
    write_contest(tmp_path, methods=(NOTHING, SPOT))
    for seed in (0, 1):
        scores = {"rte": 51.0, "cb": 56.0, "wic": 61.0}
        write_trial(
            tmp_path, "shared", "shared", seed, scores, settings={"method": {"name": "attempt"}, "sources": ["s/*"]}
        )
        for pair in (("rte", "cb"), ("rte", "wic"), ("cb", "wic")):
            write_trial(tmp_path, "pairs", "pairs", seed, dict.fromkeys(pair, 50.0), "s/c")
    (contest,) = found(tmp_path)
    assert {method.name: method.mean for method in contest.methods} == pytest.approx(
        {"SPoT": 62, "shared": 56, "nothing": 55}
    )


def test_methods_without_a_common_seed_are_not_compared(tmp_path):
    write_contest(tmp_path, methods=(NOTHING,))
    for task in ("rte", "cb", "wic"):
        write_trial(tmp_path, "late", "late", 7, {task: 50.0}, "s/a")
    assert found(tmp_path) == []


def test_the_base_is_plain_prompt_tuning_of_single_tasks(tmp_path):
    """Fine-tuning, LoRA and a shared prompt draw their start too, and train as long or longer."""
    write_contest(tmp_path, methods=(NOTHING, SPOT))
    for seed in (0, 1):
        scores = {"rte": 51.0, "cb": 56.0, "wic": 61.0}
        for method in ("fine_tuning", "lora"):
            for task, score in scores.items():
                settings = {"method": {"name": method}}
                write_trial(tmp_path, method, method, seed, {task: score}, method=method, settings=settings)
        mpt = {"method": {"name": "mpt"}}
        write_trial(tmp_path, "shared", "MPT", seed, scores, steps=360, method="mpt", settings=mpt)
        write_trial(tmp_path, "shared", "one for all", seed, scores, steps=360)
    (contest,) = found(tmp_path)
    assert contest.base == "nothing"
    assert {method.name for method in contest.methods} == {
        "nothing",
        "SPoT",
        "fine_tuning",
        "lora",
        "MPT",
        "one for all",
    }


def test_lengths_of_training_are_told_against_the_base(tmp_path):
    write_contest(tmp_path, methods=(NOTHING, ("sources of 160 steps", "s/a", 1.0)))
    for task in ("rte", "cb", "wic"):
        for seed in (0, 1):
            few = {"data": {"few_shot": 16}}
            for name, init, steps in (
                ("nothing", "vocab", 20),
                ("sources of 160 steps", "s/a", 20),
                ("long", "s/b", 60),
            ):
                write_trial(tmp_path, "few", name, seed, {task: 50.0 + seed}, init, steps, settings=few)
    names = {method.name for contest in found(tmp_path) for method in contest.methods}
    assert names == {"nothing", "sources of 160 steps", "long (trained for 60 steps)"}


def test_untrained_runs_are_compared_once_under_their_own_name(tmp_path):
    """Three numbers of steps start alike, so what is untrained is one method; with another start there are two."""
    for seed in (0, 1):
        for task in ("rte", "cb"):
            for steps in (0, 20, 60):
                write_trial(tmp_path, "ladder", f"sources steps={steps}", seed, {task: 40.0 + steps}, steps=steps)
    assert [contest.shots for contest in found(tmp_path)] == ["full"]
    for seed in (0, 1):
        for task in ("rte", "cb"):
            for steps in (0, 20):
                write_trial(tmp_path, "few", f"SPoT steps={steps}", seed, {task: 45.0 + steps}, "s/a", steps)
    none, _ = found(tmp_path)
    assert (none.shots, none.base) == (0, "sources steps=0")
    assert {method.name: method.mean for method in none.methods} == {"sources steps=0": 40, "SPoT steps=0": 45}
