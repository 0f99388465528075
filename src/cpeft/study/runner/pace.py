"""How long the rest of a study takes, estimated from its finished runs.

A run is expected to take the mean of the finished runs of its kind (`RecipeRun.kind`: the same but for seeds and rates). If
none is finished, its rows (`RecipeRun.effort`) are multiplied by the seconds per row of its stage, or of the whole study. For a
run that is begun, the share of its steps counts as done.
"""

import time
from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence

from rich.console import Console

from cpeft.store.state import RunState
from cpeft.study.runner.plan import Entry


class Pace:
    """Prints the progress of a study and the time left at the pace of all processes since this one began: the time passed per
    expected second of work done, times the expected seconds left."""

    def __init__(self, console: Console) -> None:
        self.console, self.began = console, time.monotonic()
        self.shown = -1  # finished runs, as last printed
        self.before: dict[str, float] = {}  # by run, the share that was done when this process began
        self.seconds: dict[str, float] = {}  # of finished runs, read once

    def show(self, entries: Sequence[Entry]) -> None:
        """Print how many runs are done, if that has changed."""
        done = sum(entry.state == RunState.DONE for entry in entries)
        if self.shown < 0:
            self.before = {str(entry.run): self._share(entry) for entry in entries}
        if done > self.shown:
            left = self._wall_left(entries)
            time_left = f", about {duration(left)} left" if left else ""
            self.console.print(f"{done} of {len(entries)} runs done{time_left}", highlight=False)
        self.shown = done

    def hours_left(self, entries: Sequence[Entry]) -> float | None:
        """Hours left, in one process; None if no run is finished."""
        if (expected := self._expected(entries)) is None:
            return None
        return self._pending(entries, expected) / 3600

    def _wall_left(self, entries: Sequence[Entry]) -> float | None:
        """Seconds left, for as many processes as there were; None if nothing was done since this process began."""
        if (expected := self._expected(entries)) is None:
            return None
        since = sum(expected[str(e.run)] * (self._share(e) - self.before[str(e.run)]) for e in entries)
        return self._pending(entries, expected) * (time.monotonic() - self.began) / since if since > 0 else None

    def _pending(self, entries: Sequence[Entry], expected: Mapping[str, float]) -> float:
        return sum(expected[str(entry.run)] * (1 - self._share(entry)) for entry in entries if entry.state.pending)

    def _expected(self, entries: Sequence[Entry]) -> dict[str, float] | None:
        """Seconds that every run took or is expected to take; None if no run is finished."""
        groups: defaultdict[Hashable, list[Entry]] = defaultdict(list)
        for entry in entries:
            if entry.state == RunState.DONE and entry.folder:
                if (name := str(entry.run)) not in self.seconds:
                    self.seconds[name] = entry.folder.result().seconds.total
                for group in _groups(entry):
                    groups[group].append(entry)
        if not groups:
            return None
        row_s = {
            group: sum(self.seconds[str(e.run)] for e in finished) / sum(e.run.effort.rows for e in finished)
            for group, finished in groups.items()
        }
        return {str(entry.run): self._seconds(entry, row_s) for entry in entries}

    def _seconds(self, entry: Entry, row_s: Mapping[Hashable, float]) -> float:
        """Seconds of a run, from the seconds per row of the closest group with a finished run."""
        if (name := str(entry.run)) in self.seconds:
            return self.seconds[name]
        return entry.run.effort.rows * next(row_s[group] for group in _groups(entry) if group in row_s)

    def _share(self, entry: Entry) -> float:
        """The part of a run that is done, 0 to 1."""
        if entry.state == RunState.DONE or not (entry.state.pending and entry.folder):
            return float(entry.state == RunState.DONE)
        return entry.run.effort.share(entry.folder.last_step()[0] or 0)


def _groups(entry: Entry) -> tuple[Hashable, ...]:
    """The groups of similar runs that a run belongs to, the most similar first."""
    return ("kind", entry.run.kind), ("stage", entry.run.stage), ("study",)


def duration(seconds: float) -> str:
    """A time in seconds, minutes or hours, rounded."""
    return (
        f"{seconds:.0f} s"
        if seconds < 90
        else f"{seconds / 60:.0f} min"
        if seconds < 5400
        else f"{seconds / 3600:.1f} h"
    )
