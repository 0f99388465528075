"""What watches a run: one file each. The engine knows the hooks and none of the watchers."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cpeft.store.result import RunResult
    from cpeft.training.member import Member


class Callback:
    """Hooks of a run; override what you need. `record` is one line of `metrics.jsonl`."""

    def on_start(self, member: "Member") -> None:
        """The member is restored or fresh, no step made yet."""

    def on_step(self, member: "Member", record: dict[str, Any]) -> None:
        """A training step was logged."""

    def on_eval(self, member: "Member", record: dict[str, Any]) -> None:
        """An evaluation on validation rows is done."""

    def on_end(self, member: "Member") -> None:
        """No further step will be made."""

    def on_result(self, member: "Member", result: "RunResult") -> None:
        """The run is scored on test rows and `result.json` is written."""

    def on_close(self, member: "Member") -> None:
        """Nothing more will be told: the run has its result, failed, or was stopped."""
