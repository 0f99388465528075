"""The state of a store from its folders alone: runs by state, per study and stage, and hours spent and left.

Needs neither torch nor the recipes, because a manifest lists the runs of every study. Runs that are in the store and in no
manifest (made before there were any, or by a recipe that has changed since) are counted separately.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from cpeft.errors import ConfigError
from cpeft.store.claims import Holder
from cpeft.store.manifest import Manifest, PlannedRun, current_manifests
from cpeft.store.run_folder import RunFolder, Store
from cpeft.store.state import RunState, state_of

STATES = tuple(state for state in RunState if state not in (RunState.NEEDS_DATA, RunState.NEEDS_MODEL))


@dataclass(frozen=True)
class RunStatus:
    """A run as its folder shows it; `hours` are those of a finished run, `error` why it failed or is blocked."""

    run: str
    state: RunState
    folder: str = ""  # relative to the store
    step: int | None = None
    log_age_s: float | None = None  # seconds since the log last grew
    holder: Holder | None = None
    error: str = ""
    hours: float | None = None


def run_status(folder: RunFolder, store: Path) -> RunStatus:
    """The status of one run folder."""
    path, state = folder.path, state_of(folder)
    status = RunStatus(
        f"{path.parent.name}/{path.name}", state, path.relative_to(store).as_posix(), *folder.last_step()
    )
    if state == RunState.DONE:
        result = folder.result()
        return replace(status, run=f"{result.stage}/{result.name}", hours=result.seconds.total / 3600)
    if state == RunState.FAILED:
        return replace(status, error=folder.failure().partition("\n")[0])
    return replace(status, holder=folder.holder())


def hours_left(finished: Mapping[str, Sequence[float]], pending: Mapping[str, int]) -> dict[str, float | None]:
    """Hours left by stage, in one process, from the hours of finished runs and the number of pending runs by stage; None if no
    run of any stage is finished. A run is expected to take the mean of its own stage, or of the whole study where no run of its
    stage is finished. `cpeft run`, which knows all settings, estimates it more closely."""
    everywhere = [hours for own in finished.values() for hours in own]
    left: dict[str, float | None] = {}
    for stage, count in pending.items():
        known = finished[stage] or everywhere
        left[stage] = 0.0 if not count else count * sum(known) / len(known) if known else None
    return left


@dataclass(frozen=True)
class StageStatus:
    """The runs of one stage: counts by state, hours of the finished ones, and hours left in one process."""

    stage: str
    counts: dict[str, int]
    hours: float
    hours_left: float | None

    @property
    def runs(self) -> int:
        return sum(self.counts.values())


@dataclass(frozen=True)
class StudyStatus:
    """A study and its stages; `manifest` is None for runs that are in no study."""

    manifest: Manifest | None
    runs: tuple[RunStatus, ...]

    @property
    def stages(self) -> list[StageStatus]:
        """In recipe order."""
        stages: dict[str, list[RunStatus]] = {}
        for status in self.runs:
            stages.setdefault(status.run.partition("/")[0], []).append(status)
        hours = {name: [run.hours for run in runs if run.hours is not None] for name, runs in stages.items()}
        pending = {name: sum(run.state.pending for run in runs) for name, runs in stages.items()}
        left = hours_left(hours, pending)
        return [
            StageStatus(
                name, {state: sum(run.state == state for run in runs) for state in STATES}, sum(hours[name]), left[name]
            )
            for name, runs in stages.items()
        ]

    @property
    def hours_left(self) -> float | None:
        """In one process; None where that is not known yet."""
        left = [stage.hours_left for stage in self.stages]
        known = [hours for hours in left if hours is not None]
        return sum(known) if len(known) == len(left) else None


@dataclass(frozen=True)
class StoreStatus:
    """A store: its studies, and last the runs that are in no study."""

    path: Path
    studies: tuple[StudyStatus, ...]

    @property
    def runs(self) -> list[RunStatus]:
        """Every run folder once, though several studies may share it."""
        return list({run.folder: run for study in self.studies for run in study.runs if run.folder}.values())

    @property
    def processes(self) -> int:
        """The number of processes that are working on the store."""
        return len({(run.holder.host, run.holder.pid) for run in self.runs if run.holder and not run.holder.stale})

    def failure_path(self, run: RunStatus) -> Path:
        """The file with a failed run's error and traceback."""
        return RunFolder(self.path / run.folder).failure_path

    def card(self) -> dict[str, Any]:
        """Everything, as `--json` prints it."""
        return {
            "store": str(self.path), "processes": self.processes,
            "hours": sum(run.hours or 0.0 for run in self.runs), "studies": [self._study(study) for study in self.studies],
        }  # fmt: skip

    def _study(self, study: StudyStatus) -> dict[str, Any]:
        manifest = study.manifest
        about = (
            {"name": manifest.name, "command": manifest.command(self.path), "edited": manifest.edited()}
            if manifest
            else {"name": None}
        )
        runs = [
            asdict(run) | {"failed_json": str(self.failure_path(run)) if run.state == RunState.FAILED else None}
            for run in study.runs
        ]
        stages = [{**asdict(stage), "runs": stage.runs} for stage in study.stages]
        return {**about, "stages": stages, "hours_left": study.hours_left, "runs": runs}


def status_of(path: Path) -> StoreStatus:
    """The status of a store; raises ConfigError for a folder that is none."""
    manifests, store = current_manifests(path), Store(path)
    begun = {run.folder: run for run in (run_status(folder, path) for folder in store.begun())}
    if not (manifests or begun):
        raise ConfigError(f"{path}: no run was begun here; give the folder that `cpeft run` fills (stores/RECIPE)")
    studies = [StudyStatus(manifest, tuple(_planned(run, begun) for run in manifest.runs)) for manifest in manifests]
    known = {run.folder for manifest in manifests for run in manifest.runs}
    others = tuple(run for folder, run in begun.items() if folder not in known)
    return StoreStatus(path, (*studies, *([StudyStatus(None, others)] if others else [])))


def _planned(run: PlannedRun, begun: dict[str, RunStatus]) -> RunStatus:
    """The status of a run of a study; the id of a run that waits for others is not known yet."""
    if status := begun.get(run.folder):
        return replace(status, run=str(run))
    state = RunState.BLOCKED if run.blocked else RunState.READY if run.folder else RunState.WAITING
    return RunStatus(str(run), state, error=run.blocked)
