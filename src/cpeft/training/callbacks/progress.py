"""Progress bars with loss, validation score and time left, one per run of the gang."""

from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from cpeft.training.callbacks import Callback
from cpeft.training.member import Member


class ProgressBars(Callback):
    """Shown on a terminal; elsewhere one line per evaluation, so that log files stay readable."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.bars: dict[str, TaskID] = {}
        self.progress = Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
            TextColumn("left"), TimeRemainingColumn(), TextColumn("{task.fields[state]}"),
            console=console, disable=not console.is_terminal,
        )  # fmt: skip

    def on_start(self, member: Member) -> None:
        if not self.bars:
            self.progress.start()
        self.bars[member.name] = self.progress.add_task(
            member.name, total=member.total, completed=member.step, state=""
        )

    def on_step(self, member: Member, record: dict[str, Any]) -> None:
        self.progress.update(self.bars[member.name], completed=member.step, state=f"loss {record['loss']:.3f}")

    def on_eval(self, member: Member, record: dict[str, Any]) -> None:
        best = (
            f"step {member.step}/{member.total}, validation {record['headline']:.2f}, best {member.best_headline:.2f}"
        )
        self.progress.update(self.bars[member.name], completed=member.step)
        if not self.console.is_terminal:
            self.console.print(f"{member.name}: {best}", highlight=False, markup=False)

    def on_end(self, member: Member) -> None:
        self.progress.remove_task(self.bars.pop(member.name))
        if not self.bars:
            self.progress.stop()
