"""How far a study is, and how long the rest takes, estimated from its finished runs.

    seconds of a run = training rows * s/row in training + answered rows * s/row in scoring

The seconds per row are those of the finished runs of its kind (`RecipeRun.kind`: the same but for seeds and rates), else of its
stage, else of the whole study. While no run has trained, the cost of a training row relative to an answered one is that of
`RecipeRun.effort`. For a run that is begun, the share of its steps counts as done.

    time left = max(seconds left / processes at work, seconds left of the longest run)
"""

import math
import os
import socket
import time
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import replace

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from cpeft.store.claims import WAIT_S
from cpeft.store.state import RunState, state_of
from cpeft.study.runner.plan import Entry
from cpeft.training.callbacks.progress import run_bars

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
            self.console.print(f"{done} of {len(entries)} runs done{self._time_left(entries)}", highlight=False)
        self._shown = done

    def hours_left(self, entries: Sequence[Entry]) -> float | None:
        """Hours left in one process; None if no run is finished."""
        left = self._remaining(entries)
        return sum(left) / 3600 if left is not None else None

    def _time_left(self, entries: Sequence[Entry]) -> str:
        """In words; empty while no run is finished, and when all are."""
        left = self._remaining(entries)
        return f", about {duration(max(sum(left) / self._workers(entries), *left))} left" if left else ""

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


class StudyBars(Pace):
    """On a terminal, and inside a `with` block, the lines at its end: a bar for every run that this process trains (`runs`), a
    line for every run that is being scored or that another process works on, and a bar for the whole study. Elsewhere it prints
    lines, as Pace does."""

    def __init__(self, console: Console, works: bool = True) -> None:
        super().__init__(console, works)
        self.runs = run_bars()
        self._entries: list[Entry] = []
        self._looked = -math.inf
        self._live: Live | None = None
        self._below: list[Text | Table] = []

    def __enter__(self) -> "StudyBars":
        if self.console.is_terminal:
            self._live = Live(get_renderable=self._picture, console=self.console, transient=True)
            self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._live:
            self._live.stop()
            self._live = None
            super().show(self._now())

    def show(self, entries: Sequence[Entry]) -> None:
        if self._live:
            self._entries, self._looked = list(entries), -math.inf
        else:
            super().show(entries)

    def _picture(self) -> Group:
        """Called by the thread that draws, which looks into the run folders once in a while, as training may take long."""
        if self._entries and time.monotonic() > self._looked + WAIT_S:
            self._looked = time.monotonic()
            now = self._now()
            self._below = [*map(Text, self._lines(now)), self._bar(now)]
        return Group(self.runs, *self._below)

    def _now(self) -> list[Entry]:
        """The entries with the present states of runs that may have ended."""
        return [replace(e, state=state_of(e.folder)) if e.folder and e.state.pending else e for e in self._entries]

    def _lines(self, entries: Sequence[Entry]) -> Iterator[str]:
        """Runs at work that have no bar."""
        for entry in entries:
            holder = entry.folder.holder() if entry.folder and entry.state == RunState.RUNNING else None
            if holder is None or entry.folder is None:
                continue
            step, steps, ours = entry.folder.last_step()[0] or 0, entry.run.effort.steps, False
            if holder.host != socket.gethostname():
                whose = f" ({holder.host})"
            elif holder.pid != os.getpid():
                whose = " (other process)"
            else:
                whose, ours = "", True
            if step >= steps:
                yield f"scoring {entry.run}{whose}"
            elif not ours:
                yield f"running {entry.run} step {step} of {steps}{whose}"

    def _bar(self, entries: Sequence[Entry]) -> Table:
        """The bar of the study: its runs, each with the share of it that is done."""
        done, share = sum(entry.state == RunState.DONE for entry in entries), sum(map(_share, entries)) / len(entries)
        row = Table.grid(padding=(0, 1))
        text = f"{done} of {len(entries)} runs done, {share:.0%}{self._time_left(entries)}"
        row.add_row("study", ProgressBar(1.0, share, width=24), text)
        return row


def _share(entry: Entry) -> float:
    """The part of a run that is done, 0 to 1; a run that has failed is over."""
    if not entry.state.pending:
        return 1.0
    step = entry.folder.last_step()[0] if entry.folder else None
    return entry.run.effort.share(step or 0)


def _groups(entry: Entry) -> tuple[Hashable, ...]:
    """The groups of similar runs that a run belongs to, the most similar first."""
    return ("kind", entry.run.kind), ("stage", entry.run.stage), ("study",)


def duration(seconds: float) -> str:
    """A time in seconds, minutes or hours, rounded."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
