"""Baselines in recipes: beside prompts, through the same folders, tables, report, `cpeft eval` and Python functions."""

import gc
import json
import sys
import weakref

import pytest
import torch
from rich.console import Console

import cpeft
from cpeft.config import read_toml
from cpeft.errors import ConfigError
from cpeft.models.loading import load_lm
from cpeft.prompts.soft_prompt import SoftPrompt
from cpeft.report.page import write_report
from cpeft.report.study import Study
from cpeft.report.summary import score_table, summarise
from cpeft.store.run_folder import Store
from cpeft.study.recipe.recipe import load_recipe
from cpeft.study.recipe.settings import parse_settings
from cpeft.study.runner import gang as gang_module
from cpeft.study.runner.plan import Plan
from cpeft.study.runner.worker import run_recipe
from cpeft.use.target import load_subject
from tiny import QUICK

RECIPE = f"""name = "compared"
{QUICK}
[[stage]]
name = "sources"
tasks = ["mood.toml"]
[[stage]]
name = "all"
tasks = ["mood.toml", "rank.toml"]
gang.size = 8
prompt.init = "sources/mood"
[[stage.variant]]
name = "prompt"
[[stage.variant]]
name = "mpt"
method.name = "mpt"
[[stage.variant]]
name = "full"
method.name = "fine_tuning"
optim.lr = 0.001
[[stage.variant]]
name = "biases"
method = {{ name = "bitfit", biases = "added" }}
[[stage.variant]]
name = "adapters"
method = {{ name = "adapters", reduction = 8 }}
"""
PEFT = """
[[stage.variant]]
name = "lora"
method = { name = "lora", rank = 2 }
[[stage.variant]]
name = "ia3"
method.name = "ia3"
[[stage.variant]]
name = "prefix"
method = { name = "prefix_tuning", length = 5 }
"""


@pytest.fixture(scope="module")
def compared(world, tmp_path_factory):
    """A finished store of all baselines, a prompt and mpt; the gangs that were trained together; the baselines' models."""
    pytest.importorskip("peft", reason="needs peft")
    recipe = world / "compared.toml"
    recipe.write_text(RECIPE + PEFT)
    store = Store(tmp_path_factory.mktemp("compared") / "store")
    gangs, models = [], []
    real = gang_module.train_gang

    def watched(members, options, *more):
        gangs.append([member.name for member in members])
        models.extend(weakref.ref(m.learner.lm.model) for m in members if type(m.learner) is not cpeft.PromptedLM)
        real(members, options, *more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gang_module, "train_gang", watched)
        summary = run_recipe(Plan(load_recipe(recipe), store), Console(quiet=True))
    assert (summary.done, summary.failures, summary.blocked) == (17, {}, {})
    gc.collect()
    return store, gangs, [model() for model in models]


def results_of(store):
    return {(r.label, *r.tasks): r for r in store.results() if r.stage == "all"}


def test_a_baseline_is_a_gang_of_one_and_its_model_is_freed(compared):
    _, gangs, models = compared
    together = [sorted({name.split(".")[-2] for name in gang}) for gang in gangs if len(gang) > 1]
    assert together == [["mpt", "prompt"]]
    assert len(gangs) == 1 + 1 + 12
    assert models == [None] * 12


def test_every_score_has_the_number_of_trained_parameters(compared, world):
    store, _, _ = compared
    lm = load_lm(world / "model", dtype="float32")
    whole = sum(p.numel() for p in lm.model.parameters())
    expected = {"prompt": 4 * 32, "mpt": 4 * 32 + 4 + 32, "full": whole, "prefix": 5 * 2 * 2 * 32, "lora": 12 * 2 * 64}
    results = results_of(store)
    assert len(results) == 16
    for (label, _), result in results.items():
        assert result.trainable == expected.get(label, result.trainable) > 0
        assert result.prompts == (result.tasks[:1] if label in ("prompt", "mpt") else ())
        assert result.steps == 6
    kept = {path.parts[-3].split(".")[1] for path in store.path.glob("all/*/checkpoint/checkpoint.safetensors")}
    assert kept == {"prompt", "mpt"}, "that of a whole model takes gigabytes"
    cells = summarise(Study.of(store).runs)
    table = score_table(cells).markdown()
    assert all(cell.trainable is not None for cell in cells)
    assert f"| {whole:,} |" in table
    page = write_report(store.path).read_text()
    assert f"{whole:,}" in page


def test_a_saved_run_scores_as_it_did(compared, cpeft_main, monkeypatch, world):
    store, _, _ = compared
    monkeypatch.chdir(world)
    for run in store.runs():
        result = run.result()
        if result.stage == "all" and result.tasks == ("rank",):
            scores = load_subject(str(run.path)).evaluate("rank.toml")
            assert scores["accuracy"].value == result.scores["rank"]["accuracy"].value, result.label
    lora = next(run.path for run in store.runs() if run.path.name.startswith("rank.lora"))
    code, out, err = cpeft_main("eval", lora, "--task", "rank.toml", "--json")
    assert code == 0, err
    shown = json.loads(out)
    assert str(results_of(store)["lora", "rank"].scores["rank"]["accuracy"].value) in json.dumps(shown)


def test_what_a_recipe_says_of_prompts_does_not_concern_a_baseline(world, compared):
    """Neither the start nor the length of prompts is part of its identity, its settings or what it waits for."""
    store, _, _ = compared
    overrides = ("prompt.length=7", "prompt.init=random", 'sources=["sources/mood"]', "source.rows=first:2")
    ids = []
    for more in ((), overrides):
        plan = Plan(load_recipe(world / "compared.toml", more), store)
        runs = [run for run in plan.recipe.training if run.stage == "all" and run.settings.changes_model]
        assert len(runs) == 12
        assert all(run.references() == [] and run.gang is None for run in runs)
        assert all("prompt" not in run.saved() and "sources" not in run.saved() for run in runs)
        ids.append([run.identity(plan.references) for run in runs])
    assert ids[0] == ids[1]
    for run in store.runs():
        settings = parse_settings(read_toml(run.path / "config.toml"))
        assert settings.saved() == parse_settings(settings.saved()).saved()


def test_wrong_options_are_said_with_their_place(tmp_path):
    model = {"tasks": ["rte"], "model": {"name": "x"}}
    with pytest.raises(ConfigError, match=r"\[method\] unknown key 'rnk', did you mean 'rank'"):
        parse_settings({**model, "method": {"name": "lora", "rnk": 2}})
    with pytest.raises(ConfigError, match=r"\[prompt\] unknown key 'lenth'"):
        parse_settings({**model, "prompt": {"lenth": 2}, "method": {"name": "bitfit"}})
    with pytest.raises(ConfigError, match=r"did you mean 'adapters'"):
        parse_settings({**model, "method": {"name": "adapter"}})


@pytest.mark.parametrize("name", ["lora", "ia3", "prefix_tuning"])
def test_without_peft_the_recipe_says_what_to_install(name, monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(ConfigError, match=rf"'{name}' needs peft: pip install 'cpeft\[peft\]'"):
        parse_settings({"tasks": ["rte"], "model": {"name": "x"}, "method": {"name": name}})
    parse_settings({"tasks": ["rte"], "model": {"name": "x"}, "method": {"name": "fine_tuning"}})


def test_from_python(world, monkeypatch, tmp_path):
    monkeypatch.chdir(world)
    lm = load_lm("model", dtype="float32")
    before = {key: value.clone() for key, value in lm.model.state_dict().items()}
    settings = {"method": {"name": "adapters"}, "train": {"steps": 4, "batch": 4}, "optim": {"lr": 0.01}}
    learner = cpeft.train(lm, "mood.toml", folder=tmp_path, **settings)
    assert cpeft.evaluate(learner, "mood.toml")["accuracy"].value >= 0
    assert len(cpeft.predict(learner, "mood.toml", [{"text": "w1 w2"}], prefix="none")) == 1
    assert all(torch.equal(value, lm.model.state_dict()[key]) for key, value in before.items())
    with pytest.raises(ConfigError, match="trains no prompt: leave out sources and start"):
        cpeft.train(lm, "mood.toml", start=SoftPrompt(torch.zeros(4, 32)), **settings)
    own = weakref.ref(learner.lm.model)
    del learner
    gc.collect()
    assert own() is None, "evaluating keeps no model"
