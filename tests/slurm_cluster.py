"""A SLURM cluster of one node on loopback, for tests: real munged, slurmctld and slurmd of Debian's slurm-wlm and munge.

with cluster(folder) as environment: ...      # environment variables for sbatch, squeue and whatever calls them
python tests/slurm_cluster.py FOLDER           # the same by hand, until interrupted
"""

import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scancel", "scontrol")
CPUS = 4  # what the node says it has; jobs of tests are small
CONF = """
ClusterName=tiny
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ctld}
SlurmdPort={slurmd}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
MpiDefault=none
ReturnToService=2
KillWait=10
InactiveLimit=0
MinJobAge=60
SchedulerType=sched/builtin
SchedulerParameters=sched_interval=1,batch_sched_delay=0
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory=2000 State=UNKNOWN
PartitionName=tiny Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


class NoCluster(Exception):
    """Why there is no cluster here."""


@contextmanager
def cluster(folder: Path) -> Iterator[dict[str, str]]:
    """Start the daemons, give the environment that commands need, stop the daemons; raises NoCluster saying what is missing.
    `folder` must have a short path, since a socket lies in it."""
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    if missing := [name for name in PROGRAMS if not shutil.which(name, path=path)]:
        raise NoCluster(f"{', '.join(missing)} not installed (Debian: slurm-wlm, munge)")
    environment = {**os.environ, "PATH": path, "SLURM_CONF": str(folder / "slurm.conf")}
    with ExitStack() as stack:
        for command in _configured(folder):
            daemon = subprocess.Popen(
                command, env=environment, stdout=(folder / "out").open("a"), stderr=subprocess.STDOUT
            )
            stack.callback(_end, daemon)
            if command[0] == "munged":
                _wait(lambda: (folder / "munge.socket").exists(), folder, daemon)
        _wait(lambda: _idle(environment), folder, daemon)
        stack.callback(_clear, environment)
        yield environment


def _configured(folder: Path) -> list[list[str]]:
    """Write what the daemons read; their commands."""
    for name in ("state", "spool"):
        (folder / name).mkdir(parents=True)
    folder.chmod(0o755)  # munged wants its folders to be nobody else's
    key = folder / "munge.key"
    key.touch(mode=0o600)
    key.write_bytes(secrets.token_bytes(1024))
    host = socket.gethostname().partition(".")[0]
    user = os.environ.get("USER", "root") if os.getuid() else "root"
    conf = CONF.format(host=host, ctld=_free_port(), slurmd=_free_port(), user=user, folder=folder, cpus=CPUS)
    (folder / "slurm.conf").write_text(conf)
    munge = {name: folder / f"munge.{name}" for name in ("socket", "key-file", "log-file", "pid-file", "seed-file")}
    munge["key-file"] = key
    flags = [f"--{name}={path}" for name, path in munge.items()]
    return [["munged", "--foreground", "--force", *flags], ["slurmctld", "-D", "-i"], ["slurmd", "-D", "-N", host]]


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def _idle(environment: dict[str, str]) -> bool:
    said = subprocess.run(["sinfo", "-h", "-o", "%t"], env=environment, capture_output=True, text=True, timeout=30)
    return said.stdout.strip() == "idle"


def _clear(environment: dict[str, str]) -> None:
    """End what tests left running, which would outlive the daemons."""
    subprocess.run(["scancel", "--signal=KILL", "--partition=tiny"], env=environment, check=True, timeout=30)
    subprocess.run(["scancel", "--partition=tiny"], env=environment, check=True, timeout=30)
    end = time.monotonic() + 30
    while subprocess.run(["squeue", "-h"], env=environment, capture_output=True, check=True, timeout=30).stdout:
        if time.monotonic() > end:
            return
        time.sleep(0.2)


def _wait(ready: Callable[[], bool], folder: Path, daemon: subprocess.Popen, limit_s: float = 30.0) -> None:
    end = time.monotonic() + limit_s
    while not ready():
        if daemon.poll() is not None or time.monotonic() > end:
            logs = "\n".join(
                log.read_text()[-600:] for log in (folder / "out", *sorted(folder.glob("*.log"))) if log.exists()
            )
            raise NoCluster(f"the daemons of a SLURM cluster do not come up: {logs}")
        time.sleep(0.1)


def _end(daemon: subprocess.Popen) -> None:
    daemon.terminate()
    try:
        daemon.wait(10)
    except subprocess.TimeoutExpired:
        daemon.kill()
        daemon.wait()


if __name__ == "__main__":
    with cluster(Path(sys.argv[1]).resolve()) as found:
        print(f"export SLURM_CONF={found['SLURM_CONF']} PATH=$PATH:/usr/sbin:/sbin", flush=True)
        while True:
            time.sleep(3600)
