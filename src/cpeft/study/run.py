"""Working a recipe off: claim what is ready, train it in gangs or compare it, conclude, until nothing is left.

Any number of processes may do this on one store at once; a run is done once and by one of them.
"""

import time
import traceback
from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

import tomli_w
import torch
from rich.console import Console
from rich.markup import escape

from cpeft.config import Table
from cpeft.errors import CpeftError, LostClaim, RunFailed, Stopped
from cpeft.prompts.soft_prompt import read_json, replace_text, write_json
from cpeft.study.comparison import Comparison
from cpeft.study.note import note_of
from cpeft.study.outcome import conclude
from cpeft.study.plan import Plan, Planned
from cpeft.study.prepare import Prepared, prepare
from cpeft.study.recipe_run import Gang, RecipeRun, TrainingRun
from cpeft.study.store import Claim
from cpeft.training.callbacks import Callback
from cpeft.training.callbacks.energy import EnergyMeter
from cpeft.training.callbacks.metrics_file import MetricsFile
from cpeft.training.callbacks.progress import ProgressBars
from cpeft.training.callbacks.tracker import Tracked, check_trackers, make_trackers
from cpeft.training.carbon import check_energy
from cpeft.training.engine import GangOptions, train_gang
from cpeft.training.memory import free
from cpeft.training.workers import Workers

WAIT_S = 2.0  # between looks at runs that another process is working on
BROKEN = (OSError, ValueError, RuntimeError, KeyError)  # what ends one run and no other


class Summary(NamedTuple):
    """How a recipe stands: counts over all of it, and the failures with their reasons. `left` runs are not finished and not
    failed: their workers were lost."""

    done: int
    failures: dict[str, str]
    blocked: dict[str, str]
    left: int = 0


def run_recipe(plan: Plan, console: Console) -> Summary:
    """Run everything of a recipe that is not finished. Raises Stopped after SIGTERM in training, with all progress saved, and
    ConfigError before anything runs for a tracker or a measurement that cannot be had here."""
    workers = Workers()
    for run in plan.recipe.training:
        check_trackers(run.settings.track)
        check_energy(run.settings.energy)
    pace = Pace(console)
    while _work(plan, workers, console, pace):
        pass
    return summary_of(plan)


class Pace:
    """Tells how far a study is, with the time left at the pace of all processes since this one began."""

    def __init__(self, console: Console) -> None:
        self.console, self.began = console, time.monotonic()
        self.first = self.last = -1

    def tell(self, entries: Sequence[Planned]) -> None:
        done = sum(entry.state == "done" for entry in entries)
        left = sum(entry.state in ("ready", "waiting") for entry in entries)
        self.first = done if self.first < 0 else self.first
        if done > self.last and left:
            since = done - self.first
            time_left = f", about {duration(left * (time.monotonic() - self.began) / since)} left" if since else ""
            self.console.print(f"{done} of {len(entries)} runs done{time_left}", highlight=False)
        self.last = done


def duration(seconds: float) -> str:
    """Rounded to what a person plans by."""
    return (
        f"{seconds:.0f} s"
        if seconds < 90
        else f"{seconds / 60:.0f} min"
        if seconds < 5400
        else f"{seconds / 3600:.1f} h"
    )


def summary_of(plan: Plan) -> Summary:
    """How a recipe stands in its store."""
    entries = plan.entries()
    failed = {str(e.run): str(plan.folder(e.run).path / "failed.json") for e in entries if e.state == "failed"}
    blocked = {str(e.run): e.why for e in entries if e.state == "blocked"}
    left = sum(e.state in ("ready", "waiting") for e in entries)
    return Summary(sum(e.state == "done" for e in entries), failed, blocked, left)


def _work(plan: Plan, workers: Workers, console: Console, pace: Pace) -> bool:
    """Work on the next gang, or wait for other processes; False when nothing is left to do."""
    entries = plan.entries() if workers.first else []
    pace.tell(entries)
    if any(entry.state in ("done", "failed") for entry in entries):
        _leave_note(plan, entries)
    claims = _claim(plan, entries)
    try:
        if chosen := workers.tell(list(claims)):
            match [plan.recipe.runs[i] for i in chosen]:
                case [Comparison() as run]:
                    _compare(plan, run, list(claims.values()), workers, console)
                case runs:
                    training = [run for run in runs if isinstance(run, TrainingRun)]
                    _run_gang(plan, training, list(claims.values()), workers, console)
                    free()  # a baseline had a model of its own
            return True
    finally:
        for claim in claims.values():
            claim.release()
    waiting = workers.tell(any(entry.state in ("ready", "waiting") for entry in entries))
    if waiting:
        time.sleep(WAIT_S)
    return waiting


def _leave_note(plan: Plan, entries: Sequence[Planned]) -> None:
    """Keep the study's note in the store up to date, once a run has begun; other processes write the same file."""
    note = note_of(plan, entries)
    path, card = plan.store.path / note.path, note.card()
    with plan.store.lock():
        if not path.exists() or read_json(path) != card:
            write_json(path, card)


def _claim(plan: Plan, entries: Sequence[Planned]) -> dict[int, Claim]:
    """The next runs that can share a model, as many as a gang holds, claimed for this process; by place in the recipe."""
    claims: dict[int, Claim] = {}
    gang: Gang | None = None
    for i, entry in enumerate(entries):
        if claims and (gang is None or entry.run.gang != gang or len(claims) >= gang_size(gang[1])):
            continue
        if entry.state == "ready" and (claim := plan.store.claim(plan.folder(entry.run))):
            claims[i], gang = claim, entry.run.gang
    return claims


def gang_size(options: GangOptions) -> int:
    """How many runs to train together: as set, or one on a CPU, where a gang saves no time, and eight on a GPU."""
    auto = 8 if torch.cuda.is_available() else 1
    return auto if options.size == "auto" else options.size


def _compare(plan: Plan, run: Comparison, claims: list[Claim], workers: Workers, console: Console) -> None:
    """Compare what is ready, in the process that has the claim; what breaks is kept with this run and stops no other."""
    folder, began = plan.folder(run).path, time.monotonic()
    for claim in claims:
        try:
            found = run.found(plan)  # CpeftErrors stop the command
            claim.guard()
            _write_config(run, folder / "config.toml")
            run.conclude(found, time.monotonic() - began, folder)
            console.print(f"done {run}: {len(found['compared'])} prompts compared", markup=False)
        except LostClaim as error:
            console.print(f"[yellow]{escape(str(error))}")
        except BROKEN as error:
            _fail(folder, str(run), error, console, workers)


def _run_gang(plan: Plan, runs: list[TrainingRun], claims: list[Claim], workers: Workers, console: Console) -> None:
    bars, meter = ProgressBars(console), EnergyMeter(runs[0].settings.energy, workers)
    ready: list[Prepared] = []
    for run, claim in zip_longest(runs, claims):  # only the first process has claims
        folder = plan.folder(run).path
        guard = claim.guard if claim else lambda: None
        try:
            callbacks = _callbacks(run, folder, [bars, meter], console) if workers.first else []
            ready.append(prepare(run, plan, folder, guard, callbacks, workers))
        except (RunFailed, *BROKEN) as error:  # other CpeftErrors stop the command
            _fail(folder, str(run), error, console, workers)
            continue
        if workers.first:
            _write_config(run, folder / "config.toml")
            for note in ready[-1].notes:
                console.print(f"[yellow]{escape(f'{run.name}: {note}')}")
    if ready and workers.first:
        _leave_note(plan, plan.entries())
    try:
        train_gang([each.member for each in ready], runs[0].settings.gang, workers)
        for each in ready:
            _conclude(each, meter, console, workers)
    finally:
        bars.progress.stop()
        for each in ready:
            for callback in each.member.callbacks:
                callback.on_close(each.member)


def _callbacks(run: TrainingRun, folder: Path, shared: list[Callback], console: Console) -> list[Callback]:
    """What watches a run, in the order in which it is told; `shared` are the gang's."""

    def say(text: str) -> None:
        console.print(f"[yellow]{escape(text)}")

    options = run.settings.track
    watchers: list[Callback] = [MetricsFile(folder / "metrics.jsonl"), *shared]
    if options.use:
        told = run.settings.model_dump(mode="json", exclude={"track"})
        watchers += make_trackers(options, Tracked.of(str(run), run.stage, options.project, folder, told), say)
    return watchers


def _conclude(each: Prepared, meter: EnergyMeter, console: Console, workers: Workers) -> None:
    """Score a trained run; whatever goes wrong is kept with this run and stops no other."""
    error = each.member.failure
    try:
        if result := None if error else conclude(each, workers, meter):
            for callback in each.member.callbacks:
                callback.on_result(each.member, result)
    except Stopped:
        raise
    except (CpeftError, *BROKEN) as problem:
        error, result = problem, None
    each.member.failure = error
    if isinstance(error, LostClaim):
        console.print(f"[yellow]{escape(str(error))}")
    elif error:
        _fail(each.member.folder, each.member.name, error, console, workers)
    elif result:
        parts = []
        for task, about in result["data"].items():
            score = result["scores"][task][about["headline"]]
            parts.append(f"{task} {about['headline']} {score['value']:.1f} [{score['low']:.1f}, {score['high']:.1f}]")
        console.print(f"done {each.member.name}: {', '.join(parts)}", markup=False)


def _write_config(run: RecipeRun, path: Path) -> None:
    if not path.exists():
        table = tomli_w.dumps(_without_none(run.saved()))
        replace_text(path, f"# {run.stage}: {run.label}\n{table}")


def _without_none(table: Table) -> Table:
    return {k: _without_none(v) if isinstance(v, dict) else v for k, v in table.items() if v is not None}


def _fail(folder: Path, name: str, error: BaseException, console: Console, workers: Workers) -> None:
    if workers.first:
        trace = "".join(traceback.format_exception(error))
        write_json(folder / "failed.json", {"error": f"{type(error).__name__}: {error}", "traceback": trace})
        kept = folder / "failed_batch.json"
        where = f"; its batch is in {kept}" if kept.exists() else ""
        console.print(f"[red]failed[/red] {escape(f'{name}: {error}{where}')}")
