"""Progress bars with loss and time left, one per run of the gang."""

from typing import Any

from rich import progress
from rich.console import Console
from rich.table import Column

from cpeft.training.callbacks import Callback, RunInTraining


def run_bars() -> progress.Progress:
    """The bars of runs in training, none yet."""
    name = progress.TextColumn("{task.description}", table_column=Column(no_wrap=True, overflow="ellipsis"))
    bar, left = progress.BarColumn(bar_width=12), progress.TimeRemainingColumn(compact=True)
    return progress.Progress(
        name, bar, progress.MofNCompleteColumn(), left, progress.TextColumn("left{task.fields[state]}")
    )


class ProgressBars(Callback):
    """Updates bars, which whoever owns them draws on a terminal; elsewhere prints one line per evaluation, so that log files
    stay readable."""

    def __init__(self, console: Console, drawn: progress.Progress) -> None:
        self.console, self.drawn = console, drawn
        self.bars: dict[str, progress.TaskID] = {}

    def on_start(self, member: RunInTraining) -> None:
        self.bars[member.name] = self.drawn.add_task(member.name, total=member.total, completed=member.step, state="")

    def on_step(self, member: RunInTraining, record: dict[str, Any]) -> None:
        self.drawn.update(self.bars[member.name], completed=member.step, state=f", loss {record['loss']:.3f}")

    def on_eval(self, member: RunInTraining, record: dict[str, Any]) -> None:
        self.drawn.update(self.bars[member.name], completed=member.step)
        if not self.console.is_terminal:
            scores = f"validation {record['headline']:.2f}, best {member.best_headline:.2f}"
            place = f"{member.name}: step {member.step}/{member.total}"
            self.console.print(f"{place}, {scores}", highlight=False, markup=False)

    def on_end(self, member: RunInTraining) -> None:
        self._remove(member.name)

    def on_close(self, member: RunInTraining) -> None:
        self._remove(member.name)  # of a run that was stopped

    def _remove(self, name: str) -> None:
        if (bar := self.bars.pop(name, None)) is not None:  # none where its checkpoint could not be read
            self.drawn.remove_task(bar)
