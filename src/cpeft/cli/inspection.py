"""Commands for inspection: fetch, list, show, doctor."""

import json
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from typer import Argument, Option

from cpeft.cli.base import JsonOption, ModelOption, PluginOption, StoreOption, app, console, show_finding, show_rows
from cpeft.cli.cards import Line, prompt_lines, run_lines
from cpeft.errors import ConfigError
from cpeft.plugins import load_plugins
from cpeft.registry import suggest

SHOWN = ["task", "prompt", "run", "options"]


@app.command()
def fetch(
    what: Annotated[list[str], Argument(help="A recipe, a named model, task:NAME or model:NAME, any number of them.")],
    out: Annotated[
        Path | None,
        Option(
            "--out",
            help="Folder for data, models in OUT/models [default: fetched; named models into the user's cache].",
        ),
    ] = None,
    revision: Annotated[str | None, Option(help="Hub revision of tasks and models.")] = None,
) -> None:
    """Download models and data into a folder, for machines without a network, and named models into the user's cache."""
    from cpeft.use.fetch import DEFAULT, fetch_all

    paths = []
    for path in fetch_all(what, out, revision):
        paths.append(path)
        console.print(f"here: {path}", markup=False)
    folder = out or DEFAULT
    if any(path.is_relative_to(folder) for path in paths):
        console.print(f"on the other machine: export CPEFT_DATA={folder} CPEFT_CACHE={folder}", markup=False)


@app.command("list")
def list_things(
    kind: Annotated[
        str | None, Argument(help="tasks, methods, metrics, models, recipes, prompts or runs [default: list these kinds].")
    ] = None,
    store: StoreOption = None, as_json: JsonOption = False, plugins: PluginOption = None,
) -> None:  # fmt: skip
    """List tasks, methods, metrics, named models, packaged recipes, or the prompts or finished runs of a store."""
    from cpeft.use import catalogue

    load_plugins(plugins or ())
    if kind is None:
        menu = [{"cpeft list ...": name, "what": what} for name, what in catalogue.KINDS.items()]
        show_rows(menu, "kinds", menu if as_json else None)
        return
    rows = catalogue.rows(kind, store)
    if not as_json:
        rows = [SHORT_ROWS[kind](row) for row in rows] if kind in SHORT_ROWS else rows
    show_rows(rows, kind, rows if as_json else None)
    if note := LIST_NOTES.get(kind, "") if not as_json else "":
        console.print(note, markup=False)


def _task_row(row: dict[str, Any]) -> dict[str, Any]:
    """A task in the width of a terminal."""
    return {
        "task": row["task"],
        "answers": row["kind"] if row["labels"] == "open" else f"{row['labels']} labels",
        "metrics": row["metrics"],
        "official rows": row["official rows"],
        "data": row["data"].partition(" ")[0] + ("*" if row["note"] else ""),
    }


def _model_row(row: dict[str, Any]) -> dict[str, Any]:
    """A model in the width of a terminal: sizes in millions, and whether it is here in the place of the path."""
    return {
        "model": row["also"] or row["model"],
        "kind": row["kind"],
        "parameters": f"{row['parameters'] / 1e6:.0f} M",
        "MB": f"{row['bytes'] / 1e6:.0f}",
        "licence": row["licence"],
        "where": row["where"] if row["where"].startswith("cpeft ") else "here",
    }


def _prompt_row(row: dict[str, Any]) -> dict[str, Any]:
    """A prompt in the width of a terminal."""
    return {key: row[key] for key in ("prompt", "task", "method", "model", "scores")}


def _run_row(row: dict[str, Any]) -> dict[str, Any]:
    """A run without the command that makes it again."""
    other = ", ".join(row["other_versions_here"])
    return {**{key: value for key, value in row.items() if key != "again"}, "other_versions_here": other}


SHORT_ROWS = {"tasks": _task_row, "models": _model_row, "prompts": _prompt_row, "runs": _run_row}
LIST_NOTES = {
    "tasks": "official rows: train/validation/test. hub: the data is not on this machine; *: never run on real rows; "
    "--json has languages too",
    "runs": "--json, or `cpeft show run STORE/RUN`, gives the command that reproduces each run",
}


@app.command()
def show(
    kind: Annotated[str, Argument(help="task, prompt, run or options.")],
    name: Annotated[
        str | None,
        Argument(
            help="A task name or file; a prompt or a formula of prompts; the folder of a run; a table of options, such as "
            "train or method.attempt, or one option, such as train.steps [default: all tables]."
        ),
    ] = None,
    model: ModelOption = None,
    rows: Annotated[int, Option(min=1, help="How many examples of a task.")] = 3,
    overrides: Annotated[list[str] | None, Argument(help="data.* settings of a task.")] = None,
    as_json: Annotated[bool, Option("--json", help="Print options, a prompt or a run as JSON.")] = False,
) -> None:
    """Show encoded examples, lengths and truncation of a task, the origin of a prompt, what a run was made from and the command
    that reproduces it, or the options of a recipe with type, default and meaning."""
    from cpeft.use import catalogue

    if kind == "options":
        _show_options(name, as_json)
    elif kind not in SHOWN:
        raise ConfigError(f"cannot show '{kind}'{suggest(kind, SHOWN)}")
    elif name is None:
        raise ConfigError(f"which {kind}? Give a name, as in: cpeft show {kind} NAME")
    elif kind == "prompt":
        card = catalogue.prompt_card(name)
        _show_card(card, prompt_lines(card), as_json)
    elif kind == "run":
        from cpeft.store.history import record_of

        card = record_of(Path(name))
        _show_card(card, run_lines(card), as_json)
        for warning in card["warnings"]:
            Console(stderr=True).print(f"[yellow]warning:[/yellow] {escape(warning)}", highlight=False, soft_wrap=True)
    elif as_json:
        raise ConfigError("--json is not available for tasks")
    else:
        for line in catalogue.task_page(name, model, rows, overrides or []):
            console.print(line, markup=False)


def _show_card(card: dict[str, Any], lines: list[Line], as_json: bool) -> None:
    """Print a card line by line, or all of it as JSON."""
    if as_json:
        print(json.dumps(card, indent=2))
        return
    table = Table.grid(padding=(0, 2))
    for what, value in lines:
        table.add_row(f"[bold]{escape(what)}[/bold]", escape(value))
    console.print(table)


def _show_options(name: str | None, as_json: bool) -> None:
    """Print the options, one printed table per table of a recipe."""
    from cpeft.use.option_tables import option_rows

    rows = option_rows(name)
    for table, options in groupby(rows, lambda row: row["table"]) if not as_json else ():
        show_rows(
            [{key: row[key] for key in ("option", "type", "default", "description")} for row in options], table, None
        )
    if as_json:
        print(json.dumps(rows, indent=2))


@app.command()
def doctor(
    what: Annotated[
        list[str] | None,
        Argument(help="Prompt folders or files, formulas of them, recipes, and overrides of these (train.steps=100)."),
    ] = None,
    model: Annotated[str | None, Option("--model", help="The prompts' model, where they name none on this machine.")] = None,
    online: Annotated[
        bool,
        Option(
            "--online",
            help="Read a row of every split and the configuration of every model of these recipes on the hub, or of all "
            "tasks and packaged recipes, and print the commits.",
        ),
    ] = False,
    as_json: JsonOption = False, plugins: PluginOption = None,
) -> None:  # fmt: skip
    """Check recipes and prompts: dead rows, truncated sources, unreachable labels, split overlap, missing data."""
    from cpeft.doctor import examine

    if online:
        _look_online(what or [], as_json, plugins or [])
        return
    if not what:
        raise ConfigError("what should be checked? Give a recipe or prompts, as in: cpeft doctor quickstart")
    findings = examine(what, model, plugins or ())
    if as_json:
        print(json.dumps([vars(finding) for finding in findings], indent=2))
    for finding in () if as_json else findings:
        show_finding(finding)
    if any(finding.level == "error" for finding in findings):
        raise typer.Exit(2)


def _look_online(recipes: list[str], as_json: bool, plugins: list[Path]) -> None:
    """Print what the hub has as a table, and what is wrong in whole lines below it."""
    from cpeft.doctor.online import look_online

    load_plugins(plugins)
    with console.status("asking the hub"):
        found = list(look_online(recipes, plugins))
    wrong = [entry for entry in found if entry.state == "error"]
    rows = [
        {
            "state": entry.state,
            "kind": entry.kind,
            "name": entry.name,
            "split": entry.split,
            "commit": entry.revision[:12],
            "read": entry.what[:60],
        }
        for entry in found
    ]
    show_rows(rows, "on the hub", [vars(entry) for entry in found] if as_json else None)
    for entry in wrong if not as_json else ():
        name = escape(" ".join(filter(None, (entry.name, entry.split))))
        console.print(f"[red]error[/red] {name} ({escape(entry.address)}): {escape(entry.what)}")
    if not as_json:
        console.print(
            f"{len(found) - len(wrong)} of {len(found)} are as cpeft expects them; --json has the whole commits"
        )
    if wrong:
        raise typer.Exit(2)
