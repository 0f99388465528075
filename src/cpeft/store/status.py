"""How a store stands, from its folders alone: what is done, failed, at work or left, per study and stage.

Needs neither torch nor the recipes: `manifest.py` says which runs every study asks for. What is in the store and in no study's
manifest (of runs made before there were any, or of a recipe that has changed since) is counted apart.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

from cpeft.errors import ConfigError
from cpeft.store.claims import Holder
from cpeft.store.manifest import Manifest, PlannedRun, current_manifests
from cpeft.store.run_folder import RunFolder, Store

State = Literal["done", "failed", "running", "stale", "begun", "blocked", "left"]
STATES: tuple[State, ...] = ("done", "failed", "running", "stale", "begun", "blocked", "left")
PENDING: tuple[State, ...] = ("running", "stale", "begun", "left")


@dataclass(frozen=True)
class Seen:
    """A run as its folder shows it. `stale`: claimed by a process that is gone, to be taken over; `begun`: stopped, to be gone
    on with; `left`: not begun. `hours` are those of a finished run."""

    run: str
    state: State
    folder: str = ""
    step: int | None = None
    told_s: float | None = None  # since the log last grew
    holder: Holder | None = None
    error: str = ""
    hours: float | None = None


def look(folder: RunFolder, store: Path) -> Seen:
    """One run folder."""
    path, holder = folder.path, folder.holder()
    seen = Seen(f"{path.parent.name}/{path.name}", "begun", path.relative_to(store).as_posix(), *folder.last_step())
    if folder.done:
        result = folder.result()
        return replace(seen, run=f"{result.stage}/{result.name}", state="done", hours=result.seconds.total / 3600)
    if folder.failed:
        return replace(seen, state="failed", error=folder.failure().partition("\n")[0])
    if holder:
        return replace(seen, state="stale" if holder.stale else "running", holder=holder)
    return seen


class StageHours(NamedTuple):
    """Hours of each finished run of a stage, and how many runs are still to come."""

    finished: Sequence[float]
    pending: int


def hours_left(stages: Mapping[str, StageHours]) -> dict[str, float | None]:
    """Hours to come by stage, in one process; None where nothing is finished anywhere. A run is expected to take the mean of
    its own stage, or where nothing of its stage is finished, of the whole study; `cpeft run`, which knows all settings, tells
    it more closely (`pace.py`)."""
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
    """A study and its stages; `manifest` is None for runs that no study asks for."""

    manifest: Manifest | None
    runs: tuple[Seen, ...]

    @property
    def stages(self) -> list[StageStatus]:
        """In recipe order."""
        stages: dict[str, list[Seen]] = {}
        for seen in self.runs:
            stages.setdefault(seen.run.partition("/")[0], []).append(seen)
        counts = {name: Counter(seen.state for seen in runs) for name, runs in stages.items()}
        hours = {name: [seen.hours for seen in runs if seen.hours is not None] for name, runs in stages.items()}
        left = hours_left(
            {name: StageHours(hours[name], sum(counts[name][state] for state in PENDING)) for name in stages}
        )
        return [
            StageStatus(name, {state: counts[name][state] for state in STATES}, sum(hours[name]), left[name])
            for name in stages
        ]

    @property
    def hours_left(self) -> float | None:
        """In one process; None where that cannot be told yet."""
        return total({stage.stage: stage.hours_left for stage in self.stages})


@dataclass(frozen=True)
class StoreStatus:
    """A store: its studies, and last what none of them asks for."""

    path: Path
    studies: tuple[StudyStatus, ...]

    @property
    def runs(self) -> list[Seen]:
        """Every run folder once, though several studies may share it."""
        return list({seen.folder: seen for study in self.studies for seen in study.runs if seen.folder}.values())

    @property
    def processes(self) -> int:
        """Processes that work on the store now."""
        return len(
            {(seen.holder.host, seen.holder.pid) for seen in self.runs if seen.holder and seen.state == "running"}
        )

    def failed_json(self, seen: Seen) -> Path:
        """Where a failed run's error stands with its traceback."""
        return RunFolder(self.path / seen.folder).failure_path

    def card(self) -> dict[str, Any]:
        """Everything, for `--json`."""
        return {
            "store": str(self.path), "processes": self.processes,
            "hours": sum(seen.hours or 0.0 for seen in self.runs), "studies": [self._study(study) for study in self.studies],
        }  # fmt: skip

    def _study(self, study: StudyStatus) -> dict[str, Any]:
        manifest = study.manifest
        about = (
            {"name": manifest.name, "command": manifest.command(self.path), "edited": manifest.edited()}
            if manifest
            else {"name": None}
        )
        runs = [
            asdict(seen) | {"failed_json": str(self.failed_json(seen)) if seen.state == "failed" else None}
            for seen in study.runs
        ]
        stages = [{**asdict(stage), "runs": stage.runs} for stage in study.stages]
        return {**about, "stages": stages, "hours_left": study.hours_left, "runs": runs}


def status_of(path: Path) -> StoreStatus:
    """Look at a store; raises ConfigError where there is none."""
    manifests, store = current_manifests(path), Store(path)
    begun = {seen.folder: seen for seen in (look(folder, path) for folder in store.begun())}
    if not (manifests or begun):
        raise ConfigError(f"{path}: no run was begun here; give the folder that `cpeft run` fills (stores/RECIPE)")
    studies = [StudyStatus(manifest, tuple(_asked(run, begun) for run in manifest.runs)) for manifest in manifests]
    known = {run.folder for manifest in manifests for run in manifest.runs}
    others = tuple(seen for folder, seen in begun.items() if folder not in known)
    return StoreStatus(path, (*studies, *([StudyStatus(None, others)] if others else [])))


def _asked(run: PlannedRun, begun: dict[str, Seen]) -> Seen:
    """A run that a study asks for, as it stands."""
    if seen := begun.get(run.folder):
        return replace(seen, run=str(run))
    return Seen(str(run), "blocked" if run.blocked else "left", error=run.blocked)
