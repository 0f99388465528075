"""Callbacks: one file each. The engine knows the hooks and no callback."""

from typing import Any, Protocol

from cpeft.store.result import RunResult, SearchResult
from cpeft.store.run_folder import RunFolder


class RunInTraining(Protocol):
    """What a callback may read of a run: a `Member` of a gang."""

    name: str  # stage/run
    folder: RunFolder
    step: int
    total: int  # steps
    best_headline: float
    seconds: float  # of training; its own share where a gang has passes together
    failure: Exception | None

    def guard(self) -> None:
        """Raise LostClaim if another process has taken the run over."""

    def tokens_since(self, first: int) -> int:
        """Tokens that the steps from `first` up to the present one passed through the model."""


class Callback:
    """Hooks of a run; override what you need. `record` is one line of `metrics.jsonl`."""

    def on_start(self, member: RunInTraining) -> None:
        """The member is restored or fresh, no step made yet."""

    def on_step(self, member: RunInTraining, record: dict[str, Any]) -> None:
        """A training step was logged."""

    def on_eval(self, member: RunInTraining, record: dict[str, Any]) -> None:
        """An evaluation on validation rows is done."""

    def on_end(self, member: RunInTraining) -> None:
        """No further step will be made."""

    def on_result(self, member: RunInTraining, result: RunResult | SearchResult) -> None:
        """The run is scored on test rows, or is a search run, which has no scores, and `result.json` is written."""

    def on_close(self, member: RunInTraining) -> None:
        """The last call: the run has its result, failed, or was stopped."""
