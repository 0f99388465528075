"""What training brought: the line it is measured by, corrected p-values, one text, and when nothing is said."""

import pytest
from fabricate import answer, write_trial

from cpeft.report.gain import gains
from cpeft.report.study import Study
from cpeft.stats.many import holm
from cpeft.stats.paired import mcnemar
from cpeft.store.run_folder import Store

RIGHT = ["yes"] * 25 + ["no"] * 15


def rows(answers):
    return [(f"text {i}", said, right) for i, (said, right) in enumerate(zip(answers, RIGHT, strict=True))]


def said(*wrong):
    """Answers that are wrong in these places."""
    return [("no" if right == "yes" else "yes") if i in wrong else right for i, right in enumerate(RIGHT)]


@pytest.fixture
def store(tmp_path):
    def run(stage, label, seed, answers, steps, task="rte"):
        folder = write_trial(tmp_path, stage, label, seed, {task: 0.0}, steps=steps)
        answer(folder, task, rows(answers))

    run("untrained", "no prompt", 0, said(*range(30)), 0)
    run("wrong", "wrong prompt", 1, said(*range(22)), 0)
    for seed in (0, 1):
        run("tuned", "prompt tuning", seed, said(seed, 39), 20)
    return tmp_path


def test_trained_prompts_beside_the_best_line_without_training(store):
    [gain] = gains(Study.of(Store(store)))
    assert gain.best.name == 'always "yes"'  # 25 right, the wrong prompt 18
    assert gain.prompts == (38, 38)
    constant = [right == "yes" for right in RIGHT]
    p = [mcnemar([i not in (seed, 39) for i in range(40)], constant) for seed in (0, 1)]
    assert gain.p == tuple(holm(p))
    assert gain.significant
    assert gain.verdict.startswith(
        'rte: 95% of 40 rows right with a trained prompt, at most 62% without training (always "yes"): significant (exact'
    )
    assert gain.verdict.endswith("it speaks of these 2 prompts only)")
    assert (gain.shown.text, gain.shown.behind) == (
        "text 2",
        "yes",
    )  # the first two rows are wrong behind one prompt each


def test_one_prompt_that_is_no_better_is_enough_to_say_so(store):
    folder = write_trial(store, "tuned", "prompt tuning", 2, {"rte": 0.0})
    answer(folder, "rte", rows(said(*range(14))))
    [gain] = gains(Study.of(Store(store)))
    assert not gain.significant
    assert ": not significant (" in gain.verdict


def test_nothing_is_said_without_lines_or_on_other_rows(store, tmp_path):
    alone = tmp_path / "alone"
    answer(write_trial(alone, "tuned", "prompt tuning", 0, {"rte": 0.0}), "rte", rows(said(1)))
    assert gains(Study.of(Store(alone))) == []
    answer(write_trial(alone, "untrained", "no prompt", 0, {"rte": 0.0}, steps=0), "rte", rows(said(1))[:30])
    assert gains(Study.of(Store(alone))) == []


@pytest.mark.parametrize(
    ("init", "counts"),
    [
        ("vocab + cross(v(sources/rte@1))", False),
        ("0.5*v(sources/cb) + vocab + 0.5*v('both/vocab/snli+rte')", False),
        ("mean(sources/*)", False),
        ("vocab + v(sources/cb@0)", True),
        ("sources/scarte", True),
    ],
)
def test_prompts_that_know_the_task_are_no_answers_without_training(store, init, counts):
    folder = write_trial(store, "composed", "composed", 3, {"rte": 0.0}, init=init, steps=0)
    answer(folder, "rte", rows(said()))
    [gain] = gains(Study.of(Store(store)))
    assert (gain.best.name == "composed, seed 3") is counts


def test_a_mixture_that_was_not_trained_knows_the_tasks_of_its_sources(store):
    folder = write_trial(store, "mixed", "ATTEMPT", 3, {"rte": 0.0}, steps=0, sources=["sources/cb", "sources/rte"])
    answer(folder, "rte", rows(said()))
    [gain] = gains(Study.of(Store(store)))
    assert gain.best.name == 'always "yes"'
