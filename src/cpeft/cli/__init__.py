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
from click import MissingParameter
from rich.console import Console
from rich.markup import escape

from cpeft.cli import base
from cpeft.cli.base import app
from cpeft.errors import CpeftError, reason

# isort: off
from cpeft.cli import runs, status, prompts, inspection  # in this order their commands join the app, and the help
# isort: on

__all__ = ["app", "base", "inspection", "main", "prompts", "runs", "status"]


# The imports make a million objects that stay; at its usual thresholds the collector walks them again and again, for a fifth
# of the time until the first step.
COLLECT = (100_000, 50, 100)


def main() -> None:
    """The entry point: errors of the user become one sentence and an exit code."""
    gc.set_threshold(*COLLECT)
    _open_streams()
    _tell_of_waits()
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
        said = f"error: {error.filename}: {reason(error)}"
        Console(stderr=True).print(said, highlight=False, markup=False, soft_wrap=True)
        sys.exit(2)
    except Exception as error:
        if not hasattr(error, "format_message"):  # click's usage errors have one
            raise
        said = f"error: {_usage(error)}"
        Console(stderr=True).print(said, highlight=False, markup=False, soft_wrap=True)
        sys.exit(2)


def _tell_of_waits() -> None:
    """Let people at a terminal read what takes time ("loading smollm2 ..."); files of output stay without it."""
    if sys.stderr.isatty():
        log = logging.getLogger("cpeft")
        log.addHandler(logging.StreamHandler())
        log.setLevel(logging.INFO)


def _open_streams() -> None:
    """Let a standard stream that is closed (`cpeft run RECIPE >&-`) lead nowhere: else the next file that is opened takes its
    number, and with it whatever a library prints."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free


def _usage(error: Any) -> str:
    """What is wrong with a command line, in click's words; of something missing also what it is."""
    said = str(error.format_message()).rstrip(".")
    if isinstance(error, MissingParameter) and (about := getattr(error.param, "help", "")):
        said = f"{said}: {about.rstrip('.')}"
    context = getattr(error, "ctx", None)
    return f"{said}; see {context.command_path} --help" if context else said
