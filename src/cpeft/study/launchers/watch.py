"""Waiting for workers on other machines."""

import importlib
import time
from collections.abc import Callable, Iterable
from types import ModuleType

from rich.console import Console

from cpeft.errors import ConfigError, CpeftError, Stopped
from cpeft.store.claims import WAIT_S
from cpeft.study.runner.pace import StudyBars
from cpeft.study.runner.plan import Plan


def watch(plan: Plan, console: Console, alive: Callable[[], bool]) -> None:
    """Wait until every run is finished or failed, or no worker is alive. Prints progress and the time left whenever runs have
    finished."""
    with StudyBars(console, works=False) as pace:
        while True:
            working = alive()  # first, so that the last results of a worker are seen below
            entries = plan.entries()
            pace.show(entries)
            if not (working and any(entry.state.pending for entry in entries)):
                return
            time.sleep(WAIT_S)


def raise_first(errors: Iterable[CpeftError | None]) -> None:
    """Raise the first error that ended a worker; Stopped is not an error, the work is left to the next command."""
    for error in errors:
        if error is not None and not isinstance(error, Stopped):
            raise error


def extra(name: str, launcher: str) -> ModuleType:
    """Import an optional package; raises ConfigError with the command that installs it."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ConfigError(f"--launcher {launcher} needs {name} ({error}): pip install 'cpeft[{launcher}]'") from None
