"""`cpeft plan --probe`: what the rest of a study will take."""

import json

import pytest

from cpeft.store.run_folder import Store
from cpeft.study.recipe.recipe import load_recipe
from cpeft.study.runner import probe
from cpeft.study.runner.plan import Plan
from cpeft.study.runner.probe import estimate


@pytest.fixture
def plan(world, tmp_path):
    return Plan(load_recipe(world / "study.toml", ["train.steps=6", "train.eval_every=4"]), Store(tmp_path / "store"))


def test_what_a_finished_study_needs(world, finished):
    assert estimate(Plan(load_recipe(world / "study.toml"), finished)).runs == 0


def test_every_run_is_counted_with_its_steps_and_rows(plan, monkeypatch):
    """Two evaluations of six steps, one of them the last, and the test rows."""
    monkeypatch.setattr(probe, "_time", lambda *args, **more: (100.0, 1.0))
    rows = {}
    for run in plan.recipe.training:
        lm = probe.model_of(probe.located_model(run.settings.model, run.base))
        data = [probe.task_data(name, run.base, run.settings.data, 0, lm) for name in run.settings.tasks]
        rows[str(run)] = sum(2 * len(each.parts["validation"].rows) + len(each.parts["test"].rows) for each in data)
    found = estimate(plan)
    assert (found.runs, found.unprobed) == (16, 0)
    assert 1 < found.kinds < 16, "seeds are of one kind"
    assert found.hours * 3600 == pytest.approx(16 * 6 * 100 + sum(rows.values()))


def test_sources_that_are_not_there_are_stood_in_for(plan, world, cpeft_main):
    """For real, and nothing is left behind."""
    code, out, err = cpeft_main("plan", world / "study.toml", "--store", plan.store.path, "--probe", "--json")
    assert (code, err) == (0, "")
    told = json.loads(out)["probe"]
    assert told["runs"] == 16
    assert told["hours"] > 0
    assert (told["kwh"], told["reason"]) == (None, "energy.measure = 'off'")
    assert not plan.store.path.exists()
