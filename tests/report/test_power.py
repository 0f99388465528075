"""The least p of planned comparisons: a table of cases, and the same boards as a report of the finished runs has."""

import json
from dataclasses import replace
from itertools import product

import pytest

from cpeft.cli.runs import _power
from cpeft.report.study import Study
from cpeft.report.top.board import boards, enough
from cpeft.report.top.power import Outline, in_short, power
from cpeft.stats.corrected_tests import judged
from cpeft.stats.intervals import ALPHA, Verdict
from cpeft.stats.paired import compare
from cpeft.study.recipe.recipe import load_recipe
from cpeft.study.runner.plan import Plan


def planned(methods, tasks, seeds, untrained=False):
    """Prompt tuning and other methods, one run per task and seed."""
    found = []
    for method, task, seed in product(range(methods), range(tasks), range(seeds)):
        name = "attempt" if method else "prompt_tuning"
        config = {"method": {"name": name}} | ({"optim": {"lr": 0.1 * method}} if method else {})
        found.append(Outline("s", f"m{method}", f"t{task}.m{method}.s{seed}", (f"t{task}",), name, seed, 5, config))
    if untrained:
        config = {"method": {"name": "no_prompt"}}
        found += [Outline("s", "bare", f"t{t}.bare.s0", (f"t{t}",), "no_prompt", 0, 0, config) for t in range(tasks)]
    return found


@pytest.mark.parametrize(
    ("methods", "tasks", "seeds", "of", "units", "least", "warns"),
    [
        (4, 7, 3, "tasks", 7, 3 / 64, False),  # 3 * 2^-6
        (2, 6, 1, "tasks", 6, 1 / 32, False),
        (4, 6, 3, "tasks", 6, 3 / 32, True),
        (2, 5, 3, "tasks", 5, 1 / 16, True),
        (2, 1, 3, "seeds", 3, 0.25, True),
        (4, 1, 3, "seeds", 3, 0.75, True),
        (2, 1, 6, "seeds", 6, 1 / 32, False),
        (9, 1, 3, "seeds", 3, 1.0, True),
        (2, 1, 1, "seeds", 1, None, True),
    ],
)
def test_cases(methods, tasks, seeds, of, units, least, warns):
    [found] = power(planned(methods, tasks, seeds))
    assert (found.base, found.comparisons, found.of, found.units) == ("m0", methods - 1, of, units)
    assert found.least_p == (None if least is None else pytest.approx(least))
    assert bool(found.warning) == warns
    assert found.needed[0] == 6


def test_words():
    [good] = power(planned(4, 7, 3))
    assert good.line == "3 comparisons with m0 over 7 tasks, least p after correction 0.047"
    [few] = power(planned(4, 1, 3))
    assert few.where == "on t0, trained on all rows"
    assert few.warning == (
        "with 3 seeds no comparison can reach p <= 0.05 (least 0.75; 6 seeds are needed for one comparison, 7 for 3)"
    )
    [one] = power(planned(2, 1, 1))
    assert one.line == "1 comparison with m0 over 1 seed, nothing can be tested"
    assert one.warning == "with 1 seed no comparison can reach p <= 0.05 (6 seeds are needed for one comparison)"


def test_without_a_baseline_nothing_is_warned_of():
    [found] = power([run for run in planned(3, 4, 2) if run.label != "m0"])
    assert "no baseline" in found.line
    assert found.warning == ""


def test_what_is_untrained_is_compared_too():
    [trained, *_] = power(planned(2, 4, 2, untrained=True))
    assert trained.comparisons == 2


@pytest.mark.parametrize("comparisons", [1, 2, 3, 5, 8, 16])
def test_as_many_units_as_are_needed_are_enough(comparisons):
    """And one fewer is too few, as the report judges them."""
    for units, cannot in ((enough(comparisons), False), (enough(comparisons) - 1, True)):
        one = compare(dict.fromkeys(range(units), 1.0), dict.fromkeys(range(units), 0.0))
        assert [each.verdict is Verdict.CANNOT for each in judged([one] * comparisons)] == [cannot] * comparisons


def test_boards_of_the_same_power_are_put_together():
    few = [replace(run, name=f"{run.name}.few", label=f"{run.label} few_shot=16",
                   config={**run.config, "data": {"few_shot": 16}}) for run in planned(2, 3, 2)]  # fmt: skip
    full, sixteen = power(planned(2, 3, 2) + few)
    assert (full.where, sixteen.where) == ("over 3 tasks, trained on all rows", "over 3 tasks, trained on 16 examples")
    assert in_short([full, sixteen]) == [("over 3 tasks, trained on all rows (and 1 more leaderboard alike)", full)]


def test_the_plan_has_the_boards_of_the_report(world, finished):
    plan = Plan(load_recipe(world / "study.toml"), finished)
    expected = boards(Study.of(finished))
    assert len(expected) > 1
    found = _power(plan)
    assert [(each.where, each.base, each.of, each.comparisons) for each in found] == [
        (board.where, board.base, board.units, board.comparisons) for board in expected
    ]
    for each, board in zip(found, expected, strict=True):
        least = [method.tested.paired.units for method in board.methods if method.tested]
        assert each.units == min(least)
        assert (each.hopeless == each.comparisons) == all(
            method.tested.verdict is Verdict.CANNOT for method in board.methods if method.tested
        )


def test_the_command(world, cpeft_main, tmp_path):
    code, out, _ = cpeft_main("plan", world / "study.toml", "--store", tmp_path / "store")
    assert code == 0
    where = "on rank, trained on all rows (and 1 more leaderboard alike)"
    assert f"{where}: 2 comparisons with vocab over 2 seeds, least p after correction 1\n" in out
    assert f"warning {where}: with 2 seeds no comparison can reach p <= 0.05 (least 1; 6 seeds are needed" in out
    code, out, _ = cpeft_main("plan", world / "study.toml", "--store", tmp_path / "store", "--json")
    card = json.loads(out)["comparisons"][0]
    assert (card["comparisons"], card["units"], card["of"], card["needed"]) == (2, 2, "seeds", [6, 7])
    assert card["least_p"] > ALPHA
    assert card["warning"].startswith("with 2 seeds no comparison can reach p <= 0.05")
