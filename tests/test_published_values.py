"""Every value that a paper recipe holds, written by hand beside where it comes from: a section of papers.md, or "ours" for what
no paper states, "silent" for what a code did unsaid. Change a number or delete a line of a recipe, and a row fails.

A row is (recipe, stage or "", key, value, where). "" are all runs; `stage/tasks` those of one task or set of tasks. Keys are
settings, joined by a comma where they vary together (then the value lists them in the recipe's order), and `stages`, `tasks`,
`seeds`, `labels`, `compare`. What differs between runs of a stage is told by task or by label: {"mnli": 10, "*": 20}.
"""

from functools import lru_cache

import pytest

import published_attempt
import published_tpv
from cpeft.prompts.formula.parse import Formula
from cpeft.study.recipe.recipe import load_recipe, packaged_recipes
from cpeft.study.recipe.runs import TrainingRun

GRID = " few_shot="
ROWS = [*published_attempt.ROWS, *published_tpv.ROWS]


@lru_cache
def runs_of(name):
    return load_recipe(packaged_recipes()[name]).runs


def setting(run, key):
    """The value of a setting; None for an option that the run's method does not have."""
    value = run.settings
    for part in key.split("."):
        value = getattr(value, part, None) if value is run.settings.method else getattr(value, part)
    return str(value) if isinstance(value, Formula) else value


def variant(run):
    """The label without a place of a few-shot grid, which `told` compares apart."""
    return run.label.partition(GRID)[0]


def once(values):
    out = []
    for value in values:
        if value not in out:
            out.append(value)
    return out


def told(name, stage, key):
    """What a row's runs hold: one value, or the values by what tells them apart."""
    stage, _, tasks = stage.partition("/")
    everything = runs_of(name)
    if key == "stages":
        return once(run.stage for run in everything)
    if key == "compare":
        return next(run.compare for run in everything if run.stage == stage)
    runs = [run for run in everything if isinstance(run, TrainingRun) and stage in ("", run.stage)]
    runs = [run for run in runs if tasks in ("", "+".join(run.tasks))]
    assert runs, f"{name} has no stage {stage} of {tasks}"
    if key == "tasks":
        return once("+".join(run.tasks) for run in runs)
    if key == "labels":
        return once(run.label.partition(" attention_lr=")[0].partition(GRID)[0] for run in runs)
    if "," in key:
        return once(tuple(setting(run, each.strip()) for each in key.split(",")) for run in runs)
    by_stage = (lambda run: run.stage,) if not stage else ()
    for apart in (lambda run: "", *by_stage, lambda run: "+".join(run.tasks), variant, lambda run: run.label):
        found = {}
        for run in runs:
            found.setdefault(apart(run), []).append(run)
        if key == "seeds":  # one list for each of what is told apart: every cell of the rest has the same one
            cells = {what: once(seeds_of(part)) for what, part in found.items()}
        else:
            cells = {what: once(setting(run, key) for run in part) for what, part in found.items()}
        if all(len(values) == 1 for values in cells.values()):
            one = {what: values[0] for what, values in cells.items()}
            return one[""] if one.keys() == {""} else one
    raise AssertionError(f"{name} {stage}: {key} hangs on more than tasks or labels")


def seeds_of(runs):
    """The seeds of every stage, label and set of tasks."""
    found = {}
    for run in runs:
        found.setdefault((run.stage, run.label, run.tasks), []).append(run.seed)
    return found.values()


@pytest.mark.parametrize(("name", "stage", "key", "value", "where"), ROWS, ids=[" ".join(row[:3]) for row in ROWS])
def test_a_published_value(name, stage, key, value, where):
    found = told(name, stage, key)
    if isinstance(value, dict) and "*" in value and isinstance(found, dict):
        assert value.keys() - {"*"} <= found.keys(), where
        value = {what: value.get(what, value["*"]) for what in found}
    assert found == value, where
