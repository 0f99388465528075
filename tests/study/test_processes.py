"""Processes beside this one on one store."""

import os
import random
import signal
import time

import pytest
import torch

from cpeft.prompts.exchange import load_prompt
from cpeft.store.claims import start_of
from cpeft.store.run_folder import Store
from cpeft.study.launchers.job import Job
from cpeft.study.launchers.processes import helpers
from cpeft.study.recipe.recipe import load_recipe
from cpeft.study.runner.plan import Plan
from launched import LIMIT_S, outcome_of, wait_until
from told import events, in_every_process

KILLS = 5
STEPS, EVERY = 20, 5  # of a run of the longer study, and between two of its checkpoints
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
def test_kills_of_the_command_and_its_helper_change_nothing(world, alone, longer, tmp_path, start):
    """Whoever is in the middle of a run is killed; a killed command leaves its helper at work and is given again."""
    store, rng, told = tmp_path / "store", random.Random(1), in_every_process(tmp_path / "told")
    log = tmp_path / "told" / "log"
    arguments = (tmp_path / "out", "run", world / "study.toml", *longer, "--store", store, "--processes", 2)
    command, finished, victims = start(*arguments, **told), {}, []
    while len(victims) < KILLS:
        steps = rng.randrange(1, 30)
        pid = wait_until(lambda: kill_in_a_run(log, steps), command)  # noqa: B023 (called at once)
        victims.append(pid == command.pid)
        if victims[-1]:
            command.wait()
            command = start(*arguments, **told)
        now = {run.path: stamps(run) for run in Store(store).runs() if run.done}
        assert all(now[path] == before for path, before in finished.items()), "a finished run was touched"
        finished = now
    assert 0 < sum(victims) < KILLS, "commands and helpers both"
    assert len(finished) < 16, "the study was over before the last kill"
    assert command.wait(LIMIT_S) == 0, (tmp_path / "out").read_text()
    assert outcome_of(store) == alone
    lost = steps_lost(events(log))
    assert all(0 <= steps <= EVERY for steps in lost), "at most one checkpoint interval"
    assert len(lost) == KILLS, "every kill lands in the middle of a run"
    assert all(
        (path.parent / "result.json").exists() for path in store.rglob("claim.json")
    )  # killed right after its last word


def kill_in_a_run(log, steps):
    """Kill a process of the command in the middle of a run, once it has made so many steps, and tell which; 0 without one."""
    for pid in {event["pid"] for event in events(log)[-40:]}:
        if start_of(pid):
            os.kill(pid, signal.SIGSTOP)
            told = [event for event in events(log) if event["pid"] == pid]
            made = sum(event["what"] == "on_step" for event in told)
            inside = made >= steps and told[-1]["what"] == "on_step" and told[-1]["step"] < STEPS
            os.kill(pid, signal.SIGKILL if inside else signal.SIGCONT)
            while inside:
                if not start_of(pid):
                    return pid
                time.sleep(0.01)
    return 0


def steps_lost(told):
    """Of every run that was gone on with, the steps that were made again."""
    last, lost = {}, []
    for event in told:
        if event["what"] == "on_start" and last.get(event["run"]):
            lost.append(last[event["run"]] - event["step"])
        last[event["run"]] = event["step"]
    return lost


def stamps(run):
    """The times of a run's files."""
    return {
        file.name: file.stat().st_mtime_ns
        for file in run.path.rglob("*")
        if file.is_file() and file.name != "claim.json"
    }
