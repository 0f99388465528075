"""The recipes of the papers: each runs from end to end under `tiny=true`, and differs from our defaults, and from
its family, in what it says and in nothing else."""

import json
import re
from pathlib import Path

import pytest

from cpeft.config import changed
from cpeft.data.options import DataOptions
from cpeft.evaluation import task_data
from cpeft.methods import METHODS
from cpeft.options.training import TrainOptions
from cpeft.store.run_folder import Store
from cpeft.study.recipe.recipe import load_recipe, packaged_recipes
from cpeft.study.recipe.settings import RunSettings
from cpeft.study.recipe.tiny import STEPS
from cpeft.study.runner.plan import Plan

PAPER = {name: path for name, path in packaged_recipes().items() if name.startswith("paper/")}
DOUBLED = ("paper/tpv-t5-legacy", "paper/attempt-legacy", "paper/attempt-given-legacy")
PAGE = (Path(__file__).parents[1] / "docs" / "fidelity.md").read_text(encoding="utf-8")


def forget_rows():
    for cached in (task_data.dataset_of, task_data._splits_of, task_data._split_data, task_data._encoded):
        cached.cache_clear()


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """Where all tiny runs of these tests start, so that they share models and rows."""
    return tmp_path_factory.mktemp("start")


@pytest.mark.parametrize("name", PAPER)
def test_a_recipe_runs_at_tiny_size(name, start, cpeft_main, monkeypatch):
    """Every stage of it through to the report, on made-up rows, without anything from elsewhere."""
    monkeypatch.chdir(start)
    monkeypatch.delenv("CPEFT_DATA", raising=False)
    code, out, error = cpeft_main("run", name, "tiny=true")
    assert (code, error) == (0, "")
    store = Store(start / "stores" / "tiny" / name)
    assert f"report: {Path('stores/tiny') / name / 'report.html'}" in out
    results = store.results()
    assert {result.stage for result in results} == {run.stage for run in load_recipe(PAPER[name]).runs}
    for result in (result for result in results if result.scores):
        assert result.steps == (STEPS if result.trainable else 0)
        assert result.validation is not None
    cut = {note for result in results if result.stage == "first-half" for note in result.notes}
    asked = "source.rows = 'first:2': only these rows of each prompt that this run starts from are used"
    assert cut == ({asked} if name == "paper/attempt-given" else set())
    layouts = {
        json.loads(path.read_text())["num_transformer_submodules"] for path in store.path.rglob("adapter_config.json")
    }
    assert layouts == ({2} if name in DOUBLED else {1})


@pytest.mark.parametrize("name", PAPER)
def test_a_recipe_parses_and_names_what_exists(name):
    recipe = load_recipe(PAPER[name])
    assert recipe.name == name
    assert recipe.about
    plan = Plan(recipe, Store("nowhere"))
    for run in recipe.runs:
        for reference in run.references():
            if not reference.startswith("authors/"):  # what a user brings
                assert plan.references.named(reference, run), f"{run}: {reference} names no run"


def test_a_plan_needs_the_rows_and_says_so(cpeft_main, monkeypatch, tmp_path):
    monkeypatch.delenv("CPEFT_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    forget_rows()
    code, _, error = cpeft_main("plan", "paper/tpv-t5")
    assert code == 3
    assert "task 'mnli': no rows found" in error
    assert "cpeft fetch task:mnli" in error


SWITCHES = {  # of data and training that only published behaviour sets
    "data": ("padding", "label_padding", "split", "few_shot_per", "loss", "squad_target"),
    "train": ("select", "base_dropout"), "prompt": ("rows", "dtype"), "optim": ("clip", "weight_decay"), "source": ("rows",),
}  # fmt: skip


@pytest.mark.parametrize("name", [name for name in PAPER if name.endswith("-corrected")])
def test_corrected_recipes_have_our_defaults(name):
    for run in load_recipe(PAPER[name]).training:
        own = changed(run.settings)
        told = [f"{table}.{key}" for table, keys in SWITCHES.items() for key in keys if key in own.get(table, {})]
        assert not told, f"{run} sets {told}"
        assert run.settings.seeds.subset is None


def option(key):
    """The default of a switch named as in a recipe."""
    table, _, key = key.partition(".")
    if table == "attempt":
        return METHODS.get("attempt").Options.model_fields[key].default
    tables = {"data": DataOptions, "train": TrainOptions}
    options = tables.get(table) or RunSettings.model_fields[table].annotation
    return options.model_fields[key].default


ROW = re.compile(r"^\| `([\w.]+)` \| `([^`]*)`[^|]*\| (.*) \| (.*) \|$", re.MULTILINE)


def test_the_page_of_switches_is_true():
    """Defaults are those of the options, and each recipe named beside a value has a run that sets it."""
    found = ROW.findall(PAGE)
    assert len(found) > 15
    runs = {name.removeprefix("paper/"): load_recipe(path).training for name, path in PAPER.items()}
    for key, default, published, families in found:
        assert str(option(key)) == default, key
        values = re.findall(r"`([^`]+)`", published)
        assert values
        for family in re.findall(r"`([\w-]+)`", families):
            table, _, name = key.partition(".")
            table = "method" if table == "attempt" else table
            own = {str(getattr(getattr(run.settings, table), name, None)) for run in runs[family]}
            assert set(values) & own, f"{family} sets {key} to {own}, the page says {values}"
