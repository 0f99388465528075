"""Jobs of a SLURM cluster, through submitit: each is one worker on one stage of the shared store.

Every stage has its own jobs and resources; its jobs start when the jobs of all stages it needs have ended (`afterany`). A
worker ends as soon as it can do nothing for its stage, so no allocation is held while waiting, neither for an earlier stage
nor for the last runs of its own. When all jobs have ended, the runs of lost workers are submitted again, as long as that makes
progress. With `wait = false` the command does not stay to do this; re-run it to resume.

A job that nears its time limit, or that is preempted on a cluster that sends submitit's signal (`--signal=USR2@90`;
`PreemptParameters=send_user_signal`), saves its step, releases its claims and is requeued. A job that SLURM requeues without a
signal (preemption without grace, node failure) resumes from the last checkpoint: its claims hold the job's name, so it takes
them over at once, while for other processes they are stale after ten minutes without a heartbeat. On SIGTERM (scancel) a
worker saves and ends. Logs and pickled jobs are in STORE/slurm.
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
from cpeft.study.runner.plan import Entry, Plan

PAUSES_S = (1, 5, 15, 60, 120)  # between attempts to query SLURM


class StageResources(LauncherOptions):
    """Jobs of a stage, and the resources of a job."""

    workers: Count = Field(default=1, description="Jobs of a stage.")
    partition: str | None = Field(default=None, description="Partition; without it the cluster's default.")
    time: Count = Field(default=1440, description="Time limit of a job in minutes.")
    cpus: Count = Field(default=1, description="CPUs of a job.")
    gpus: CountOrZero = Field(default=0, description="GPUs of a job.")
    memory: str | None = Field(
        default=None, description="Memory of a job, such as `16G`; without it the cluster's default."
    )
    sbatch: dict[str, str | Annotated[int, Field(ge=-MOST, le=MOST)] | bool] = Field(
        default_factory=dict, description='Further long options of sbatch: `{ account = "nlp", qos = "low" }`.'
    )


class SlurmOptions(StageResources):
    """Jobs of a SLURM cluster: the resources of every stage."""

    turns: CountOrZero = Field(default=100, description="How often a job whose time is over is requeued, at most.")
    wait: bool = Field(default=True, description="Whether the command waits for its jobs; false submits them and ends.")
    stage: dict[str, StageResources] = Field(
        default_factory=dict, description="`[launcher.slurm.stage.NAME]`: resources that differ in one stage."
    )

    @property
    def stages(self) -> tuple[str, ...]:
        return tuple(self.stage)

    def of_stage(self, name: str) -> StageResources:
        """The resources of a stage."""
        own = self.stage.get(name, StageResources())
        given = own.model_dump(exclude_unset=True)
        return self.model_copy(update={**given, "sbatch": {**self.sbatch, **own.sbatch}})


@dataclass(frozen=True)
class Worker:
    """The work of one job; submitit calls it, and `checkpoint` if the job is to be requeued."""

    job: Job
    threads: int

    def __call__(self) -> CpeftError | None:
        """Work until nothing is left. On submitit's signal the step is saved first, because submitit's own handler may run in
        the middle of a step and ends the process at once."""
        from submitit import JobEnvironment

        use_threads(self.threads)
        number = getattr(signal, f"SIG{JobEnvironment.USR_SIG}")
        requeue: Any = signal.getsignal(number)
        signals: list[int] = []

        def save_first(number: int, frame: Any) -> None:
            signals.append(number)
            os.kill(os.getpid(), signal.SIGTERM)

        signal.signal(number, save_first)
        error = self.job.work(sys.stdout, f"slurm-{os.environ.get('SLURM_CLUSTER_NAME', '')}-{JobEnvironment().job_id}")
        if signals:
            requeue(number, None)  # ends the process
        return error

    def checkpoint(self) -> Any:
        """The same job again: all progress is in the store."""
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
                "--launcher slurm: no sbatch on this machine; run the command on a login node of the cluster"
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
        """Submit jobs for every stage that is not finished, to start after those of the stages it needs."""
        stages: dict[str, list[Entry]] = {}
        for entry in _left(plan):
            stages.setdefault(entry.run.stage, []).append(entry)
        jobs: dict[str, list[Any]] = {}
        try:
            for stage, left in stages.items():
                needed = {need.stage for entry in left for need in entry.run.needs(plan.references)}
                first = [name for name in jobs if name in needed]
                ids = [job.job_id for name in first for job in jobs[name]]
                jobs[stage] = self._jobs(plan, stage, len(left), ids)
                after = f", to start after those of {', '.join(first)}" if first else ""
                names = " ".join(job.job_id for job in jobs[stage])
                console.print(f"submitted {len(jobs[stage])} jobs for {stage}{after}: {names}", markup=False)
        except BaseException:
            cancel([job.job_id for own in jobs.values() for job in own])
            raise
        return [job for own in jobs.values() for job in own]

    def _jobs(self, plan: Plan, stage: str, runs: int, after: Sequence[str]) -> list[Any]:
        """Submit the jobs of one stage, no more than it has runs; raises ConfigError if SLURM refuses them."""
        submitit, resources = extra("submitit", "slurm"), self.options.of_stage(stage)
        name = f"cpeft-{plan.recipe.name}-{stage}".replace("/", ".").replace(" ", "_")
        optional = {
            "partition": resources.partition, "mem": resources.memory, "gpus_per_node": resources.gpus or None,
            "dependency": f"afterany:{':'.join(after)}" if after else None,
        }  # fmt: skip
        executor = submitit.SlurmExecutor(plan.store.path.resolve() / "slurm", max_num_timeout=self.options.turns)
        executor.update_parameters(
            job_name=name, time=resources.time, cpus_per_task=resources.cpus, stderr_to_stdout=True,
            additional_parameters={"requeue": True, **resources.sbatch},
            **{key: value for key, value in optional.items() if value is not None},
        )  # fmt: skip
        try:
            worker, count = Worker(Job.of(plan, stage), resources.cpus), min(resources.workers, runs)
            return [executor.submit(worker) for _ in range(count)]
        except submitit.core.utils.FailedJobError as error:
            raise ConfigError(f"SLURM refused the job: {'; '.join(str(error).strip().splitlines())}") from None


def _left(plan: Plan) -> list[Entry]:
    return [entry for entry in plan.entries() if entry.state.pending]


def _progress(plan: Plan) -> tuple[int, int]:
    """The number of runs that are finished or failed, and of steps of the others."""
    left = _left(plan)
    steps = sum(entry.folder.last_step()[0] or 0 for entry in left if entry.folder)
    return len(plan.recipe.runs) - len(left), steps


def _await_claims(plan: Plan, console: Console) -> bool:
    """Wait until no unfinished run is claimed, so that new jobs can take them; the claims of lost workers last for ten minutes.
    Returns whether any run was claimed."""
    waited = False
    while held := [str(entry.run) for entry in _left(plan) if entry.folder and entry.folder.held]:
        if not waited:
            console.print(
                f"waiting for the claims of {len(held)} runs, such as {held[0]}, to be released", markup=False
            )
            waited = True
        time.sleep(WAIT_S)
    return waited


def _wait(plan: Plan, console: Console, jobs: Sequence[Any]) -> None:
    """Wait until all jobs have ended, or nothing is left to do; raises the error that ended one of them."""
    ids = [job.job_id for job in jobs]
    try:
        watch(plan, console, lambda: _alive(ids))
    except BaseException:
        cancel(ids)
        _await_end(ids)
        raise
    cancel(ids, "--state=PENDING")  # running ones end when they find nothing to do
    _await_end(ids)
    raise_first(_ended(job) for job in jobs)


def queued(ids: Sequence[str]) -> set[str]:
    """The jobs of these that are pending or running, by squeue, which needs no accounting. Raises RunFailed if SLURM does not
    answer for minutes; the jobs continue."""
    for pause_s in (*PAUSES_S, 0):
        command = ["squeue", "--me", "--noheader", "--format=%A"]
        answer = subprocess.run(command, capture_output=True, text=True, check=False)
        if answer.returncode == 0:
            return set(ids) & set(answer.stdout.split())
        time.sleep(pause_s)
    raise RunFailed(
        f"SLURM does not answer ({answer.stderr.strip()}); jobs {' '.join(ids)} may continue: cpeft status STORE"
    )


def _alive(ids: Sequence[str]) -> bool:
    """Whether any job is left; queried twice, because a job that is being requeued is missing for a moment."""
    if queued(ids):
        return True
    time.sleep(WAIT_S)
    return bool(queued(ids))


def cancel(ids: Sequence[str], *which: str) -> None:
    """Cancel jobs that have not ended: pending ones are removed, running workers save and stop."""
    if ids and (left := sorted(queued(ids))):
        subprocess.run(["scancel", "--quiet", *which, *left], check=False)  # one that ended in between is no error


def _await_end(ids: Sequence[str]) -> None:
    while queued(ids):
        time.sleep(WAIT_S)


def _ended(job: Any) -> CpeftError | None:
    """The error that ended a worker, if any; a worker that was killed leaves none."""
    if not job.paths.result_pickle.exists():
        return None
    if broken := job.exception():
        last = str(broken).strip().splitlines()[-1]
        return RunFailed(f"SLURM job {job.job_id}: {last}; see {job.paths.stdout}")
    error: CpeftError | None = job.result()
    return error
