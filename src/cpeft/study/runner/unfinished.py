"""What a run leaves before it is finished: its settings when it begins, and where it cannot go on, why."""

import traceback
from collections.abc import Callable
from pathlib import Path

import tomli_w
from rich.console import Console
from rich.markup import escape

from cpeft.config import Table
from cpeft.errors import LostClaim
from cpeft.files import replace_text, write_json
from cpeft.store.run_folder import RunFolder
from cpeft.study.recipe.runs import RecipeRun

BROKEN = (OSError, ValueError, RuntimeError, KeyError)  # what ends one run and no other


def write_config(run: RecipeRun, path: Path) -> None:
    """A run's settings, unless they are there."""
    if not path.exists():
        table = tomli_w.dumps(_without_none(run.saved()))
        replace_text(path, f"# {run.stage}: {run.label}\n{table}")


def _without_none(table: Table) -> Table:
    return {k: _without_none(v) if isinstance(v, dict) else v for k, v in table.items() if v is not None}


def write_failure(
    folder: RunFolder, name: str, error: BaseException, console: Console, guard: Callable[[], None]
) -> None:
    """Why a run failed; it is not tried again by itself. Nothing is written where `guard` says that another process has it."""
    try:
        guard()
    except LostClaim as lost:
        console.print(f"[yellow]{escape(str(lost))}")
        return
    trace = "".join(traceback.format_exception(error))
    write_json(folder.failure_path, {"error": f"{type(error).__name__}: {error}", "traceback": trace})
    kept = folder.failed_batch_path
    where = f"; its batch is in {kept}" if kept.exists() else ""
    console.print(f"[red]failed[/red] {escape(f'{name}: {error}{where}')}")
