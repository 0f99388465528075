"""Several processes on one store, on this machine; each takes runs that no other has claimed."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import Field
from rich.console import Console

from cpeft.config import Count
from cpeft.study.launchers.base import LAUNCHERS, Launcher, LauncherOptions
from cpeft.study.launchers.job import Job, use_threads
from cpeft.study.runner.plan import Plan
from cpeft.training.signals import stopping


class ProcessesOptions(LauncherOptions):
    """Processes on this machine."""

    workers: Count = Field(
        default=2, description="Processes, this one included; `cpeft run --processes N` sets it too."
    )


@LAUNCHERS.register("processes")
class Processes(Launcher):
    """This process and further ones, which share the cores."""

    Options = ProcessesOptions
    options: ProcessesOptions

    def launch(self, plan: Plan, console: Console) -> bool:
        from cpeft.study.runner.worker import run_recipe

        with helpers(self.options.workers - 1, Job.of(plan)):
            run_recipe(plan, console)
        return False


@contextmanager
def helpers(count: int, job: Job) -> Iterator[None]:
    """Run the job in `count` further processes during the block; every process gets its share of the cores. At the end of the
    block they are waited for; if it fails, they are asked to save their step and stop. Their logs are STORE/process-N.log."""
    if not count:
        yield
        return
    threads = max((os.cpu_count() or 1) // (count + 1), 1)
    use_threads(threads)
    job.store.mkdir(parents=True, exist_ok=True)
    spawn = multiprocessing.get_context("spawn")
    logs = [job.store / f"process-{i + 1}.log" for i in range(count)]
    children = [spawn.Process(target=_help, args=(job, threads, log), daemon=True) for log in logs]
    with _interrupts_ignored():
        for child in children:
            child.start()
    try:
        yield
    except BaseException:
        for child in children:
            child.terminate()
        raise
    finally:
        for child in children:
            child.join()


@contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """Let processes that are started in the block ignore Ctrl-C, which a terminal sends to all of them, until they have
    started: they would die with a traceback, and this process asks them to stop anyway."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _help(job: Job, threads: int, log: Path) -> None:
    use_threads(threads)
    # `stopping` again: the command may ask a second time to stop, after the job has ended
    with log.open("a", encoding="utf-8") as file, stopping():
        job.work(file)
