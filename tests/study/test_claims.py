"""Claims: who may write into a run folder, and when that right is taken away."""

import json
import os
import socket
import subprocess
import sys
import time

import pytest
from rich.console import Console

from cpeft.errors import LostClaim
from cpeft.study import store as module
from cpeft.study.plan import Plan
from cpeft.study.recipe import load_recipe
from cpeft.study.run import run_recipe
from cpeft.study.store import Store


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


@pytest.fixture
def run(store):
    return store.folder("stage", "name", "0123456789ab")


def write_claim(run, age_s=0.0, **content):
    path = run.path / "claim.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    own = {"host": socket.gethostname(), "pid": os.getpid(), "started": module._started(os.getpid()), "token": "other"}
    path.write_text(json.dumps({**own, **content}))
    os.utime(path, (time.time() - age_s,) * 2)
    return path


def test_a_claim_is_given_once(store, run):
    claim = store.claim(run)
    assert store.claim(run) is None
    assert Store(store.path).claim(run) is None
    claim.guard()
    claim.release()
    assert not (run.path / "claim.json").exists()
    assert store.claim(run) is not None


def test_a_finished_run_is_not_claimed(store, run):
    run.path.mkdir(parents=True)
    (run.path / "result.json").write_text("{}")
    assert store.claim(run) is None
    assert not (run.path / "claim.json").exists()


def test_a_live_process_keeps_its_claim_however_silent(store, run):
    write_claim(run, age_s=10_000)
    assert store.claim(run) is None


def test_the_claim_of_a_dead_process_is_taken(store, run):
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    child.wait()
    write_claim(run, pid=child.pid, started="1")
    assert store.claim(run) is not None


def test_a_killed_process_that_nobody_waited_for_is_dead(store, run):
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    started = module._started(child.pid)
    write_claim(run, pid=child.pid, started=started)
    assert store.claim(run) is None
    child.kill()
    for _ in range(200):
        if module._started(child.pid) is None:
            break
        time.sleep(0.01)
    try:
        assert store.claim(run) is not None
    finally:
        child.wait()


def test_a_reused_pid_is_another_process(store, run):
    write_claim(run, started=str(int(module._started(os.getpid())) - 1))
    assert store.claim(run) is not None


def test_other_machines_are_judged_by_their_heartbeat(store, run):
    away = {"host": "elsewhere", "pid": 2**22 + 1}
    write_claim(run, age_s=module.SILENT_S - 60, **away)
    assert store.claim(run) is None
    write_claim(run, age_s=module.SILENT_S + 60, **away)
    assert store.claim(run) is not None


def test_a_half_written_claim_is_taken_after_a_while(store, run):
    path = write_claim(run)
    path.write_text('{"host": ')
    assert store.claim(run) is None
    os.utime(path, (time.time() - module.BEAT_S - 1,) * 2)
    assert store.claim(run) is not None


def test_the_heartbeat_touches_the_file_and_never_anothers(store, run, monkeypatch):
    monkeypatch.setattr(module, "BEAT_S", 0.02)
    claim = store.claim(run)
    os.utime(claim.path, (0, 0))
    for _ in range(200):
        if claim.path.stat().st_mtime:
            break
        time.sleep(0.01)
    assert time.time() - claim.path.stat().st_mtime < 10
    write_claim(run, age_s=1000)
    time.sleep(0.1)
    assert time.time() - claim.path.stat().st_mtime > 900
    with pytest.raises(LostClaim, match="took this run over"):
        claim.guard()
    claim.release()
    assert claim.path.exists()


@pytest.mark.parametrize("moment", ["start", "step", "conclude"])
def test_who_lost_the_claim_writes_nothing_more(world, tmp_path, monkeypatch, moment):
    """Another process takes the run over; this one leaves no byte behind, and the other's run is waited for."""
    from cpeft.study import gang
    from cpeft.study import run as runs
    from cpeft.training.callbacks.metrics_file import MetricsFile

    store = Store(tmp_path / "store")
    plan = Plan(load_recipe(world / "study.toml", ["seeds=[0]"]), store)
    run = plan.entries()[0].folder
    seen = {}

    def rob(*_):
        if not seen:
            write_claim(run)
            seen.update(content(run))

    def content(folder):
        return {path: path.read_bytes() for path in folder.path.rglob("*") if path.is_file()}

    def before(owner, name, place):
        old = getattr(owner, name)

        def robbed(*arguments):
            rob()
            return old(*arguments)

        monkeypatch.setattr(owner, name, robbed)

    if moment == "start":
        before(MetricsFile, "on_start", 0)
    elif moment == "step":
        old = MetricsFile.on_step
        monkeypatch.setattr(MetricsFile, "on_step", lambda *a: (old(*a), a[2]["step"] == 3 and rob())[0])
    else:
        before(gang, "conclude", 0)

    class Waited(Exception):
        pass

    def no_sleep(seconds):
        raise Waited

    monkeypatch.setattr(runs.time, "sleep", no_sleep)
    with pytest.raises(Waited):  # every other run of the stage is done, this one belongs to the other process
        run_recipe(Plan(load_recipe(world / "study.toml", ["seeds=[0]"]), store), Console(quiet=True))
    assert seen
    assert content(run) == seen
    assert not run.done
