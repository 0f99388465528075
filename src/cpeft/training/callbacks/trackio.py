"""Trackio: a local database in its own folder (TRACKIO_DIR), shown by `trackio show`; or what its own variables say."""

import contextlib
import io
import sqlite3
from collections.abc import Iterator, Mapping
from contextvars import Context
from typing import Any

from cpeft.training.callbacks.tracker import TRACKERS, State, Tracker


@TRACKERS.register("trackio")
class Trackio(Tracker):
    """Trackio knows a run by its name, so the name ends in the id. It writes every half second: a killed process may leave a
    gap that long, which `metrics.jsonl` has not."""

    packages = ("trackio",)
    handle: Any

    def failures(self) -> tuple[type[Exception], ...]:
        return (sqlite3.Error,)

    def begin(self, step: int) -> Mapping[str, int]:
        import trackio

        def start() -> Any:
            return trackio.init(
                project=self.run.project, name=f"{self.run.name}-{self.run.id}", group=self.run.stage, config=self.run.settings,
                resume="allow", embed=False, auto_log_cpu=False, auto_log_gpu=False,
            )  # fmt: skip

        with _quiet():
            self.handle = Context().run(
                start
            )  # in a context of its own, else it ends the run of the gang's last member
        return self.known

    def log(self, step: int, numbers: dict[str, float]) -> None:
        self.handle.log(numbers, step=step)

    def end(self, state: State) -> None:
        with _quiet():
            self.handle.finish()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without Trackio's lines on standard output, which is the command's."""
    with contextlib.redirect_stdout(io.StringIO()):
        yield
