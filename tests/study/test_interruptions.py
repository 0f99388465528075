"""Killed, asked to stop, and shared between processes: every run is done once, and as if nothing had happened."""

import json
import multiprocessing
import os
import random
import signal
import sys
import time

import pytest
import torch
from rich.console import Console

from cpeft import cli
from cpeft.store.run_folder import Store
from cpeft.study.recipe.recipe import load_recipe
from cpeft.study.runner.plan import Plan
from cpeft.study.runner.worker import run_recipe
from cpeft.training.checkpoint import load_checkpoint
from launched import LIMIT_S, wait_until
from told import events, in_every_process, tell_steps

EVERY, STEPS = 5, 60
LONGER = (f"train.steps={STEPS}", f"train.checkpoint_every={EVERY}", "train.eval_every=20", "targets.seeds=[0]")
RUNS = 10

CONTEXT = multiprocessing.get_context("forkserver")  # imports once; every child is a process of its own
CONTEXT.set_forkserver_preload(["cpeft.cli", "cpeft.study.runner.worker", "cpeft.report.summary", "tiny"])


def command(log, arguments):
    """`cpeft run`, telling a file of its own where each run starts or resumes and which steps it makes."""
    output = os.open(f"{log}.out", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    torch.set_num_threads(1)
    tell_steps(log)
    sys.argv = ["cpeft", "run", *arguments]
    cli.main()


def begin(world, store, log, *more):
    arguments = [str(world / "study.toml"), *LONGER, *more, "--store", str(store)]
    process = CONTEXT.Process(target=command, args=(log, arguments))
    process.start()
    return process


def exit_code(process, limit_s):
    process.join(limit_s)
    return process.exitcode


def wait_for(log, lines, process, limit_s=60.0):
    """Wait until the log has so many lines or the process is over."""
    end = time.monotonic() + limit_s
    while process.is_alive() and len(events(log)) < lines:
        assert time.monotonic() < end, "the child does nothing"
        time.sleep(0.004)


def wait_for_step(log, process, limit_s=60.0):
    """Wait until the newest event is one of a run's first steps, however fast or loaded the machine is."""
    end = time.monotonic() + limit_s
    while process.is_alive() and not 0 < events(log)[-1].get("step", 0) < STEPS / 2:
        assert time.monotonic() < end, "no run makes its first steps"
        time.sleep(0.001)


def runs_of(store):
    return {run.path.name: run for run in Store(store).runs()}


def outcome(store):
    """Everything a run leaves that must not depend on interruptions."""
    left = {}
    for name, run in runs_of(store).items():
        result = {k: v for k, v in run.result().card().items() if k not in ("seconds", "hardware", "energy")}
        prompts = {path.parent.name: path.read_bytes() for path in run.path.glob("prompts/*/*.safetensors")}
        state = (run.path / "method" / "state.safetensors").read_bytes()
        left[name] = (result, prompts, state, (run.path / "metrics.jsonl").read_text())
    tables = {path.name: path.read_text() for path in store.glob("table*.md")}
    assert set(tables) == {"table.md"}
    return left, tables


@pytest.fixture(scope="module")
def whole(world, tmp_path_factory):
    """The same study without interruption."""
    store = tmp_path_factory.mktemp("whole") / "store"
    plan = Plan(load_recipe(world / "study.toml", LONGER), Store(store))
    assert run_recipe(plan, Console(quiet=True)).done == RUNS
    cli.runs._show_results(plan)
    return outcome(store)


@pytest.mark.slow
@pytest.mark.parametrize(("kills", "more"), [(6, ()), (4, ("gang.size=3", "gang.pool=member"))])
def test_kills_change_nothing(world, whole, tmp_path, kills, more):
    """Of runs one after the other, and of a gang whose places are filled again."""
    store, log = tmp_path / "store", tmp_path / "log"
    rng = random.Random(0)
    before, inside = {}, 0  # run -> its last logged step and, where finished, its files
    for number in range(kills):
        process = begin(world, store, log, *more)
        began = len(events(log))
        wait_for(log, began + rng.randint(2, 60), process)
        if number % 3:  # two kills of three within a run, soon after one of its early steps
            wait_for_step(log, process)
        else:  # anywhere: within a step, an evaluation, the scoring of test rows
            time.sleep(rng.random() * 0.1)
        assert process.is_alive(), "the study was over before the last kill"
        process.kill()
        assert exit_code(process, 10) == -signal.SIGKILL
        for event in events(log)[began:]:
            last, files = before.get(event["run"], (0, None))
            assert files is None, f"{event['run']} was finished and went on"
            if event["what"] == "on_start":
                assert 0 <= last - event["step"] <= EVERY, (
                    f"{event['run']}: {last} steps made, resumed at {event['step']}"
                )
        runs = runs_of(store)
        assert all(frozen(runs[name]) == files for name, (_, files) in before.items() if files)
        before = {name: (last_step(run), frozen(run) if run.done else None) for name, run in runs.items()}
        inside += any(files is None and 0 < made < STEPS for made, files in before.values())
    assert inside >= kills / 3, "too few kills landed between two steps of a run"
    process = begin(world, store, log, *more)
    assert exit_code(process, 120) == 0
    assert len(runs_of(store)) == RUNS
    assert all(
        (path.parent / "result.json").exists() for path in store.rglob("claim.json")
    )  # killed right after its last word
    assert outcome(store) == whole


def frozen(run):
    """Content and time of a finished run's files."""
    return tuple(
        (p.name, p.stat().st_mtime_ns) for p in sorted(run.path.rglob("*")) if p.name != "claim.json" and p.is_file()
    )


def last_step(run):
    """The last step in metrics.jsonl, whose last line a kill may have cut."""
    path, last = run.path / "metrics.jsonl", 0
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            last = json.loads(line)["step"]
        except ValueError:
            break
    return last


@pytest.mark.slow
def test_sigterm_saves_and_leaves_with_four(world, whole, tmp_path, cpeft_main):
    store, log = tmp_path / "store", tmp_path / "log"
    process = begin(world, store, log)
    wait_for(log, STEPS + 30, process)
    process.terminate()
    assert exit_code(process, 30) == 4
    assert "re-run the same command to resume" in (tmp_path / "log.out").read_text()
    assert not list(store.rglob("claim.json"))
    [run] = [run for run in runs_of(store).values() if not run.done]
    stopped = last_step(run)
    assert 0 < stopped < STEPS
    assert load_checkpoint(run.path / "checkpoint" / "checkpoint.safetensors")[0]["step"] == stopped
    assert cpeft_main("run", world / "study.toml", *LONGER, "--store", store)[0] == 0
    assert outcome(store) == whole


def test_sigterm_outside_of_training_is_a_stop_too(world, tmp_path, cpeft_main, monkeypatch):
    from cpeft.study.runner import gang as module

    conclude = module.conclude
    monkeypatch.setattr(module, "conclude", lambda *_: os.kill(os.getpid(), signal.SIGTERM) or time.sleep(5))
    arguments = ("run", world / "study.toml", "seeds=[0]", "targets.tasks=mood.toml", "--store", tmp_path / "store")
    code, _, err = cpeft_main(*arguments)
    assert code == 4
    assert "re-run the same command to resume" in err
    assert not list((tmp_path / "store").rglob("claim.json"))
    [run] = Store(tmp_path / "store").runs()
    lines = (run.path / "metrics.jsonl").read_text()
    monkeypatch.setattr(module, "conclude", conclude)
    assert cpeft_main(*arguments)[0] == 0
    assert run.done
    assert (run.path / "metrics.jsonl").read_text() == lines  # no step was made again


@pytest.mark.slow
def test_two_processes_share_a_store(world, whole, tmp_path):
    store, log = tmp_path / "store", tmp_path / "log"
    pair = [begin(world, store, log) for _ in range(2)]
    assert [exit_code(process, 120) for process in pair] == [0, 0]
    begins = [event for event in events(log) if event["what"] == "on_start"]
    assert len(begins) == len({event["run"] for event in begins}) == RUNS
    assert {event["pid"] for event in begins} == {process.pid for process in pair}, "one of them had nothing to do"
    assert outcome(store) == whole


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["prepare", "conclude", "on_step"])
def test_ctrl_c_stops_a_command_and_its_helper_wherever_they_are(world, tmp_path, start, moment):
    """As a terminal does it: SIGINT to the whole process group, while both prepare, score or train."""
    store, place = tmp_path / "store", tmp_path / "told"
    words = ("--processes", 2, "train.steps=6" if moment == "conclude" else "train.steps=100000")
    process = start(
        tmp_path / "out", "run", world / "study.toml", *words, "--store", store,
        **in_every_process(place, moment if moment != "on_step" else ""),
    )  # fmt: skip
    wait_until(lambda: len({e["pid"] for e in events(place / "log") if e["what"] == moment}) == 2, process)
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(LIMIT_S) == 4
    said = (tmp_path / "out").read_text() + (store / "process-1.log").read_text()
    assert said.count("re-run the same command to resume") == 2, said
    assert "Traceback" not in said
    assert not list(store.rglob("claim.json"))
