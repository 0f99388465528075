"""One run fails, the others do not: what is kept, what is blocked, and how it is tried again."""

import json
import math

import pytest
import torch

from cpeft.store.run_folder import Store
from cpeft.study.recipe.recipe import load_recipe
from cpeft.study.runner import gang
from cpeft.study.runner.plan import Plan
from cpeft.training.callbacks.metrics_file import MetricsFile

SEEDS = ("seeds=[0]",)


def states(world, store, *overrides):
    entries = Plan(load_recipe(world / "study.toml", [*SEEDS, *overrides]), Store(store)).entries()
    return {e.run.name: (e.state, e.folder.path if e.folder else e.why) for e in entries}


def nan(member):
    with torch.no_grad():
        member.trainable[0][0, 0] = math.nan


def poison(monkeypatch, run, step=3, spoil=nan):
    """Turns a parameter of one run into NaN after a step, as a diverging run does; or spoils it otherwise."""
    old = MetricsFile.on_step

    def on_step(self, member, record):
        old(self, member, record)
        if member.name.endswith(run) and record["step"] == step:
            spoil(member)

    monkeypatch.setattr(MetricsFile, "on_step", on_step)


@pytest.mark.parametrize("gang", ["1", "4"])
def test_nan_fails_one_run_alone_and_retry_runs_it_again(world, tmp_path, cpeft_main, monkeypatch, gang):
    store = tmp_path / "store"
    arguments = ("run", world / "study.toml", *SEEDS, f"gang.size={gang}", "gang.pool=member", "--store", store)
    with monkeypatch.context() as patch:
        poison(patch, "mood.sources.s0", step=4)
        code, out, _ = cpeft_main(*arguments)
    assert code == 1
    now = states(world, store)
    failed, folder = now["mood.sources.s0"]
    assert failed == "failed"
    assert now["topic.sources.s0"][0] == "done"
    assert [state for name, (state, _) in now.items() if "vocab" in name] == ["done", "done"]
    for name in now:
        if "spot" in name or "attempt" in name:
            assert now[name] == ("blocked", "needs sources/mood.sources.s0, which failed")
            assert f"blocked targets/{name}" in out
    assert {path.name for path in folder.iterdir()} >= {"failed.json", "failed_batch.json", "config.toml"}
    assert not (folder / "result.json").exists()
    assert not (folder / "claim.json").exists()
    card = json.loads((folder / "failed.json").read_text())
    assert "loss is nan at step 5" in card["error"]
    assert "Traceback" in card["traceback"] or "RunFailed" in card["traceback"]
    batch = json.loads((folder / "failed_batch.json").read_text())
    assert batch["step"] == 5
    assert len(batch["rows"]) == 4
    assert f"failed sources/mood.sources.s0: see {folder}/failed.json" in out

    kept = {path: path.stat().st_mtime_ns for path in store.glob("*/*/result.json")}
    assert cpeft_main(*arguments)[0] == 1  # a failed run is not tried again by itself
    assert (folder / "failed.json").exists()
    assert cpeft_main(*arguments, "--retry")[0] == 0
    assert {state for state, _ in states(world, store).values()} == {"done"}
    assert {path: path.stat().st_mtime_ns for path in kept} == kept


def test_nan_in_the_last_step_is_not_saved_as_a_prompt(world, tmp_path, cpeft_main, monkeypatch):
    """No later loss would show it: it is found before the run is scored, and other runs go on."""
    store = tmp_path / "store"

    def explode(member):
        member.optimizer.param_groups[0]["initial_lr"] = math.inf

    poison(monkeypatch, "mood.sources.s0", step=5, spoil=explode)
    assert cpeft_main("run", world / "study.toml", *SEEDS, "--store", store)[0] == 1
    now = states(world, store)
    failed, folder = now["mood.sources.s0"]
    assert failed == "failed"
    assert "not finite after step 6" in json.loads((folder / "failed.json").read_text())["error"]
    assert not (folder / "prompts").exists()
    assert now["topic.sources.s0"][0] == "done"


def test_a_wild_rate_fails_its_run_alone(world, tmp_path, cpeft_main):
    store, wild = tmp_path / "store", ("targets.optim.lr=1e37", "targets.tasks=mood.toml")
    assert cpeft_main("run", world / "study.toml", *SEEDS, *wild, "--store", store)[0] == 1
    now = states(world, store, *wild)
    assert {state for name, (state, _) in now.items() if ".sources." in name} == {"done"}
    assert "failed" in {state for state, _ in now.values()}
    for state, folder in now.values():
        assert (state == "failed") == (folder / "failed.json").exists()
        assert (state == "done") == (folder / "result.json").exists()


def test_scoring_that_breaks_fails_one_run(world, tmp_path, cpeft_main, monkeypatch):
    old = gang.conclude

    def conclude(prepared, *more):
        if prepared.run.name == "mood.sources.s0":
            raise ValueError("this metric cannot be computed [here]")
        return old(prepared, *more)

    monkeypatch.setattr(gang, "conclude", conclude)
    code, out, _ = cpeft_main("run", world / "study.toml", *SEEDS, "--store", tmp_path / "store")
    assert code == 1
    assert "this metric cannot be computed [here]" in out
    now = states(world, tmp_path / "store")
    assert [name for name, (state, _) in now.items() if state == "failed"] == ["mood.sources.s0"]
    assert now["topic.sources.s0"][0] == "done"


def test_plan_shows_what_happened(world, tmp_path, cpeft_main, monkeypatch):
    store = tmp_path / "store"
    asked = (world / "study.toml", *SEEDS, "--store", store)
    out = cpeft_main("plan", *asked, "--json")[1]
    before = json.loads(out)
    assert [run["state"] for run in before["runs"]] == ["ready"] * 4 + ["waiting"] * 4
    assert before["done"] == 0
    assert before["hours_left"] is None
    assert not list(store.glob("*/*")), "plan writes nothing"
    with monkeypatch.context() as patch:
        poison(patch, "mood.sources.s0")
        cpeft_main("run", *asked)
    after = json.loads(cpeft_main("plan", *asked, "--json")[1])
    assert [run["state"] for run in after["runs"]] == ["failed", "done", "done", "done"] + ["blocked"] * 4
    assert after["done"] == 3
    assert after["hours_left"] == 0, "what a failed run keeps back is not to come"
    table = cpeft_main("plan", *asked)[1]
    assert "8 runs, 3 done" in table
    assert "4 blocked" in table
    assert "blocked: needs sources/mood.sources.s0, which failed" in table
