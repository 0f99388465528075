"""Claims: who may write into a run folder, and when that right is taken away."""

import errno
import fcntl
import json
import multiprocessing
import os
import subprocess
import sys
import time

import pytest
from rich.console import Console

from cpeft.errors import LostClaim
from cpeft.store import claims as module
from cpeft.store.run_folder import Store
from cpeft.study.recipe.recipe import load_recipe
from cpeft.study.runner.claiming import write_failure
from cpeft.study.runner.plan import Plan
from cpeft.study.runner.worker import run_recipe
from launched import write_claim


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


@pytest.fixture
def run(store):
    return store.folder("stage", "name", "0123456789ab")


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
    started = module.start_of(child.pid)
    write_claim(run, pid=child.pid, started=started)
    assert store.claim(run) is None
    child.kill()
    for _ in range(200):
        if module.start_of(child.pid) is None:
            break
        time.sleep(0.01)
    try:
        assert store.claim(run) is not None
    finally:
        child.wait()


def test_a_reused_pid_is_another_process(store, run):
    write_claim(run, started=str(int(module.start_of(os.getpid())) - 1))
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


@pytest.mark.parametrize("moment", ["claimed", "prepared", "failing", "start", "step", "conclude"])
def test_who_lost_the_claim_writes_nothing_more(world, tmp_path, monkeypatch, moment):
    """Another process takes the run over; this one leaves no byte behind, and the other's run is waited for."""
    from cpeft.study.runner import gang
    from cpeft.study.runner import worker as runs
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

    def failing(*_):
        rob()
        raise RuntimeError("this run is broken")

    if moment == "claimed":
        before(gang, "prepare", 0)
    elif moment == "prepared":
        prepare = gang.prepare
        monkeypatch.setattr(gang, "prepare", lambda *a: (prepare(*a), rob())[0])
    elif moment == "failing":
        monkeypatch.setattr(gang, "prepare", failing)
    elif moment == "start":
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


def test_a_failure_of_who_lost_the_claim_is_not_written(store, run):
    claim = store.claim(run)
    write_claim(run)
    write_failure(run, "stage/name", ValueError("broken"), Console(quiet=True), claim.guard)
    assert [path.name for path in run.path.iterdir()] == ["claim.json"]


def no_locks(file, operation):
    raise OSError(errno.ENOLCK, "No locks available")


def race(store, run, barrier, results):
    """One process of a race for a run: what it got, and whether its guard passes once all have tried."""
    try:
        for round_ in range(ROUNDS):
            barrier.wait(60)
            claim = Store(store).claim(Store(store).folder("stage", f"{run}{round_}", "0" * 12))
            barrier.wait(60)
            held = False
            if claim:
                try:
                    claim.guard()
                    held = True
                except LostClaim:
                    pass
            results.put((round_, bool(claim), held))
            barrier.wait(60)
            if claim:
                claim.release()
    except BaseException as error:
        results.put((-1, repr(error), False))
        barrier.abort()


ROUNDS, RACERS = 12, 4


@pytest.mark.parametrize("lock", [None, no_locks, lambda file, operation: None], ids=["locks", "ENOLCK", "no-op"])
@pytest.mark.parametrize("links", [True, False], ids=["links", "no links"])
@pytest.mark.parametrize("start", ["free", "stale"])
def test_one_process_wins_a_race_and_no_loser_crashes(tmp_path, monkeypatch, lock, links, start):
    """With locks, on a disk without any, and on one that only pretends; with hard links and without."""
    if lock:
        monkeypatch.setattr(fcntl, "flock", lock)
    if not links:
        monkeypatch.setattr(os, "link", lambda *names: (_ for _ in ()).throw(OSError(errno.EPERM, "no links here")))
    for round_ in range(ROUNDS if start == "stale" else 0):
        write_claim(
            Store(tmp_path).folder("stage", f"run{round_}", "0" * 12), age_s=module.SILENT_S + 60, host="elsewhere"
        )
    context = multiprocessing.get_context("fork")
    barrier, results = context.Barrier(RACERS), context.Queue()
    racers = [context.Process(target=race, args=(tmp_path, "run", barrier, results)) for _ in range(RACERS)]
    for racer in racers:
        racer.start()
    got = [results.get(timeout=120) for _ in range(ROUNDS * RACERS)]
    for racer in racers:
        racer.join(60)
    assert not [each for each in got if each[0] < 0]
    for round_ in range(ROUNDS):
        assert sum(held for which, _, held in got if which == round_) == 1
    assert list(tmp_path.glob("stage/*")) == []  # given back, with nothing left in it


def test_a_study_runs_on_a_disk_without_locks(world, tmp_path, monkeypatch):
    monkeypatch.setattr(fcntl, "flock", no_locks)
    plan = Plan(load_recipe(world / "study.toml", ["seeds=[0]"]), Store(tmp_path / "store"))
    assert run_recipe(plan, Console(quiet=True)).failures == {}
    assert all(entry.state == "done" for entry in plan.entries())


def test_other_errors_of_a_lock_are_told(store, run, monkeypatch):
    monkeypatch.setattr(fcntl, "flock", lambda *_: (_ for _ in ()).throw(OSError(errno.EIO, "Input/output error")))
    with pytest.raises(OSError, match="Input/output"):
        store.claim(run)


def test_a_run_that_was_finished_meanwhile_is_not_claimed(store, run, monkeypatch):
    """It was not done at the first look and given back before the claim was made."""
    create = module.create

    def finished_first(path, text):
        run.path.mkdir(parents=True, exist_ok=True)
        (run.path / "result.json").write_text("{}")
        return create(path, text)

    monkeypatch.setattr(module, "create", finished_first)
    assert store.claim(run) is None
    assert [path.name for path in run.path.iterdir()] == ["result.json"]


def test_a_fresh_claim_is_put_back_by_who_took_it_for_the_stale_one(store, run, monkeypatch):
    stale = write_claim(run, age_s=module.SILENT_S + 60, host="elsewhere")
    rename = type(stale).rename

    def late(path, target):
        monkeypatch.setattr(type(stale), "rename", rename)
        write_claim(run, token="fresh")
        return rename(path, target)

    monkeypatch.setattr(type(stale), "rename", late)
    assert store.claim(run) is None
    assert json.loads(stale.read_text())["token"] == "fresh"
    assert [path.name for path in run.path.iterdir()] == ["claim.json"]


@pytest.mark.parametrize("text", ['{"host": "a"}', "[]", "3", '{"host": "a", "pid": null, "started": 1}'])
def test_a_claim_that_is_none_is_taken_after_a_while(store, run, text):
    path = write_claim(run)
    path.write_text(text)
    assert store.claim(run) is None
    os.utime(path, (time.time() - module.BEAT_S - 1,) * 2)
    assert store.claim(run) is not None


def test_the_number_format_of_a_store_is_kept(store):
    assert store.dtype() is None
    assert store.keep_dtype(lambda: "bfloat16") == "bfloat16"
    assert store.keep_dtype(lambda: "float32") == "bfloat16"
    assert Store(store.path).dtype() == "bfloat16"
