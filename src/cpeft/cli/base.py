"""Shared parts of the commands: the app, the console, options, and printing of rows."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from typer import Option

from cpeft import __version__
from cpeft.cli.help import GroupedCommands

if TYPE_CHECKING:
    from cpeft.study.runner.data_check import Finding

app = typer.Typer(
    cls=GroupedCommands,
    help="Soft prompts on frozen language models: train, mix, compare.",
    epilog="`cpeft COMMAND --help` explains a command, with examples. A first study: cpeft run quickstart-mini",
    context_settings={"help_option_names": ["-h", "--help"]},
    no_args_is_help=True, rich_markup_mode=None, pretty_exceptions_enable=False,
)  # fmt: skip
console = Console(
    highlight=False, width=None if sys.stdout and sys.stdout.isatty() else 140
)  # None: closed, as by `>&-`


def _print_version(wanted: bool) -> None:
    if wanted:
        console.print(f"cpeft {__version__}", markup=False)
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool,
        Option("--version", "-V", callback=_print_version, is_eager=True, help="Print the version and exit."),
    ] = False,
) -> None:
    """Soft prompts on frozen language models: train, mix, compare."""


StoreOption = Annotated[Path | None, Option("--store", help="Folder of run folders [default: stores/RECIPE].")]
JsonOption = Annotated[bool, Option("--json", help="Print JSON.")]
ModelOption = Annotated[
    str | None,
    Option("--model", help="Named model, hub name, folder or GGUF file, where the prompt does not name one."),
]


PluginOption = Annotated[
    list[Path] | None, Option("--plugin", help="Load this Python file first: methods, metrics, tasks, ...; repeatable.")
]


def show_rows(rows: list[dict[str, Any]], title: str, as_json: Any) -> None:
    """Print rows as a table, or `as_json` as JSON unless it is None."""
    if as_json is not None:
        print(json.dumps(as_json, indent=2))
        return
    table = Table(title=title)
    for column in rows[0] if rows else ["nothing here"]:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*map(_cell, row.values()))
    console.print(table)


def show_finding(finding: "Finding") -> None:
    """Print a finding as one line, which begins with its level."""
    colours = {"error": "red", "warning": "yellow", "unchecked": "magenta", "note": "blue", "ok": "green"}
    colour = colours[finding.level]
    console.print(f"[{colour}]{finding.level}[/{colour}] {escape(f'{finding.where}: {finding.what}')}")


def _cell(value: Any) -> str:
    return "" if value is None else escape(f"{value:,}" if type(value) is int else str(value))
