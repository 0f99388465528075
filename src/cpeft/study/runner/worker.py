"""The loop of a worker: claim runs that can start, train them in gangs or compare them, write results, until nothing is left.

Any number of processes may do this on one store at once; each run is done by one of them.
"""

import time
from contextlib import nullcontext
from typing import NamedTuple

from rich.console import Console
from rich.markup import escape

from cpeft.errors import LostClaim
from cpeft.store.claims import WAIT_S, Claim
from cpeft.store.machine import versions
from cpeft.store.state import RunState
from cpeft.study.recipe.comparison import Comparison
from cpeft.study.recipe.runs import TrainingRun
from cpeft.study.runner.claiming import RUN_ERRORS, Claimer, write_config, write_failure
from cpeft.study.runner.data_check import data_warnings
from cpeft.study.runner.gang import GangAtWork
from cpeft.study.runner.plan import Plan
from cpeft.training.callbacks.tracker import check_trackers
from cpeft.training.carbon import check_energy
from cpeft.training.memory import bound_kernels, free
from cpeft.training.workers import Workers


class RecipeState(NamedTuple):
    """The state of a whole recipe: the number of finished runs, where each failure is described, why runs are blocked, and the
    number of pending runs."""

    done: int
    failures: dict[str, str]
    blocked: dict[str, str]
    left: int = 0


def run_recipe(plan: Plan, console: Console, stage: str | None = None) -> RecipeState:
    """Run everything of a recipe that is not finished, or what can start of one stage. Raises Stopped after a signal in
    training, with all progress saved, and ConfigError before anything runs if a tracker or a measurement is unavailable."""
    bound_kernels()
    workers = Workers()
    versions()  # of the source as it is loaded, which may be edited before the first result
    for run in plan.recipe.training:
        check_trackers(run.settings.track)
        check_energy(run.settings.energy)
    claimer = Claimer(plan, console, stage)
    if workers.first and stage is None:
        warn(plan, console)
    with claimer.pace if workers.first else nullcontext():
        while _work(claimer, workers, console):
            pass
    return recipe_state(plan)


def warn(plan: Plan, console: Console) -> None:
    """Print warnings about the data of pending runs; nothing stops."""
    for finding in data_warnings(entry.run for entry in plan.entries() if entry.state.pending):
        console.print(f"[yellow]{finding.level}[/yellow] {escape(f'{finding.where}: {finding.what}')}")


def recipe_state(plan: Plan) -> RecipeState:
    """The summary of a recipe in its store."""
    entries = plan.entries()
    failed = {str(e.run): str(e.folder.failure_path) for e in entries if e.folder and e.state == RunState.FAILED}
    blocked = {str(e.run): e.why for e in entries if e.state == RunState.BLOCKED}
    done, left = sum(e.state == RunState.DONE for e in entries), sum(e.state.pending for e in entries)
    return RecipeState(done, failed, blocked, left)


def _work(claimer: Claimer, workers: Workers, console: Console) -> bool:
    """Work on the next gang, or wait for other processes; False when nothing is left to do."""
    entries = claimer.entries() if workers.first else []
    claims = claimer.claim(entries)
    if not (chosen := workers.broadcast(list(claims))):
        waiting = workers.broadcast(claimer.should_wait(entries))
        if waiting:
            time.sleep(WAIT_S)
        return waiting
    match claimer.plan.run(chosen[0]):
        case Comparison() as run:
            for claim in claims.values():  # only the first process has it
                _compare(claimer.plan, run, claim, console)
        case TrainingRun() as run:
            GangAtWork(claimer, run, workers, console).work(claims, chosen)
            if run.settings.changes_model:  # a baseline had a model of its own
                free()
    return True


def _compare(plan: Plan, run: Comparison, claim: Claim, console: Console) -> None:
    """Do a comparison; an error is written to its folder and stops no other run."""
    folder, start = plan.references.folder(run), time.monotonic()
    try:
        similarity = run.similarity(plan.references)  # CpeftErrors stop the command
        claim.guard()
        write_config(run, folder)
        run.conclude(similarity, time.monotonic() - start, folder)
        console.print(f"done {run}: {len(similarity.compared)} prompts compared", markup=False)
    except (LostClaim, *RUN_ERRORS) as error:
        write_failure(folder, str(run), error, console, claim.guard)
    finally:
        claim.release()
