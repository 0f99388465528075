"""Shared parts of the commands: the app, the console, options, and printing of rows."""

import json
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
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
    """Print rows as a table, or `as_json` as JSON unless it is None. Words that all rows share are in the title, and the first
    column, which has the names, is folded last."""
    if as_json is not None:
        print(json.dumps(as_json, indent=2))
        return
    names = list(rows[0]) if rows else ["nothing here"]
    columns = list(zip(*(row.values() for row in rows), strict=True))
    shared = {i for i, values in enumerate(columns) if i and len(values) > 1 and _one_word(values)}
    same = ", ".join(f"{names[i]} {columns[i][0]}" for i in sorted(shared) if columns[i][0])
    console.print(f"[italic]{escape(title)}{f', all with: {escape(same)}' * bool(same)}[/italic]", soft_wrap=True)
    table = Table(box=SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    shown = [place for place in range(len(names)) if place not in shared]
    for place in shown:
        number = bool(rows) and all(isinstance(value, int | float) for value in columns[place])
        table.add_column(names[place], overflow="fold", justify="right" if number else "left", no_wrap=place == 0)
    width = table_width()
    half = width // 2
    for row in rows:
        first, *rest = (_cell(value) for place, value in enumerate(row.values()) if place in shown)
        table.add_row("\n".join(first[i : i + half] for i in range(0, len(first), half)), *rest)
    console.print(table, width=width)


def table_width() -> int:
    """That of the terminal, also where a pipe or a file takes the output (`cpeft list tasks | less`); that of a log without."""
    streams = (stream for stream in (sys.stdin, sys.stdout, sys.stderr) if stream)
    at_terminal = "COLUMNS" in os.environ or any(stream.isatty() for stream in streams)
    return Console().width if at_terminal else console.width


def _one_word(values: Sequence[Any]) -> bool:
    return all(
        isinstance(value, str) and value == values[0] and not re.fullmatch(r"[\d.,]+", value) for value in values
    )


def show_finding(finding: "Finding") -> None:
    """Print a finding as one line, which begins with its level."""
    colours = {"error": "red", "warning": "yellow", "unchecked": "magenta", "note": "blue", "ok": "green"}
    colour = colours[finding.level]
    console.print(f"[{colour}]{finding.level}[/{colour}] {escape(f'{finding.where}: {finding.what}')}")


def _cell(value: Any) -> str:
    return "" if value is None else escape(f"{value:,}" if type(value) is int else str(value))
