"""Every paper recipe has a small counterpart for two cores, the models and the data at hand: nearly all are the paper recipe
with few rows and another model (`extends`), switches and all."""

import json

import pytest
from rich.console import Console

from cpeft.store.run_folder import Store
from cpeft.study.recipe import tiny
from cpeft.study.recipe.recipe import load_recipe, packaged_recipes
from cpeft.study.runner.plan import Plan
from cpeft.study.runner.worker import run_recipe
from every_recipe import EVERY

PAPER = [name.removeprefix("paper/") for name in EVERY if name.startswith("paper/")]
SMALL = [name for name in packaged_recipes() if name.startswith("small/")]
ELSEWHERE = {  # the study or the small recipe of another name, and why
    "attempt-studies": "attempt-studies-mini",  # and attempt-minilm: better sources, where the spread comes from
    "tpv-t5": "vectors-minilm",  # all five experiments; vectors-mini on the embedded model
    "tpv-t5-corrected": "vectors-minilm",  # it has our defaults and the controls
    "tpv-deepseek": "small/tpv-llama",  # these three differ in the model and the cue alone
    "tpv-deepseek-legacy": "small/tpv-llama-legacy",
    "tpv-deepseek-corrected": "small/tpv-llama-corrected",
}
SIZE = {  # what size, model and data at hand change
    "model": {"name"}, "prompt": {"length", "vocab_range", "init"}, "optim": {"lr", "warmup"},
    "data": {"limit_train", "limit_validation", "limit_test", "max_source", "split"},
    "train": {"batch", "steps", "epochs"}, "eval": {"max_new_tokens"},
}  # fmt: skip


def test_every_paper_recipe_has_a_small_one_and_small_holds_no_other():
    assert set(ELSEWHERE.values()) <= EVERY.keys()
    assert ELSEWHERE.keys() <= set(PAPER)
    assert {f"small/{name}" for name in PAPER if name not in ELSEWHERE} == set(SMALL)


def switches(run):
    """The settings of a run that size leaves alone."""
    own = run.settings.model_dump(include={"model", "prompt", "source", "method", "optim", "data", "train", "eval"})
    return {table: {k: v for k, v in own[table].items() if k not in SIZE.get(table, ())} for table in own}


@pytest.mark.parametrize("name", SMALL)
def test_it_has_the_stages_and_switches_of_the_paper_recipe(name):
    small, paper = (load_recipe(EVERY[each]) for each in (name, name.replace("small/", "paper/")))
    assert small.name == name
    assert small.about != paper.about
    assert {run.stage for run in small.runs} == {run.stage for run in paper.runs}
    stated = {}
    for run in paper.training:
        stated.setdefault(run.stage, []).append(json.dumps(switches(run), sort_keys=True))
    for run in small.training:
        assert json.dumps(switches(run), sort_keys=True) in stated[run.stage], f"{run}"
    plan, stages = Plan(small, Store("nowhere")), {run.stage for run in small.runs}
    for run in small.runs:
        for reference in run.references():
            if reference.partition("/")[0] in stages:  # else it is what a user brings
                assert plan.references.named(reference, run), f"{run}: {reference} names no run"


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """Where all runs of these tests start, so that they share models and rows."""
    return tmp_path_factory.mktemp("start")


@pytest.mark.parametrize("name", SMALL)
def test_it_runs_at_tiny_size(name, start, monkeypatch):
    """One run of every stage, on made-up rows; the paper recipe runs several, through to the report (test_paper_recipes)."""
    monkeypatch.setattr(tiny, "KINDS", 1)
    monkeypatch.setattr(tiny, "STEPS", 1)
    monkeypatch.chdir(start)
    monkeypatch.delenv("CPEFT_DATA", raising=False)
    recipe = tiny.load_sized(EVERY[name], ["tiny=true"])
    assert {run.stage for run in recipe.runs} == {run.stage for run in load_recipe(EVERY[name]).runs}
    summary = run_recipe(Plan(recipe, Store(start / name)), Console(quiet=True))
    assert (summary.done, summary.failures, summary.blocked) == (len(recipe.runs), {}, {})
