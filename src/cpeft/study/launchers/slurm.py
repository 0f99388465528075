"""Jobs of a SLURM cluster, through submitit: each is one worker on the shared store.

A job that nears its time limit, or is preempted on a cluster that says so with submitit's signal (`--signal=USR2@90`;
`PreemptParameters=send_user_signal`), saves the step at hand, gives its claims back and is requeued. A job that SLURM requeues
without a word (a preemption without grace, a node that failed) resumes from the last checkpoint: its claims bear the job's
name, so it takes them over at once, while to all others they are stale after ten minutes of silence. On SIGTERM (scancel) a
worker saves and ends. Workers wait for each other between stages. Logs and pickled jobs lie in STORE/slurm.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from pydantic import Field
from rich.console import Console

from cpeft.errors import ConfigError, CpeftError, RunFailed
from cpeft.study.launchers.base import LAUNCHERS, Launcher, LauncherOptions
from cpeft.study.launchers.job import Job
from cpeft.study.launchers.watch import extra, raise_first, watch
from cpeft.study.plan import Plan
from cpeft.study.run import WAIT_S

PATIENCE_S = (1, 5, 15, 60, 120)  # between attempts to ask SLURM


class SlurmOptions(LauncherOptions):
    """`[launcher.slurm]`: so many jobs, and what each of them asks for. `time` is in minutes; a job whose time is over goes on
    in a new turn, at most `turns` times. `sbatch` holds further long options of sbatch: `{ account = "nlp", qos = "low" }`.
    With `wait = false` the command submits and leaves."""

    workers: int = Field(default=1, ge=1)
    partition: str | None = None
    time: int = Field(default=1440, ge=1)
    cpus: int = Field(default=1, ge=1)
    gpus: int = Field(default=0, ge=0)
    memory: str | None = None
    turns: int = Field(default=100, ge=0)
    sbatch: dict[str, str | int | bool] = Field(default_factory=dict)
    wait: bool = True


@dataclass(frozen=True)
class Worker:
    """What one job runs; submitit calls it, and `checkpoint` where the job is to be requeued."""

    job: Job
    threads: int

    def __call__(self) -> CpeftError | None:
        """Work until nothing is left. On submitit's signal the step is saved first; its own handler may run in the middle of a
        step and leaves at once."""
        from submitit import JobEnvironment

        torch.set_num_threads(self.threads)
        number = getattr(signal, f"SIG{JobEnvironment.USR_SIG}")
        requeue: Any = signal.getsignal(number)
        asked: list[int] = []

        def save_first(number: int, frame: Any) -> None:
            asked.append(number)
            os.kill(os.getpid(), signal.SIGTERM)

        signal.signal(number, save_first)
        error = self.job.work(sys.stdout, f"slurm-{os.environ.get('SLURM_CLUSTER_NAME', '')}-{JobEnvironment().job_id}")
        if asked:
            requeue(number, None)  # ends the process
        return error

    def checkpoint(self) -> Any:
        """The same again: all progress is in the store."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(Worker(self.job, self.threads))


@LAUNCHERS.register("slurm")
class Slurm(Launcher):
    """Submits jobs and waits for them; the process itself trains nothing."""

    Options = SlurmOptions
    options: SlurmOptions

    def launch(self, plan: Plan, console: Console) -> bool:
        jobs = self._submit(plan)
        ids = [job.job_id for job in jobs]
        console.print(f"submitted {len(jobs)} jobs: {' '.join(ids)}; logs in {plan.store.path / 'slurm'}", markup=False)
        if not self.options.wait:
            return True
        try:
            watch(plan, console, lambda: _alive(ids))
        except BaseException:
            cancel(ids)
            _await_end(ids)
            raise
        cancel(ids, "--state=PENDING")  # the others find nothing to do any more
        _await_end(ids)
        raise_first(_ended(job) for job in jobs)
        return False

    def _submit(self, plan: Plan) -> list[Any]:
        submitit, options = extra("submitit", "slurm"), self.options
        if not shutil.which("sbatch"):
            raise ConfigError(
                "--launcher slurm: no sbatch on this machine; give the command on a login node of the cluster"
            )
        asked = {
            "job_name": f"cpeft-{plan.recipe.name.replace('/', '.').replace(' ', '_')}", "time": options.time,
            "cpus_per_task": options.cpus, "stderr_to_stdout": True,
            "additional_parameters": {"requeue": True, **options.sbatch},
        }  # fmt: skip
        wanted = {"partition": options.partition, "mem": options.memory, "gpus_per_node": options.gpus or None}
        folder = plan.store.path.resolve() / "slurm"
        executor = submitit.SlurmExecutor(folder, max_num_timeout=options.turns)
        executor.update_parameters(**asked, **{name: value for name, value in wanted.items() if value is not None})
        try:
            return [executor.submit(Worker(Job.of(plan), options.cpus)) for _ in range(options.workers)]
        except submitit.core.utils.FailedJobError as error:
            raise ConfigError(f"SLURM refused the job: {'; '.join(str(error).strip().splitlines())}") from None


def queued(ids: Sequence[str]) -> set[str]:
    """Those of our jobs that wait or run, by squeue, which needs no accounting. Raises RunFailed where it does not answer for
    minutes; the jobs go on without us."""
    for pause_s in (*PATIENCE_S, 0):
        asked = ["squeue", "--me", "--noheader", "--format=%A"]
        said = subprocess.run(asked, capture_output=True, text=True, check=False)
        if said.returncode == 0:
            return set(ids) & set(said.stdout.split())
        time.sleep(pause_s)
    raise RunFailed(
        f"SLURM does not answer ({said.stderr.strip()}); jobs {' '.join(ids)} may go on: cpeft status STORE"
    )


def _alive(ids: Sequence[str]) -> bool:
    """Whether any job is left; asked twice, as a job that is being requeued stands in no list for a moment."""
    if queued(ids):
        return True
    time.sleep(WAIT_S)
    return bool(queued(ids))


def cancel(ids: Sequence[str], *which: str) -> None:
    """Take jobs out of the queue, and ask workers to save and stop; those that are over are left in peace."""
    if going := sorted(queued(ids)):
        subprocess.run(["scancel", "--quiet", *which, *going], check=False)  # one that ended in between is no error


def _await_end(ids: Sequence[str]) -> None:
    while queued(ids):
        time.sleep(WAIT_S)


def _ended(job: Any) -> CpeftError | None:
    """The error that a worker left, if it left any; a worker that was killed left nothing."""
    if not job.paths.result_pickle.exists():
        return None
    if broken := job.exception():
        last = str(broken).strip().splitlines()[-1]
        return RunFailed(f"SLURM job {job.job_id}: {last}; see {job.paths.stdout}")
    error: CpeftError | None = job.result()
    return error
