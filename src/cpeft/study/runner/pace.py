"""How long the rest of a study takes, from what its finished runs took.

A run is expected to take the mean of the finished runs of its kind (`RecipeRun.kind`: all but seeds and rates the same). Where
none is finished, its rows (`RecipeRun.effort`) are multiplied with the seconds a row took in its stage, or in the whole study.
Runs that are at work count by the share of their steps.
"""

import time
from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from typing import TYPE_CHECKING

from rich.console import Console

if TYPE_CHECKING:  # a store is looked at without torch
    from cpeft.study.runner.plan import Planned


class Pace:
    """Tells how far a study is, with the time left at the pace of all processes since this one began: the time it took so far
    per expected second of a run that was done, times the expected seconds to come."""

    def __init__(self, console: Console) -> None:
        self.console, self.began = console, time.monotonic()
        self.told = -1
        self.before: dict[str, float] = {}  # by run, the share that was done when this began
        self.seconds: dict[str, float] = {}  # of finished runs, read once

    def tell(self, entries: "Sequence[Planned]") -> None:
        """Say how many runs are done, if that has changed."""
        done = sum(entry.state == "done" for entry in entries)
        if self.told < 0:
            self.before = {str(entry.run): self._share(entry) for entry in entries}
        if done > self.told:
            left = self._wall_left(entries)
            said = f", about {duration(left)} left" if left else ""
            self.console.print(f"{done} of {len(entries)} runs done{said}", highlight=False)
        self.told = done

    def left(self, entries: "Sequence[Planned]") -> float | None:
        """Hours to come, in one process; None where that cannot be told yet."""
        if (expected := self._expected(entries)) is None:
            return None
        return self._pending(entries, expected) / 3600

    def _wall_left(self, entries: "Sequence[Planned]") -> float | None:
        """Seconds to come, as many processes as there were; None where nothing was done since this began."""
        if (expected := self._expected(entries)) is None:
            return None
        since = sum(expected[str(e.run)] * (self._share(e) - self.before[str(e.run)]) for e in entries)
        return self._pending(entries, expected) * (time.monotonic() - self.began) / since if since > 0 else None

    def _pending(self, entries: "Sequence[Planned]", expected: Mapping[str, float]) -> float:
        return sum(expected[str(entry.run)] * (1 - self._share(entry)) for entry in entries if entry.pending)

    def _expected(self, entries: "Sequence[Planned]") -> dict[str, float] | None:
        """Seconds of every run, those that it took or is expected to take; None where nothing is finished anywhere."""
        groups: defaultdict[Hashable, list[Planned]] = defaultdict(list)
        for entry in entries:
            if entry.state == "done" and entry.folder:
                if (name := str(entry.run)) not in self.seconds:
                    self.seconds[name] = entry.folder.result().seconds.total
                for group in _groups(entry):
                    groups[group].append(entry)
        if not groups:
            return None
        a_row = {
            group: sum(self.seconds[str(e.run)] for e in finished) / sum(e.run.effort.rows for e in finished)
            for group, finished in groups.items()
        }
        return {str(entry.run): self._of(entry, a_row) for entry in entries}

    def _of(self, entry: "Planned", a_row: Mapping[Hashable, float]) -> float:
        """Seconds of a run, by those of a row in the closest group that has any finished one."""
        if (name := str(entry.run)) in self.seconds:
            return self.seconds[name]
        return entry.run.effort.rows * next(a_row[group] for group in _groups(entry) if group in a_row)

    def _share(self, entry: "Planned") -> float:
        """How much of a run is done."""
        if entry.state == "done" or not (entry.pending and entry.folder):
            return float(entry.state == "done")
        return entry.run.effort.share(entry.folder.last_step()[0] or 0)


def _groups(entry: "Planned") -> tuple[Hashable, ...]:
    """What a run is like, the closest first."""
    return ("kind", entry.run.kind), ("stage", entry.run.stage), ("study",)


def duration(seconds: float) -> str:
    """Rounded to what a person plans by."""
    return (
        f"{seconds:.0f} s"
        if seconds < 90
        else f"{seconds / 60:.0f} min"
        if seconds < 5400
        else f"{seconds / 3600:.1f} h"
    )
