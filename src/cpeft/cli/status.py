"""The command that looks at a store while others work on it."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from rich.markup import escape
from typer import Argument

from cpeft.cli.base import JsonOption, app, console, show_rows

if TYPE_CHECKING:
    from cpeft.store.status import Seen, StoreStatus, StudyStatus


@app.command()
def status(
    store: Annotated[Path, Argument(help="The folder that `cpeft run` fills.")], as_json: JsonOption = False
) -> None:
    """How far a store is: what is done, at work, failed and left, hours spent and to come."""
    from cpeft.store.status import status_of

    found = status_of(store)
    if as_json:
        print(json.dumps(found.card(), indent=2))
        return
    for study in found.studies:
        _show_study(study, found)
    for seen in found.runs:
        if line := _line(seen, found):
            console.print(line)
    console.print(_hours(found), markup=False)


def _show_study(study: "StudyStatus", found: "StoreStatus") -> None:
    manifest = study.manifest
    rows: list[dict[str, Any]] = [
        {"stage": stage.stage, "runs": stage.runs, **stage.counts, "hours": f"{stage.hours:.2f}",
         "hours left": "?" if stage.hours_left is None else f"{stage.hours_left:.2f}"}
        for stage in study.stages
    ]  # fmt: skip
    show_rows(rows, manifest.command(found.path) if manifest else "in no study's note", None)
    for file in manifest.edited() if manifest else ():
        console.print(f"[yellow]edited since:[/yellow] {escape(file)}")


def _line(seen: "Seen", found: "StoreStatus") -> str:
    """What there is to say of a run that is not finished."""
    at = "before its first step" if seen.step is None else f"step {seen.step}, told {_ago(seen.told_s)} ago"
    who = f"{seen.holder.host}:{seen.holder.pid}, alive {_ago(seen.holder.silent_s)} ago" if seen.holder else ""
    run = escape(seen.run)
    match seen.state:
        case "failed":
            return f"[red]failed[/red] {run}: {escape(seen.error)}; see {escape(str(found.failed_json(seen)))}"
        case "running":
            return f"[green]running[/green] {run}: {at}; {escape(who)}"
        case "stale":
            return (
                f"[yellow]stale[/yellow] {run}: {at}; its process is gone ({escape(who)}), the next one takes it over"
            )
        case "begun":
            return f"begun {run}: {at}; nobody works on it"
    return ""


def _ago(seconds: float | None) -> str:
    """A time as a few characters: `40 s`, `12 min`, `3.1 h`."""
    s = seconds or 0.0
    return f"{s:.0f} s" if s < 120 else f"{s / 60:.0f} min" if s < 7200 else f"{s / 3600:.1f} h"


def _hours(found: "StoreStatus") -> str:
    spent = sum(seen.hours or 0.0 for seen in found.runs)
    left = [study.hours_left for study in found.studies]
    known = [hours for hours in left if hours is not None]
    more = f"about {sum(known):.2f} hours left in one process" if known else "hours left: known once a run is finished"
    count = found.processes
    shared = f", {sum(known) / count:.2f} in the {count} at work now" if known and count > 1 else ""
    return f"{spent:.2f} hours in finished runs; {more}{shared}"
