"""How long the rest of a study takes, estimated from its finished runs.

    seconds of a run = training rows * s/row in training + answered rows * s/row in scoring

The seconds per row are those of the finished runs of its kind (`RecipeRun.kind`: the same but for seeds and rates), else of its
stage, else of the whole study. While no run has trained, the cost of a training row relative to an answered one is that of
`RecipeRun.effort`. For a run that is begun, the share of its steps counts as done.

    time left = max(seconds left / processes at work, seconds left of the longest run)
"""

import os
import socket
from collections.abc import Hashable, Sequence

from rich.console import Console

from cpeft.store.state import RunState
from cpeft.study.runner.plan import Entry

PARTS = ("training", "scoring")


class Pace:
    """Prints the progress of a study and the time left. `works` tells whether this process is one of those that work on it."""

    def __init__(self, console: Console, works: bool = True) -> None:
        self.console, self.works = console, works
        self._shown = -1
        self._seconds: dict[str, dict[str, float]] = {}  # by finished run and part; results are read once

    def show(self, entries: Sequence[Entry]) -> None:
        """Print how many runs are done, if that has changed."""
        done = sum(entry.state == RunState.DONE for entry in entries)
        if done > self._shown:
            left = self._remaining(entries)
            time_left = f", about {duration(max(sum(left) / self._workers(entries), *left))} left" if left else ""
            self.console.print(f"{done} of {len(entries)} runs done{time_left}", highlight=False)
        self._shown = done

    def hours_left(self, entries: Sequence[Entry]) -> float | None:
        """Hours left in one process; None if no run is finished."""
        left = self._remaining(entries)
        return sum(left) / 3600 if left is not None else None

    def _workers(self, entries: Sequence[Entry]) -> int:
        """The number of processes that work on the study."""
        folders = [entry.folder for entry in entries if entry.state.pending and entry.folder]
        holders = [holder for folder in folders if (holder := folder.holder()) and not holder.stale]
        here = {(socket.gethostname(), os.getpid())} if self.works else set()
        return max(len(here | {(holder.host, holder.pid) for holder in holders}), 1)

    def _remaining(self, entries: Sequence[Entry]) -> list[float] | None:
        """Seconds left of every pending run; None if no run is finished."""
        finished = [entry for entry in entries if entry.state == RunState.DONE and entry.folder]
        for entry in finished:
            if (name := str(entry.run)) not in self._seconds and entry.folder:
                self._seconds[name] = entry.folder.result().seconds.parts
        if not finished:
            return None
        rates: dict[tuple[Hashable, str], float] = {}
        for part in PARTS:
            spent: dict[Hashable, tuple[float, float]] = {}
            for entry in finished:
                for group in _groups(entry):
                    seconds, rows = spent.get(group, (0.0, 0.0))
                    own = self._seconds[str(entry.run)][part]
                    spent[group] = seconds + own, rows + getattr(entry.run.effort, part)
            rates |= {(group, part): seconds / rows for group, (seconds, rows) in spent.items() if rows}
        return [self._expected(entry, rates) for entry in entries if entry.state.pending]

    def _expected(self, entry: Entry, rates: dict[tuple[Hashable, str], float]) -> float:
        """Seconds left of one run."""
        own = [
            next((rates[key] for group in _groups(entry) if (key := (group, part)) in rates), None) for part in PARTS
        ]
        known = next((rate for rate in own if rate is not None), 0.0)  # the other part's, where one is not known yet
        training, scoring = (known if rate is None else rate for rate in own)
        effort, step = entry.run.effort, entry.folder.last_step()[0] if entry.folder else None
        return (effort.training * training + effort.scoring * scoring) * (1 - effort.share(step or 0))


def _groups(entry: Entry) -> tuple[Hashable, ...]:
    """The groups of similar runs that a run belongs to, the most similar first."""
    return ("kind", entry.run.kind), ("stage", entry.run.stage), ("study",)


def duration(seconds: float) -> str:
    """A time in seconds, minutes or hours, rounded."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
