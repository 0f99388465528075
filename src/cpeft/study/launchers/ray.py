"""Tasks of a Ray cluster: each is one worker on the shared store.

The cluster is the one that RAY_ADDRESS names, or a local one while the command runs. Store, recipe, data and models must have
the same paths on every node. If a worker's process or node is lost, Ray starts the worker again under the same name, so it
takes over its claims at once and resumes from the last checkpoint. Workers wait for each other between stages; their logs are
STORE/ray-N.log.
"""

import os
import signal
from pathlib import Path
from typing import Any

from pydantic import Field
from rich.console import Console

from cpeft.config import Count, CountOrZero, Positive, PositiveOrZero
from cpeft.errors import CpeftError, RunFailed
from cpeft.study.launchers.base import LAUNCHERS, Launcher, LauncherOptions
from cpeft.study.launchers.job import Job, use_threads
from cpeft.study.launchers.watch import extra, raise_first, watch
from cpeft.study.runner.plan import Plan

PASSED_ON = ("CPEFT_", "HF_", "PYTHONPATH", "OMP_NUM_THREADS")  # environment variables that workers inherit, by prefix
STOP_S = 60.0  # workers that were asked to stop are killed after this time for saving a step


class RayOptions(LauncherOptions):
    """Tasks of a Ray cluster."""

    workers: Count = Field(default=1, description="Workers.")
    cpus: Positive = Field(default=1, description="CPUs of a worker.")
    gpus: PositiveOrZero = Field(default=0, description="GPUs of a worker; a share such as 0.5 is allowed.")
    memory: Positive | None = Field(default=None, description="Memory of a worker in gigabytes; without it no bound.")
    retries: CountOrZero = Field(default=100, description="How often a lost worker is started again, at most.")


@LAUNCHERS.register("ray")
class Ray(Launcher):
    """Starts tasks and waits for them; the process itself trains nothing."""

    Options = RayOptions
    options: RayOptions

    def launch(self, plan: Plan, console: Console) -> bool:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        ray = extra("ray", "ray")
        passed = {name: value for name, value in os.environ.items() if name.startswith(PASSED_ON)}
        stop = signal.getsignal(signal.SIGTERM)
        ray.init(
            address=os.environ.get("RAY_ADDRESS", "local"), runtime_env={"env_vars": passed}, log_to_driver=False,
            logging_level="warning",
        )  # fmt: skip
        signal.signal(signal.SIGTERM, stop)  # Ray's own handler would abort the process
        try:
            tasks = self._start(ray, plan)
            console.print(f"started {len(tasks)} workers; logs in {plan.store.path / 'ray-N.log'}", markup=False)
            _work(ray, tasks, plan, console)
        finally:
            ray.shutdown()
        return False

    def _start(self, ray: Any, plan: Plan) -> list[Any]:
        options, store = self.options, plan.store.path.resolve()
        store.mkdir(parents=True, exist_ok=True)
        session = ray.get_runtime_context().get_job_id()
        remote = ray.remote(
            num_cpus=options.cpus, num_gpus=options.gpus, max_retries=options.retries, scheduling_strategy="SPREAD",
            memory=None if options.memory is None else int(options.memory * 2**30),
        )(_run)  # fmt: skip
        job, threads = Job.of(plan), max(int(options.cpus), 1)
        return [
            remote.remote(job, f"ray-{session}-{i}", store / f"ray-{i}.log", threads, Path.cwd())
            for i in range(options.workers)
        ]


def _run(job: Job, name: str, log: Path, threads: int, folder: Path) -> CpeftError | None:
    """The work of one Ray task, in the folder in which the command was started."""
    os.chdir(folder)
    use_threads(threads)
    with log.open("a", encoding="utf-8") as file:
        return job.work(file, name)


def _work(ray: Any, tasks: list[Any], plan: Plan, console: Console) -> None:
    """Wait for the workers; after a signal, ask them to save their step and stop."""

    def alive() -> bool:
        return bool(ray.wait(tasks, num_returns=len(tasks), timeout=0)[1])

    try:
        watch(plan, console, alive)
    except BaseException:
        for task in tasks:
            ray.cancel(task, force=False)  # an interrupt, on which the training loop saves its step
        ray.wait(tasks, num_returns=len(tasks), timeout=STOP_S)
        raise
    ended = ray.wait(tasks, num_returns=len(tasks), timeout=STOP_S)[
        0
    ]  # the last ones may still notice that nothing is left
    raise_first(_ended(ray, task) for task in ended)


def _ended(ray: Any, task: Any) -> CpeftError | None:
    """The error that ended a worker, if any."""
    try:
        error: CpeftError | None = ray.get(task)
    except ray.exceptions.RayTaskError as broken:  # anything but a CpeftError
        return RunFailed(f"a worker ended: {broken.cause!r}")
    except ray.exceptions.RayError:  # lost more than `retries` times; its unfinished runs are seen in the store
        return None
    return error
