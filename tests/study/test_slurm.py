"""Workers as jobs of a real SLURM cluster of one node."""

import os
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

from cpeft.store.run_folder import Store
from cpeft.training.checkpoint import load_checkpoint
from launched import LIMIT_S, at_work, kill_a_worker, outcome_of, steps_made, wait_until
from slurm_cluster import NoCluster, cluster

pytest.importorskip("submitit", reason="submitit is not installed (extra `slurm`)")
pytestmark = pytest.mark.slow

WORKERS = ("--launcher", "slurm", "launcher.slurm.workers=2", "launcher.slurm.time=30", "launcher.slurm.cpus=1")


@pytest.fixture(scope="module")
def slurm():
    """The environment of a running cluster; its socket needs a short path."""
    with tempfile.TemporaryDirectory(prefix="slurm", dir="/tmp") as place:
        try:
            with cluster(Path(place) / "c") as environment:
                yield {key: environment[key] for key in ("PATH", "SLURM_CONF")}
        except NoCluster as why:
            pytest.skip(f"no SLURM cluster here: {why}")


def ask(environment, *command):
    done = subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout


def jobs(environment, *states):
    """The ids of jobs in the queue in one of the states."""
    return ask(environment, "squeue", "-h", "-o", "%A", *([f"--states={','.join(states)}"] if states else [])).split()


def test_a_worker_killed_in_the_middle_changes_nothing(slurm, world, alone, longer, tmp_path, start):
    store = tmp_path / "store"
    process = start(tmp_path / "out", "run", world / "study.toml", *longer, "--store", store, *WORKERS, **slurm)
    kill_a_worker(store, process)
    assert process.wait(LIMIT_S) == 0, (tmp_path / "out").read_text()
    assert outcome_of(store) == alone
    assert jobs(slurm) == []
    assert not list(store.rglob("claim.json"))


def test_a_job_told_to_make_room_saves_and_goes_on_in_another_turn(slurm, world, alone, longer, tmp_path, start):
    """submitit's signal, as SLURM sends it near the time limit: nothing is lost and no claim is left in the way."""
    store = tmp_path / "store"
    arguments = ("run", world / "study.toml", *longer, "--store", store)
    words = ("--launcher", "slurm", "launcher.slurm.workers=1", "launcher.slurm.time=30")
    process = start(tmp_path / "out", *arguments, *words, **slurm)
    [(_, run)] = wait_until(lambda: at_work(store, process.pid), process)
    [job] = jobs(slurm, "RUNNING")
    [later] = jobs(slurm, "PENDING")
    ask(slurm, "scancel", "--signal=USR2", job)
    wait_until(
        lambda: ask(slurm, "squeue", "-h", "-j", job, "-o", "%T") == "PENDING\n", process
    )  # no longer completing
    assert not list(store.rglob("claim.json"))
    if not run.done:  # saved at the step the signal came in, which need not be one of every fifth
        state = load_checkpoint(run.path / "checkpoint" / "checkpoint.safetensors")[0]
        assert state["step"] == steps_made(run)
    # SLURM itself would wait for two minutes. In the second in which a turn was killed a node refuses the next one.
    ask(slurm, "scontrol", "update", f"JobId={job}", "StartTime=now+5")
    assert process.wait(LIMIT_S) == 0, (tmp_path / "out").read_text()
    assert outcome_of(store) == alone
    said = (store / "slurm" / f"{job}_0_log.out").read_text()
    turns = said.count(f"Starting with JobEnvironment(job_id={job},")  # SLURM may end the first before its last words
    assert turns == 2, said
    assert "everything is saved" in said.split("Starting with JobEnvironment")[1]
    assert {path.name for path in (store / "slurm").glob("[0-9]*.sh")} == {
        f"{job}_submission.sh",
        f"{later}_submission.sh",
    }, "the same job, not a second one, and the next stage waited for its second turn"


def test_a_signal_saves_and_leaves_with_four(slurm, world, alone, longer, tmp_path, start):
    store = tmp_path / "store"
    arguments = ("run", world / "study.toml", *longer, "--store", store)
    process = start(tmp_path / "out", *arguments, *WORKERS, **slurm)
    wait_until(lambda: at_work(store, process.pid), process)
    process.send_signal(signal.SIGTERM)
    assert process.wait(LIMIT_S) == 4, (tmp_path / "out").read_text()
    assert "re-run the same command to resume" in (tmp_path / "out").read_text()
    assert jobs(slurm) == []
    assert not list(store.rglob("claim.json"))
    assert sum(run.done for run in Store(store).runs()) < 16
    assert start(tmp_path / "out", *arguments).wait(LIMIT_S) == 0
    assert outcome_of(store) == alone


def test_what_ends_a_worker_ends_the_command(slurm, world, tmp_path, start):
    words = ("model.device=cuda:99", "--only", "sources/mood.sources.s0", "--store", tmp_path / "store", *WORKERS)
    process = start(tmp_path / "out", "run", world / "study.toml", *words, **slurm)
    assert process.wait(LIMIT_S) == 2
    assert "cuda:99" in (tmp_path / "out").read_text()


def test_jobs_may_be_left_to_themselves(slurm, world, tmp_path, start):
    store = tmp_path / "store"
    words = ("--only", "sources/mood.sources.s0", "--store", store, *WORKERS, "launcher.slurm.wait=false")
    words += (
        "launcher.slurm.memory=500MB",
        "launcher.slurm.partition=tiny",
        'launcher.slurm.sbatch={comment="from a test"}',
    )
    process = start(tmp_path / "out", "run", world / "study.toml", *words, **slurm)
    assert process.wait(LIMIT_S) == 0
    assert (
        f"jobs keep running in the background; watch them with: cpeft status {store}" in (tmp_path / "out").read_text()
    )
    end = time.monotonic() + LIMIT_S
    while jobs(slurm):
        assert time.monotonic() < end
        time.sleep(0.2)
    assert [run.done for run in Store(store).runs()] == [True]
    script = next((store / "slurm").glob("*.sh")).read_text()
    for flag in (
        "--mem=500MB",
        "--partition=tiny",
        "--comment='from a test'",
        "--requeue",
        "--time=30",
        "--cpus-per-task=1",
    ):
        assert f"#SBATCH {flag}\n" in script


def test_a_refused_job_is_one_sentence(slurm, world, tmp_path, start):
    words = ("--store", tmp_path / "store", *WORKERS, "launcher.slurm.partition=nowhere")
    process = start(tmp_path / "out", "run", world / "study.toml", *words, **slurm)
    assert process.wait(LIMIT_S) == 2
    said = (tmp_path / "out").read_text()
    assert "SLURM refused the job" in said
    assert "invalid partition specified: nowhere" in said
    assert "Traceback" not in said


# Stages


def submitted(out):
    """The jobs of each round, by stage."""
    lines = [line.split() for line in out.read_text().splitlines() if line.startswith("submitted ")]
    return [(words[4].rstrip(",:"), words[words.index(words[-int(words[1])]) :]) for words in lines]


def test_a_stage_has_jobs_of_its_own_that_start_when_those_it_needs_have_ended(
    slurm, world, alone, longer, tmp_path, start
):
    """Nobody holds a place on the cluster to wait."""
    store = tmp_path / "store"
    words = ("launcher.slurm.stage.targets.workers=1", "launcher.slurm.stage.targets.time=20")
    words += ('launcher.slurm.stage.targets.sbatch={comment="more"}', "launcher.slurm.sbatch={nice=1}")
    process = start(tmp_path / "out", "run", world / "study.toml", *longer, "--store", store, *WORKERS, *words, **slurm)
    wait_until(lambda: at_work(store, process.pid), process)
    (first, sources), (second, targets) = submitted(tmp_path / "out")
    assert (first, len(sources), second, len(targets)) == ("sources", 2, "targets", 1)
    assert f"{targets[0]} PENDING Dependency\n" in ask(slurm, "squeue", "-h", "-o", "%A %T %r")
    assert process.wait(LIMIT_S) == 0, (tmp_path / "out").read_text()
    assert outcome_of(store) == alone
    assert len(submitted(tmp_path / "out")) == 2
    said = {job: (store / "slurm" / f"{job}_0_log.out").read_text() for job in (*sources, *targets)}
    assert all("done targets/" not in said[job] and "done sources/" in said[job] for job in sources)
    assert said[targets[0]].count("done targets/") == 12
    scripts = {job: (store / "slurm" / f"{job}_submission.sh").read_text() for job in said}
    assert f"#SBATCH --dependency=afterany:{':'.join(sources)}\n" in scripts[targets[0]]
    assert "#SBATCH --time=20\n" in scripts[targets[0]]
    assert "#SBATCH --comment=more\n" in scripts[targets[0]]
    assert all("#SBATCH --nice=1\n" in script for script in scripts.values())
    assert "#SBATCH --time=30\n" in scripts[sources[0]]
    assert "dependency" not in scripts[sources[0]]


def test_what_a_lost_job_leaves_is_submitted_again(slurm, world, alone, longer, tmp_path, start):
    """The only worker of the first stage is killed: the second does what it can, and both get jobs again."""
    store = tmp_path / "store"
    one = ("--launcher", "slurm", "launcher.slurm.time=30")
    process = start(tmp_path / "out", "run", world / "study.toml", *longer, "--store", store, *one, **slurm)
    kill_a_worker(store, process)
    assert process.wait(LIMIT_S) == 0, (tmp_path / "out").read_text()
    assert [stage for stage, _ in submitted(tmp_path / "out")] == ["sources", "targets"] * 2
    assert outcome_of(store) == alone
    assert jobs(slurm) == []


def test_what_a_failed_run_keeps_back_hangs_nobody(slurm, world, tmp_path, start):
    store = tmp_path / "store"
    words = ("seeds=[0]", "sources.optim.lr=1e37", "targets.tasks=mood.toml", "--store", store, *WORKERS)
    process = start(tmp_path / "out", "run", world / "study.toml", *words, **slurm)
    assert process.wait(LIMIT_S) == 1
    said = (tmp_path / "out").read_text()
    assert "failed sources/mood.sources.s0" in said
    assert "blocked targets/mood.spot few_shot=3.s0" in said
    assert len([run for run in Store(store).runs() if run.done]) == 2
    assert len(submitted(tmp_path / "out")) == 2
    assert jobs(slurm) == []


def test_a_stage_that_is_refused_leaves_no_jobs_of_others(slurm, world, tmp_path, start):
    words = ("--store", tmp_path / "store", *WORKERS, "launcher.slurm.stage.targets.partition=nowhere")
    process = start(tmp_path / "out", "run", world / "study.toml", *words, **slurm)
    assert process.wait(LIMIT_S) == 2
    assert "invalid partition specified: nowhere" in (tmp_path / "out").read_text()
    end = time.monotonic() + LIMIT_S
    while jobs(slurm):
        assert time.monotonic() < end
        time.sleep(0.2)
