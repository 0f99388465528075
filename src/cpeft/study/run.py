"""Working a recipe off: claim what is ready, train it in gangs, conclude, until nothing is left.

Any number of processes may do this on one store at once; a run is done once and by one of them.
"""

import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, field

import tomli_w
import torch
from rich.console import Console
from rich.markup import escape

from cpeft.errors import CpeftError, LostClaim, RunFailed, Stopped
from cpeft.prompts.soft_prompt import replace_text, write_json
from cpeft.study.outcome import conclude
from cpeft.study.plan import Plan, Planned
from cpeft.study.prepare import Prepared, prepare
from cpeft.study.settings import RunSettings
from cpeft.study.store import Claim, RunFolder
from cpeft.training.callbacks.progress import ProgressBars
from cpeft.training.engine import train_gang
from cpeft.training.workers import Workers

WAIT_S = 2.0  # between looks at runs that another process is working on


@dataclass
class Summary:
    """What a call did: counts over the whole recipe, and the failures with their reasons."""

    done: int = 0
    failures: dict[str, str] = field(default_factory=dict)
    blocked: dict[str, str] = field(default_factory=dict)


def run_recipe(plan: Plan, console: Console) -> Summary:
    """Run everything of a recipe that is not finished. Raises Stopped after SIGTERM in training, with all progress saved."""
    workers = Workers()
    while _work(plan, workers, console):
        pass
    return _summary(plan)


def _work(plan: Plan, workers: Workers, console: Console) -> bool:
    """Work on the next gang, or wait for other processes; False when nothing is left to do."""
    entries = plan.entries() if workers.first else []
    gang, claims = _claim(plan, entries) if workers.first else ([], [])
    chosen = workers.tell([plan.recipe.runs.index(entry.run) for entry in gang])
    if not chosen:
        waiting = workers.tell(any(entry.state in ("ready", "waiting") for entry in entries))
        if waiting:
            time.sleep(WAIT_S)
        return waiting
    if not workers.first:
        gang = [plan.entry(plan.recipe.runs[i]) for i in chosen]
    try:
        _run_gang(plan, gang, claims, workers, console)
    finally:
        for claim in claims:
            claim.release()
    return True


def _claim(plan: Plan, entries: Sequence[Planned]) -> tuple[list[Planned], list[Claim]]:
    """The next runs that can share a model, as many as a gang holds, claimed for this process."""
    gang: list[Planned] = []
    claims: list[Claim] = []
    for entry in entries:
        if entry.state != "ready" or entry.folder is None:
            continue
        if gang and (len(gang) >= gang_size(gang[0].run.settings) or _key(entry) != _key(gang[0])):
            continue
        claim = plan.store.claim(entry.folder)
        if claim:
            gang.append(entry)
            claims.append(claim)
    return gang, claims


def gang_size(settings: RunSettings) -> int:
    """How many runs to train together: as set, or one on a CPU, where a gang saves no time, and eight on a GPU."""
    if settings.gang.size != "auto":
        return settings.gang.size
    return 8 if torch.cuda.is_available() else 1


def _key(entry: Planned) -> tuple[object, ...]:
    return (entry.run.settings.model, entry.run.settings.gang)


def _run_gang(plan: Plan, gang: Sequence[Planned], claims: Sequence[Claim], workers: Workers, console: Console) -> None:
    bars = ProgressBars(console)
    ready: list[Prepared] = []
    for i, entry in enumerate(gang):
        assert entry.folder is not None
        guard = claims[i].guard if workers.first else lambda: None
        try:
            prepared = prepare(entry.run, plan, entry.folder, guard, [bars] if workers.first else [], workers)
        except (RunFailed, OSError, ValueError, RuntimeError, KeyError) as error:  # other CpeftErrors stop the command
            _fail(entry.folder, f"{entry.run.stage}/{entry.run.name}", error, console, workers)
            continue
        if workers.first:
            _write_config(entry)
            for note in prepared.notes:
                console.print(f"[yellow]{escape(f'{entry.run.name}: {note}')}", highlight=False)
        ready.append(prepared)
    try:
        train_gang([each.member for each in ready], gang[0].run.settings.gang, workers)
        for each in ready:
            _conclude(each, console, workers)
    finally:
        bars.progress.stop()


def _conclude(each: Prepared, console: Console, workers: Workers) -> None:
    """Score a trained run; whatever goes wrong is kept with this run and stops no other."""
    error = each.member.failure
    try:
        result = None if error else conclude(each, workers)
    except (CpeftError, OSError, ValueError, RuntimeError, KeyError) as problem:
        if isinstance(problem, Stopped):
            raise
        error, result = problem, None
    if isinstance(error, LostClaim):
        console.print(f"[yellow]{escape(str(error))}", highlight=False)
    elif error:
        _fail(each.folder, each.member.name, error, console, workers)
    elif result is not None:
        _report(result, console)


def _write_config(entry: Planned) -> None:
    assert entry.folder is not None
    path = entry.folder.path / "config.toml"
    if not path.exists():
        head = f"# {entry.run.stage}: {entry.run.label}\n"
        replace_text(path, head + tomli_w.dumps(_without_none(entry.run.settings.saved())))


def _without_none(table: object) -> dict[str, object]:
    assert isinstance(table, dict)
    return {k: _without_none(v) if isinstance(v, dict) else v for k, v in table.items() if v is not None}


def _fail(folder: RunFolder, name: str, error: BaseException, console: Console, workers: Workers) -> None:
    if workers.first:
        trace = "".join(traceback.format_exception(error))
        write_json(folder.path / "failed.json", {"error": f"{type(error).__name__}: {error}", "traceback": trace})
        kept = folder.path / "failed_batch.json"
        where = f"; its batch is in {kept}" if kept.exists() else ""
        console.print(f"[red]failed[/red] {escape(f'{name}: {error}{where}')}", highlight=False)


def _report(result: dict[str, object], console: Console) -> None:
    data, scores = result["data"], result["scores"]
    assert isinstance(data, dict)
    assert isinstance(scores, dict)
    parts = []
    for task, about in data.items():
        score = scores[task][about["headline"]]
        parts.append(f"{task} {about['headline']} {score['value']:.1f} [{score['low']:.1f}, {score['high']:.1f}]")
    console.print(f"done {result['stage']}/{result['name']}: {', '.join(parts)}", highlight=False, markup=False)


def _summary(plan: Plan) -> Summary:
    summary = Summary()
    for entry in plan.entries():
        name = f"{entry.run.stage}/{entry.run.name}"
        if entry.state == "done":
            summary.done += 1
        elif entry.state == "failed" and entry.folder is not None:
            summary.failures[name] = str(entry.folder.path / "failed.json")
        elif entry.state == "blocked":
            summary.blocked[name] = entry.why
    return summary
