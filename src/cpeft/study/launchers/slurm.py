"""Jobs of a SLURM cluster, through submitit: each is one worker on one stage of the shared store.

A stage has jobs and resources of its own, and they start when the jobs of all stages it needs have ended (`afterany`). A worker
ends as soon as there is nothing of its stage that it can do, so nobody waits inside an allocation: neither for an earlier
stage nor for the last runs of its own. What lost workers leave is submitted again when all jobs have ended, for as long as
that brings the study on; with `wait = false` nobody is there to do it, and the same command goes on.

A job that nears its time limit, or is preempted on a cluster that says so with submitit's signal (`--signal=USR2@90`;
`PreemptParameters=send_user_signal`), saves the step at hand, gives its claims back and is requeued. A job that SLURM requeues
without a word (a preemption without grace, a node that failed) resumes from the last checkpoint: its claims bear the job's
name, so it takes them over at once, while to all others they are stale after ten minutes of silence. On SIGTERM (scancel) a
worker saves and ends. Logs and pickled jobs lie in STORE/slurm.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field
from rich.console import Console

from cpeft.config import MOST, Count, CountOrZero
from cpeft.errors import ConfigError, CpeftError, RunFailed
from cpeft.store.claims import WAIT_S
from cpeft.study.launchers.base import LAUNCHERS, Launcher, LauncherOptions
from cpeft.study.launchers.job import Job, use_threads
from cpeft.study.launchers.watch import extra, raise_first, watch
from cpeft.study.runner.plan import Plan, Planned

PATIENCE_S = (1, 5, 15, 60, 120)  # between attempts to ask SLURM


class StageResources(LauncherOptions):
    """So many jobs, and what each of them asks for. `time` is in minutes. `sbatch` holds further long options of sbatch:
    `{ account = "nlp", qos = "low" }`."""

    workers: Count = 1
    partition: str | None = None
    time: Count = 1440
    cpus: Count = 1
    gpus: CountOrZero = 0
    memory: str | None = None
    sbatch: dict[str, str | Annotated[int, Field(ge=-MOST, le=MOST)] | bool] = Field(default_factory=dict)


class SlurmOptions(StageResources):
    """`[launcher.slurm]`: the resources of every stage, and `[launcher.slurm.stage.NAME]` what is different in one. A job whose
    time is over goes on in a new turn, at most `turns` times. With `wait = false` the command submits and leaves."""

    turns: CountOrZero = 100
    wait: bool = True
    stage: dict[str, StageResources] = Field(default_factory=dict)

    @property
    def stages(self) -> tuple[str, ...]:
        return tuple(self.stage)

    def of_stage(self, name: str) -> StageResources:
        """The resources of a stage."""
        own = self.stage.get(name, StageResources())
        said = own.model_dump(exclude_unset=True)
        return self.model_copy(update={**said, "sbatch": {**self.sbatch, **own.sbatch}})


@dataclass(frozen=True)
class Worker:
    """What one job runs; submitit calls it, and `checkpoint` where the job is to be requeued."""

    job: Job
    threads: int

    def __call__(self) -> CpeftError | None:
        """Work until nothing is left. On submitit's signal the step is saved first; its own handler may run in the middle of a
        step and leaves at once."""
        from submitit import JobEnvironment

        use_threads(self.threads)
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
        extra("submitit", "slurm")
        if not shutil.which("sbatch"):
            raise ConfigError(
                "--launcher slurm: no sbatch on this machine; give the command on a login node of the cluster"
            )
        console.print(f"logs of the jobs: {plan.store.path / 'slurm'}", markup=False)
        while True:
            before, jobs = _progress(plan), self._submit(plan, console)
            if not self.options.wait:
                return bool(jobs)
            _wait(plan, console, jobs)
            waited = _await_claims(plan, console)
            if not _left(plan) or not (waited or _progress(plan) != before):
                return False

    def _submit(self, plan: Plan, console: Console) -> list[Any]:
        """Jobs for every stage that is not finished, behind those of the stages it needs."""
        stages: dict[str, list[Planned]] = {}
        for entry in _left(plan):
            stages.setdefault(entry.run.stage, []).append(entry)
        jobs: dict[str, list[Any]] = {}
        try:
            for stage, left in stages.items():
                needed = {need.stage for entry in left for need in entry.run.needs(plan.references)}
                first = [name for name in jobs if name in needed]
                ids = [job.job_id for name in first for job in jobs[name]]
                jobs[stage] = self._jobs(plan, stage, len(left), ids)
                behind = f", behind those of {', '.join(first)}" if first else ""
                told = " ".join(job.job_id for job in jobs[stage])
                console.print(f"submitted {len(jobs[stage])} jobs for {stage}{behind}: {told}", markup=False)
        except BaseException:
            cancel([job.job_id for own in jobs.values() for job in own])
            raise
        return [job for own in jobs.values() for job in own]

    def _jobs(self, plan: Plan, stage: str, runs: int, after: Sequence[str]) -> list[Any]:
        """The jobs of one stage, no more than it has runs; raises ConfigError where SLURM refuses them."""
        submitit, asked = extra("submitit", "slurm"), self.options.of_stage(stage)
        name = f"cpeft-{plan.recipe.name}-{stage}".replace("/", ".").replace(" ", "_")
        wanted = {
            "partition": asked.partition, "mem": asked.memory, "gpus_per_node": asked.gpus or None,
            "dependency": f"afterany:{':'.join(after)}" if after else None,
        }  # fmt: skip
        executor = submitit.SlurmExecutor(plan.store.path.resolve() / "slurm", max_num_timeout=self.options.turns)
        executor.update_parameters(
            job_name=name, time=asked.time, cpus_per_task=asked.cpus, stderr_to_stdout=True,
            additional_parameters={"requeue": True, **asked.sbatch},
            **{key: value for key, value in wanted.items() if value is not None},
        )  # fmt: skip
        try:
            return [executor.submit(Worker(Job.of(plan, stage), asked.cpus)) for _ in range(min(asked.workers, runs))]
        except submitit.core.utils.FailedJobError as error:
            raise ConfigError(f"SLURM refused the job: {'; '.join(str(error).strip().splitlines())}") from None


def _left(plan: Plan) -> list[Planned]:
    return [entry for entry in plan.entries() if entry.pending]


def _progress(plan: Plan) -> tuple[int, int]:
    """What grows while jobs bring a study on: runs that are finished or failed, and steps of the others."""
    left = _left(plan)
    steps = sum(entry.folder.last_step()[0] or 0 for entry in left if entry.folder)
    return len(plan.recipe.runs) - len(left), steps


def _await_claims(plan: Plan, console: Console) -> bool:
    """Wait until nobody holds what is left, so that new jobs can take it: lost workers do for ten minutes, and those of others;
    tells whether anybody did."""
    told = False
    while held := [str(entry.run) for entry in _left(plan) if entry.folder and entry.folder.held]:
        if not told:
            console.print(
                f"waiting for the claims of {len(held)} runs, such as {held[0]}, to be given back", markup=False
            )
            told = True
        time.sleep(WAIT_S)
    return told


def _wait(plan: Plan, console: Console, jobs: Sequence[Any]) -> None:
    """Until all jobs have ended, or nothing is left to do; raises what ended one of them."""
    ids = [job.job_id for job in jobs]
    try:
        watch(plan, console, lambda: _alive(ids))
    except BaseException:
        cancel(ids)
        _await_end(ids)
        raise
    cancel(ids, "--state=PENDING")  # the others find nothing to do any more
    _await_end(ids)
    raise_first(_ended(job) for job in jobs)


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
    if ids and (going := sorted(queued(ids))):
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
