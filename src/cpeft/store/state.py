"""The states of a run, as `cpeft plan` and `cpeft status` show them."""

from enum import StrEnum

from cpeft.store.run_folder import RunFolder


class RunState(StrEnum):
    """How far a run is."""

    DONE = "done"
    FAILED = "failed"
    RUNNING = "running"  # a process is working on it
    STALE = "stale"  # its process is gone; the next process that looks for work takes it over
    STOPPED = "stopped"  # begun, and no process is working on it
    READY = "ready"  # not begun, and everything it needs is finished
    WAITING = "waiting"  # needs runs that are not finished
    BLOCKED = "blocked"  # needs a run that failed
    NEEDS_DATA = "needs data"
    NEEDS_MODEL = "needs model"

    @property
    def pending(self) -> bool:
        """Whether it may still be finished without a change by the user."""
        return self not in (RunState.DONE, RunState.FAILED, RunState.BLOCKED)


def state_of(folder: RunFolder, worker: str = "") -> RunState:
    """The state of a run whose folder is known; `worker` is the name of the process that asks."""
    if folder.done:
        return RunState.DONE
    if folder.failed:
        return RunState.FAILED
    if holder := folder.holder(worker):
        return RunState.STALE if holder.stale else RunState.RUNNING
    return RunState.STOPPED if folder.config_path.exists() else RunState.READY
