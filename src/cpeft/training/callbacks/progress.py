"""Progress bars with loss, validation score and time left, one per run of the gang."""

from typing import Any

from rich import progress
from rich.console import Console

from cpeft.training.callbacks import Callback, RunInTraining


class ProgressBars(Callback):
    """Shown on a terminal; elsewhere one line per evaluation, so that log files stay readable."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.bars: dict[str, progress.TaskID] = {}
        self.progress = progress.Progress(
            progress.TextColumn("{task.description}"), progress.BarColumn(), progress.MofNCompleteColumn(),
            progress.TimeElapsedColumn(), progress.TextColumn("left"), progress.TimeRemainingColumn(),
            progress.TextColumn("{task.fields[state]}"), console=console, disable=not console.is_terminal,
        )  # fmt: skip

    def on_start(self, member: RunInTraining) -> None:
        if not self.bars:
            self.progress.start()
        bar = self.progress.add_task(member.name, total=member.total, completed=member.step, state="")
        self.bars[member.name] = bar

    def on_step(self, member: RunInTraining, record: dict[str, Any]) -> None:
        self.progress.update(self.bars[member.name], completed=member.step, state=f"loss {record['loss']:.3f}")

    def on_eval(self, member: RunInTraining, record: dict[str, Any]) -> None:
        self.progress.update(self.bars[member.name], completed=member.step)
        if not self.console.is_terminal:
            scores = f"validation {record['headline']:.2f}, best {member.best_headline:.2f}"
            place = f"{member.name}: step {member.step}/{member.total}"
            self.console.print(f"{place}, {scores}", highlight=False, markup=False)

    def on_end(self, member: RunInTraining) -> None:
        if (bar := self.bars.pop(member.name, None)) is not None:  # none where its checkpoint could not be read
            self.progress.remove_task(bar)
        if not self.bars:
            self.progress.stop()
