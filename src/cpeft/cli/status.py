"""The command that shows the state of a store while others work on it."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from rich.markup import escape
from typer import Argument

from cpeft.cli.base import JsonOption, app, console, show_rows

if TYPE_CHECKING:
    from cpeft.store.status import RunStatus, StoreStatus, StudyStatus


@app.command()
def status(
    store: Annotated[Path, Argument(help="The folder that `cpeft run` fills.")], as_json: JsonOption = False
) -> None:
    """Show the runs of a store by state (done, failed, running, stale, stopped, ready, waiting, blocked), and hours spent and
    left."""
    from cpeft.store.status import status_of

    overview = status_of(store)
    if as_json:
        print(json.dumps(overview.card(), indent=2))
        return
    for study in overview.studies:
        _show_study(study, overview)
    for run in overview.runs:
        if line := _line(run, overview):
            console.print(line)
    console.print(_hours(overview), markup=False)


def _show_study(study: "StudyStatus", overview: "StoreStatus") -> None:
    """Print a row per stage, with the states that any run is in."""
    from cpeft.store.status import STATES

    manifest = study.manifest
    met = [state for state in STATES if any(stage.counts[state] for stage in study.stages)]
    rows: list[dict[str, Any]] = [
        {"stage": stage.stage, "runs": stage.runs, **{state.value: stage.counts[state] for state in met},
         "hours": f"{stage.hours:.2f}",
         "hours left": "?" if stage.hours_left is None else f"{stage.hours_left:.2f}"}
        for stage in study.stages
    ]  # fmt: skip
    show_rows(rows, manifest.command(overview.path) if manifest else "runs that are in no study", None)
    for file in manifest.edited() if manifest else ():
        console.print(f"[yellow]edited since:[/yellow] {escape(file)}")


def _line(run: "RunStatus", overview: "StoreStatus") -> str:
    """A line about a run that has failed or was begun; empty for any other."""
    at = "before its first step" if run.step is None else f"step {run.step}, logged {_ago(run.log_age_s)} ago"
    who = f"{run.holder.host}:{run.holder.pid}, alive {_ago(run.holder.silent_s)} ago" if run.holder else ""
    name = escape(run.run)
    match run.state.value:
        case "failed":
            return f"[red]failed[/red] {name}: {escape(run.error)}; see {escape(str(overview.failure_path(run)))}"
        case "running":
            return f"[green]running[/green] {name}: {at}; {escape(who)}"
        case "stale":
            gone = f"its process ({who}) is gone; the next process takes it over"
            return f"[yellow]stale[/yellow] {name}: {at}; {escape(gone)}"
        case "stopped":
            return f"stopped {name}: {at}; no process is working on it"
    return ""


def _ago(seconds: float | None) -> str:
    """A time as a few characters: `40 s`, `12 min`, `3.1 h`."""
    s = seconds or 0.0
    return f"{s:.0f} s" if s < 120 else f"{s / 60:.0f} min" if s < 7200 else f"{s / 3600:.1f} h"


def _hours(overview: "StoreStatus") -> str:
    spent = sum(run.hours or 0.0 for run in overview.runs)
    left = [study.hours_left for study in overview.studies]
    known = [hours for hours in left if hours is not None]
    more = f"about {sum(known):.2f} hours left in one process" if known else "hours left: known once a run is finished"
    count = overview.processes
    shared = f", {sum(known) / count:.2f} in the {count} that are running" if known and count > 1 else ""
    return f"{spent:.2f} hours in finished runs; {more}{shared}"
