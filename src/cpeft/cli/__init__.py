"""The command `cpeft`: parse, call one function per command, print.

Exit codes: 0 ok, 1 a run failed, 2 bad input, 3 data or model missing offline, 4 stopped and resumable. Heavy modules are
imported inside commands, so that help and listings are quick.
"""

import gc
import logging
import os
import sys
from typing import Any

import typer
from rich.console import Console
from rich.markup import escape

from cpeft.cli import base
from cpeft.cli.base import app
from cpeft.errors import CpeftError, reason

# isort: off
from cpeft.cli import (
    runs,
    status,
    prompts,
    serving,
    archives,
    inspection,
)  # in this order their commands join the app, and the help
# isort: on

__all__ = ["app", "archives", "base", "inspection", "main", "prompts", "runs", "serving", "status"]


# The imports create a million permanent objects; at its default thresholds the collector visits them again and again, which
# takes a fifth of the time until the first step.
COLLECT = (100_000, 50, 100)


def main() -> None:
    """The entry point: user errors become one sentence and an exit code."""
    gc.set_threshold(*COLLECT)
    _open_streams()
    _log_to_terminal()
    try:
        sys.exit(app(standalone_mode=False))  # what typer.Exit carries comes back as the value
    except CpeftError as error:
        Console(stderr=True).print(f"[red]error:[/red] {escape(str(error))}", highlight=False, soft_wrap=True)
        sys.exit(error.exit_code)
    except typer.Abort:
        sys.exit(4)
    except OSError as error:
        # A folder that is a file, a name too long, no permission: the system names the reason and the path.
        if error.filename is None:
            raise
        message = f"error: {error.filename}: {reason(error)}"
        Console(stderr=True).print(message, highlight=False, markup=False, soft_wrap=True)
        sys.exit(2)
    except Exception as error:
        if not hasattr(error, "format_message"):  # click's usage errors have one
            raise
        message = f"error: {_usage(error)}"
        Console(stderr=True).print(message, highlight=False, markup=False, soft_wrap=True)
        sys.exit(2)


def _log_to_terminal() -> None:
    """At a terminal, print messages about what takes time ("loading smollm2 ...")."""
    if sys.stderr.isatty():
        log = logging.getLogger("cpeft")
        log.addHandler(_StandardError())
        log.setLevel(logging.INFO)


class _StandardError(logging.Handler):
    """Prints to what is the standard error at the moment: progress bars replace it, to draw themselves below each message."""

    def emit(self, record: logging.LogRecord) -> None:
        print(self.format(record), file=sys.stderr)


def _open_streams() -> None:
    """Open closed standard streams (`cpeft run RECIPE >&-`) on the null device: else the next file that is opened gets their
    number, and with it whatever a library prints."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free


def _usage(error: Any) -> str:
    """The usage error in click's words, with the help of a missing argument."""
    message = str(error.format_message()).rstrip(".")
    missing = type(error).__name__ == "MissingParameter"  # click's, or that of typer's own copy of it
    if missing and (about := getattr(error.param, "help", "")):
        message = f"{message}: {about.rstrip('.')}"
    context = getattr(error, "ctx", None)
    return f"{message}; see {context.command_path} --help" if context else message
