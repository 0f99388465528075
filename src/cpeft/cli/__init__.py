"""The command `cpeft`: parse, call one function per command, print.

Exit codes: 0 ok, 1 a run failed, 2 bad input, 3 data or model missing offline, 4 stopped and resumable. Heavy modules are
imported inside commands, so that help and listings are quick.
"""

import gc
import sys

import typer
from rich.console import Console
from rich.markup import escape

from cpeft.cli import base
from cpeft.cli.base import app
from cpeft.errors import CpeftError

# isort: off
from cpeft.cli import runs, status, prompts, inspection  # in this order their commands join the app, and the help
# isort: on

__all__ = ["app", "base", "inspection", "main", "prompts", "runs", "status"]


def main() -> None:
    """The entry point: errors of the user become one sentence and an exit code."""
    # The imports make a million objects that stay; at its usual thresholds the collector walks them again and again, for
    # a fifth of the time until the first step.
    gc.set_threshold(100_000, 50, 100)
    try:
        sys.exit(app(standalone_mode=False))  # what typer.Exit carries comes back as the value
    except CpeftError as error:
        Console(stderr=True).print(f"[red]error:[/red] {escape(str(error))}", highlight=False, soft_wrap=True)
        sys.exit(error.exit_code)
    except typer.Abort:
        sys.exit(4)
    except OSError as error:
        # A folder that is a file, a name too long, no permission: the system says what, and of which path.
        if error.filename is None:
            raise
        said = f"error: {error.filename}: {error.strerror}"
        Console(stderr=True).print(said, highlight=False, markup=False, soft_wrap=True)
        sys.exit(2)
    except Exception as error:
        if not hasattr(error, "format_message"):  # click's usage errors have one
            raise
        Console(stderr=True).print(f"error: {error.format_message()}", highlight=False, markup=False)
        sys.exit(2)
