"""Processes beside this one on one store."""

import os
import random
import signal
import time

import pytest
import torch

from cpeft.prompts.exchange import load_prompt
from cpeft.study.launchers.job import Job
from cpeft.study.launchers.processes import helpers
from cpeft.study.plan import Plan
from cpeft.study.recipe import load_recipe
from cpeft.study.store import Store
from launched import LIMIT_S, at_work, outcome_of, wait_until

STAGE = ("seeds=[0]", "tasks=mood.toml")


@pytest.fixture(autouse=True)
def my_threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def job(world, store, *overrides):
    return Job.of(Plan(load_recipe(world / "study.toml", [*STAGE, *overrides]), Store(store)))


def test_a_helper_does_the_whole_work_where_nobody_else_does(world, finished, tmp_path):
    """Its prompts are those of a single process, bit for bit."""
    store = tmp_path / "store"
    with helpers(1, job(world, store)):
        pass
    plan = Plan(load_recipe(world / "study.toml", STAGE), Store(store))
    assert {entry.state for entry in plan.entries()} == {"done"}
    assert "done sources/mood" in (store / "process-1.log").read_text()
    [mine], [theirs] = (path.glob("sources/mood*s0-*/prompts/mood") for path in (store, finished.path))
    assert torch.equal(load_prompt(mine).weight, load_prompt(theirs).weight)


def test_a_block_that_fails_stops_its_helpers(world, tmp_path):
    with pytest.raises(KeyError), helpers(2, job(world, tmp_path / "store", "train.steps=100000")):
        raise KeyError("something")


def test_the_command(world, cpeft_main, tmp_path):
    store = tmp_path / "store"
    code, out, err = cpeft_main("run", world / "study.toml", *STAGE, "--store", store, "--processes", 2)
    assert (code, err) == (0, "")
    plan = Plan(load_recipe(world / "study.toml", STAGE), Store(store))
    assert {entry.state for entry in plan.entries()} == {"done"}
    assert "report.html" in out
    assert cpeft_main("run", world / "study.toml", "--store", store, "--processes", 0)[0] == 2


def test_none_are_started_for_one_process(world, tmp_path):
    with helpers(0, job(world, tmp_path / "store")):
        pass
    assert not (tmp_path / "store").exists()


@pytest.mark.slow
def test_ten_kills_of_the_command_and_its_helper_change_nothing(world, alone, longer, tmp_path, start):
    """Whoever is in the middle of a run is killed; a killed command leaves its helper at work and is given again."""
    store, rng = tmp_path / "store", random.Random(1)
    arguments = (tmp_path / "out", "run", world / "study.toml", *longer, "--store", store, "--processes", 2)
    command, finished, victims = start(*arguments), {}, []
    while len(victims) < 10:
        [(pid, _), *_] = wait_until(lambda: rng.sample(here := at_work(store, 0), len(here)), command)
        time.sleep(rng.random() * 0.1)
        os.kill(pid, signal.SIGKILL)
        victims.append(pid == command.pid)
        if victims[-1] or not at_work(store, 0):
            command.kill()
            command.wait()
            command = start(*arguments)
        now = {run.path: stamps(run) for run in Store(store).runs() if run.done}
        assert all(now[path] == before for path, before in finished.items()), "a finished run was touched"
        finished = now
    assert 0 < sum(victims) < 10, "commands and helpers both"
    assert len(finished) < 16, "the study was over before the last kill"
    assert command.wait(LIMIT_S) == 0, (tmp_path / "out").read_text()
    assert outcome_of(store) == alone
    assert all(
        (path.parent / "result.json").exists() for path in store.rglob("claim.json")
    )  # killed right after its last word


def stamps(run):
    """The times of a run's files."""
    return {
        file.name: file.stat().st_mtime_ns
        for file in run.path.rglob("*")
        if file.is_file() and file.name != "claim.json"
    }
