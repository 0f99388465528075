"""Waiting for workers on other machines."""

import importlib
import time
from collections.abc import Callable, Iterable
from types import ModuleType

from rich.console import Console

from cpeft.errors import ConfigError, CpeftError, Stopped
from cpeft.store.claims import WAIT_S
from cpeft.study.runner.pace import Pace
from cpeft.study.runner.plan import Plan


def watch(plan: Plan, console: Console, alive: Callable[[], bool]) -> None:
    """Wait until every run is finished or failed, or no worker is alive; tell how many are done whenever that changes, and the
    time left."""
    pace = Pace(console, works=False)
    while True:
        working = alive()  # asked first: what a worker did last is seen below
        entries = plan.entries()
        pace.report(entries)
        if not (working and any(entry.pending for entry in entries)):
            return
        time.sleep(WAIT_S)


def raise_first(errors: Iterable[CpeftError | None]) -> None:
    """Raise what ended a worker and ends the command with it; a worker that was stopped left work and no error."""
    for error in errors:
        if error is not None and not isinstance(error, Stopped):
            raise error


def extra(name: str, launcher: str) -> ModuleType:
    """An optional package; raises ConfigError saying how to install it."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ConfigError(f"--launcher {launcher} needs {name} ({error}): pip install 'cpeft[{launcher}]'") from None
