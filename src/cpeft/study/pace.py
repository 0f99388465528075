"""How long the rest of a study takes, from the hours that its finished runs took.

A run is expected to take the mean of its own stage, or where nothing of its stage is finished, of the whole study: sources and
targets differ in steps and rows by far more than the runs of one stage do.
"""

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from rich.console import Console

if TYPE_CHECKING:  # a store is looked at without torch
    from cpeft.study.plan import Planned


class StageHours(NamedTuple):
    """Hours of each finished run of a stage, and how many runs are still to come."""

    finished: Sequence[float]
    pending: int


def hours_left(stages: Mapping[str, StageHours]) -> dict[str, float | None]:
    """Hours to come by stage, in one process; None where nothing is finished anywhere."""
    everywhere = _mean([hours for stage in stages.values() for hours in stage.finished])
    left: dict[str, float | None] = {}
    for name, stage in stages.items():
        mean = everywhere if not stage.finished else _mean(stage.finished)
        left[name] = 0.0 if not stage.pending else None if mean is None else stage.pending * mean
    return left


def total(hours: Mapping[str, float | None]) -> float | None:
    """The sum, None where a part is not known."""
    known = [part for part in hours.values() if part is not None]
    return sum(known) if len(known) == len(hours) else None


def _mean(hours: Sequence[float]) -> float | None:
    return sum(hours) / len(hours) if hours else None


class Pace:
    """Tells how far a study is, with the time left at the pace of all processes since this one began: the seconds that an hour
    of a run took so far, times the hours to come."""

    def __init__(self, console: Console) -> None:
        self.console, self.began = console, time.monotonic()
        self.told = -1
        self.before = 0.0  # hours of runs that were finished when this began
        self.hours: dict[str, float] = {}  # of finished runs, read once

    def tell(self, entries: "Sequence[Planned]") -> None:
        """Say how many runs are done, if that has changed."""
        left = self.left(entries)
        done, spent = sum(entry.state == "done" for entry in entries), sum(self.hours.values())
        if self.told < 0:
            self.before = spent
        if done > self.told:
            since = spent - self.before
            time_left = (
                f", about {duration(left * (time.monotonic() - self.began) / since)} left" if left and since else ""
            )
            self.console.print(f"{done} of {len(entries)} runs done{time_left}", highlight=False)
        self.told = done

    def left(self, entries: "Sequence[Planned]") -> float | None:
        """Hours to come, in one process; None where that cannot be told yet."""
        finished: dict[str, list[float]] = {entry.run.stage: [] for entry in entries}
        pending = dict.fromkeys(finished, 0)
        for entry in entries:
            if entry.state == "done" and entry.folder:
                name = str(entry.run)
                if name not in self.hours:
                    self.hours[name] = sum(entry.folder.result()["seconds"].values()) / 3600
                finished[entry.run.stage].append(self.hours[name])
            pending[entry.run.stage] += entry.pending
        return total(hours_left({name: StageHours(hours, pending[name]) for name, hours in finished.items()}))


def duration(seconds: float) -> str:
    """Rounded to what a person plans by."""
    return (
        f"{seconds:.0f} s"
        if seconds < 90
        else f"{seconds / 60:.0f} min"
        if seconds < 5400
        else f"{seconds / 3600:.1f} h"
    )
