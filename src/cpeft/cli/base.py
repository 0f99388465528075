"""What the commands share: the app, the console, options, and printing of rows."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from typer import Option

app = typer.Typer(
    help="Soft prompts on frozen language models: train, mix, compare.",
    no_args_is_help=True, add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False,
)  # fmt: skip
console = Console(highlight=False, width=None if sys.stdout.isatty() else 140)

StoreOption = Annotated[Path | None, Option("--store", help="Folder of run folders [default: stores/RECIPE].")]
JsonOption = Annotated[bool, Option("--json", help="Print JSON.")]
ModelOption = Annotated[
    str | None, Option("--model", help="Named model, hub name, folder or GGUF file, where the prompt does not say.")
]


def show_rows(rows: list[dict[str, Any]], title: str, as_json: Any) -> None:
    """Print rows as a table, or what was asked for as JSON."""
    if as_json is not None:
        print(json.dumps(as_json, indent=2))
        return
    table = Table(title=title)
    for column in rows[0] if rows else ["nothing here"]:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*map(_cell, row.values()))
    console.print(table)


def _cell(value: Any) -> str:
    return "" if value is None else escape(f"{value:,}" if type(value) is int else str(value))
