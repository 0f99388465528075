"""Working a recipe off: claim what is ready, train it in gangs or compare it, conclude, until nothing is left.

Any number of processes may do this on one store at once; a run is done once and by one of them.
"""

import time
from typing import NamedTuple

from rich.console import Console
from rich.markup import escape

from cpeft.errors import LostClaim
from cpeft.store.claims import WAIT_S, Claim
from cpeft.store.machine import versions
from cpeft.study.recipe.comparison import Comparison
from cpeft.study.recipe.runs import TrainingRun
from cpeft.study.runner.data_check import SAMPLE, check_data
from cpeft.study.runner.gang import GangAtWork
from cpeft.study.runner.plan import Plan
from cpeft.study.runner.queue import Queue
from cpeft.study.runner.unfinished import BROKEN, write_config, write_failure
from cpeft.training.callbacks.tracker import check_trackers
from cpeft.training.carbon import check_energy
from cpeft.training.memory import bound_kernels, free
from cpeft.training.workers import Workers


class Summary(NamedTuple):
    """How a recipe stands: counts over all of it, and the failures with their reasons. `left` runs are not finished and not
    failed: their workers were lost."""

    done: int
    failures: dict[str, str]
    blocked: dict[str, str]
    left: int = 0


def run_recipe(plan: Plan, console: Console, stage: str | None = None) -> Summary:
    """Run everything of a recipe that is not finished, or of one stage what nobody works on. Raises Stopped after a signal in
    training, with all progress saved, and ConfigError before anything runs for a tracker or a measurement that cannot be had
    here."""
    bound_kernels()
    workers = Workers()
    versions()  # of the source as it is loaded: somebody may edit it before the first result
    for run in plan.recipe.training:
        check_trackers(run.settings.track)
        check_energy(run.settings.energy)
    queue = Queue(plan, console, stage)
    if workers.first and stage is None:
        warn(plan, console)
    while _work(queue, workers, console):
        pass
    return summary_of(plan)


def warn(plan: Plan, console: Console) -> None:
    """Say what is wrong with the data of the runs that are left; nothing stops."""
    left = [entry.run for entry in plan.entries() if entry.pending and isinstance(entry.run, TrainingRun)]
    for finding in check_data(left, SAMPLE):
        if finding.level in ("warning", "error"):
            console.print(f"[yellow]{finding.level}[/yellow] {escape(f'{finding.where}: {finding.what}')}")


def summary_of(plan: Plan) -> Summary:
    """How a recipe stands in its store."""
    entries = plan.entries()
    failed = {str(e.run): str(plan.references.folder(e.run).failure_path) for e in entries if e.state == "failed"}
    blocked = {str(e.run): e.why for e in entries if e.state == "blocked"}
    return Summary(sum(e.state == "done" for e in entries), failed, blocked, sum(e.pending for e in entries))


def _work(queue: Queue, workers: Workers, console: Console) -> bool:
    """Work on the next gang, or wait for other processes; False when nothing is left to do."""
    entries = queue.look() if workers.first else []
    claims = queue.claim(entries)
    if not (chosen := workers.tell(list(claims))):
        waiting = workers.tell(queue.waits(entries))
        if waiting:
            time.sleep(WAIT_S)
        return waiting
    match queue.plan.recipe.runs[chosen[0]]:
        case Comparison() as run:
            for claim in claims.values():  # the first process has it
                _compare(queue.plan, run, claim, console)
        case TrainingRun() as run:
            GangAtWork(queue, run, workers, console).work(claims, chosen)
            if run.settings.changes_model:  # a baseline had a model of its own
                free()
    return True


def _compare(plan: Plan, run: Comparison, claim: Claim, console: Console) -> None:
    """Compare what is ready; what breaks is kept with this run and stops no other."""
    folder, began = plan.references.folder(run), time.monotonic()
    try:
        found = run.found(plan.references)  # CpeftErrors stop the command
        claim.guard()
        write_config(run, folder.config_path)
        run.conclude(found, time.monotonic() - began, folder)
        console.print(f"done {run}: {len(found['compared'])} prompts compared", markup=False)
    except LostClaim as error:
        console.print(f"[yellow]{escape(str(error))}")
    except BROKEN as error:
        write_failure(folder, str(run), error, console, claim.guard)
    finally:
        claim.release()
