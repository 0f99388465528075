"""Workers as jobs of a real SLURM cluster of one node."""

import os
import subprocess
import tempfile
from pathlib import Path

import pytest

from launched import kill_a_worker, outcome_of, start_cpeft
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


def test_a_worker_killed_in_the_middle_changes_nothing(slurm, world, alone, longer, tmp_path):
    store = tmp_path / "store"
    process = start_cpeft(tmp_path / "out", "run", world / "study.toml", *longer, "--store", store, *WORKERS, **slurm)
    kill_a_worker(store, process)
    assert process.wait(120) == 0, (tmp_path / "out").read_text()
    assert outcome_of(store) == alone
    assert jobs(slurm) == []
    assert not list(store.rglob("claim.json"))
