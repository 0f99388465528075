"""Gangs in a study: what ends makes room for the next run that is ready, and nothing of it is seen in the results."""

import gc
import os
import subprocess
import sys
import weakref

import pytest
from rich.console import Console

from cpeft.prompts.exchange import load_prompt
from cpeft.store.run_folder import Store
from cpeft.study.recipe.recipe import load_recipe
from cpeft.study.runner.plan import Plan
from cpeft.study.runner.worker import run_recipe
from cpeft.training.callbacks.metrics_file import MetricsFile
from tiny import QUICK, child_environment

RECIPE = f"""{QUICK}
[energy]
measure = "off"
[gang]
size = 2
pool = "member"
[[stage]]
name = "sources"
tasks = ["mood.toml", "topic.toml", "rank.toml"]
seeds = [0, 1]
[stage.task."mood.toml"]
train.steps = 2
[[stage]]
name = "targets"
tasks = ["rank.toml"]
prompt.init = "sources/mood"
train.steps = 9
"""


@pytest.fixture
def recipe(world, tmp_path):
    path = world / f"{tmp_path.name}.toml"
    path.write_text(RECIPE)
    return path


def prompts(store):
    return {path.parents[1].name: path.read_bytes() for path in store.path.glob("*/*/prompts/*/*.safetensors")}


def test_what_ends_makes_room_for_the_next(recipe, tmp_path, monkeypatch):
    steps, claimed = [], []
    old = MetricsFile.on_step

    def on_step(self, member, record):
        old(self, member, record)
        steps.append((member.name.removesuffix(".s0").split(".")[0], record["step"]))
        claimed.append({path.parent.name.split(".")[0] for path in (tmp_path / "gang").glob("*/*/claim.json")})

    monkeypatch.setattr(MetricsFile, "on_step", on_step)
    store = Store(tmp_path / "gang")
    seed = ["seeds=[0]"]
    assert run_recipe(Plan(load_recipe(recipe, seed), store), Console(quiet=True)).done == 4
    assert steps[:6] == [
        ("sources/mood", 1), ("sources/topic", 1), ("sources/mood", 2), ("sources/topic", 2), ("sources/topic", 3),
        ("sources/rank", 1),
    ]  # fmt: skip
    late = [name for name, _ in steps].index("targets/rank")
    assert ("sources/rank", 6) in steps[late:], "a target starts beside a source, as soon as what it needs is there"
    assert all(len(names) <= 2 for names in claimed), "claims are held for what is being trained"
    one = Store(tmp_path / "one")
    run_recipe(Plan(load_recipe(recipe, [*seed, "gang.size=1"]), one), Console(quiet=True))
    assert prompts(store) == prompts(one)
    assert not list(store.path.rglob("claim.json"))


def test_one_that_cannot_be_prepared_leaves_its_place_to_the_next(recipe, tmp_path, monkeypatch):
    from cpeft.study.runner import gang

    old = gang.prepare

    def prepare(run, *more):
        if run.name == "rank.sources.s0":
            raise ValueError("no rows")
        return old(run, *more)

    monkeypatch.setattr(gang, "prepare", prepare)
    plan = Plan(load_recipe(recipe, ["seeds=[0]"]), Store(tmp_path / "store"))
    summary = run_recipe(plan, Console(quiet=True))
    assert (summary.done, list(summary.failures)) == (3, ["sources/rank.sources.s0"])
    assert not list(plan.store.path.rglob("claim.json"))


def test_nothing_of_a_finished_run_stays(recipe, tmp_path, monkeypatch):
    """While a run is prepared, those that ended before it are gone, and not because the collector came by; the first of a
    gang stays until the gang ends."""
    from cpeft.study.runner import gang

    old, seen, alive = gang.prepare, [], []

    def prepare(run, *more):
        alive.append([name for name, *parts in seen if any(part() is not None for part in parts)])
        ready = old(run, *more)
        seen.append((run.name, weakref.ref(ready.member), weakref.ref(ready.member.learner.method)))
        return ready

    monkeypatch.setattr(gang, "prepare", prepare)
    changes = ["gang.size=1", "seeds=[0]", "train.steps=2"]
    gc.disable()
    try:
        assert run_recipe(Plan(load_recipe(recipe, changes), Store(tmp_path / "store")), Console(quiet=True)).done == 4
    finally:
        gc.enable()
    first, second = seen[0][0], seen[1][0]
    assert [len(names) for names in alive[:2]] == [0, 1]
    assert set(alive[3]) <= {first, seen[2][0]}
    assert second not in alive[3]


@pytest.mark.slow
def test_two_processes_on_every_run_agree_who_comes_next(recipe, tmp_path):
    """Under accelerate all processes share every run of the gang."""
    seed = ["seeds=[0]"]
    store, one = Store(tmp_path / "store"), Store(tmp_path / "one")
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m", "cpeft.cli", "run"]
    done = subprocess.run(
        [sys.executable, *launch, str(recipe), *seed, "--store", str(store.path)], capture_output=True, text=True,
        env=child_environment(ACCELERATE_USE_CPU="true", PYTHONPATH=os.environ.get("PYTHONPATH", "")), timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    run_recipe(Plan(load_recipe(recipe, seed), one), Console(quiet=True))
    names = [path.relative_to(one.path) for path in one.path.glob("sources/*/prompts/*")]
    assert len(names) == 3
    for name in names:
        both = [load_prompt(place / name).weight for place in (store.path, one.path)]
        assert float((both[0] - both[1]).abs().max()) < 1e-4
    assert len(store.results()) == 4
