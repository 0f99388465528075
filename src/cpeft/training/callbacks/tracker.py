"""Trackers: tools that show runs while they train. One file each beside this one; a run uses none by default.

[track]
use = ["tensorboard", "wandb"]
wandb.mode = "online"        # a tracker's own options stand under its name

A tracker gets every metric that `metrics.jsonl` gets, the settings, and the final test scores as `test/TASK/METRIC`; its run
has the name of ours, with the stage as group. Each member of a gang is a tracker run of its own. A resumed run continues its
old tracker run, and nothing is logged twice. `metrics.jsonl` stays the reference: where a tracker fails for reasons outside
this program (network, disk, its server), a message says so once and the run continues without it. Every other exception is
a mistake in the program and ends the run like any other.
"""

import json
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import ConfigDict, Field

from cpeft.config import Options, Place, Table, located, parse
from cpeft.errors import ConfigError, UnknownName
from cpeft.files import write_json
from cpeft.registry import Registry, suggest
from cpeft.store.result import RunResult, SearchResult
from cpeft.store.run_folder import RunFolder
from cpeft.training.callbacks import Callback, RunInTraining

State = Literal["finished", "failed", "stopped"]


class TrackOptions(Options):
    """Tools that show runs while they train; `[track.NAME]` holds a tracker's own options. Changes no result."""

    model_config = ConfigDict(extra="allow", frozen=True)

    use: tuple[str, ...] = Field(default=(), description="Trackers: tensorboard, wandb, mlflow, trackio.")
    project: str = Field(default="cpeft", description="Project (in MLflow: experiment) that runs are filed under.")

    def of(self, name: str) -> Options:
        """The own options of a tracker."""
        return parse(TRACKERS.get(name).Options, (self.model_extra or {}).get(name, {}), f"track.{name}")


def parse_track(table: Table, path: Place = ()) -> TrackOptions:
    """A table as options; raises ConfigError for a tracker or an option that does not exist, naming where it stands."""
    options = parse(TrackOptions, table, "track", path)
    try:
        chosen = {name: TRACKERS.get(name) for name in options.use}
    except UnknownName as error:
        raise UnknownName(f"{located(path, 'use')}[track] {error}") from None
    for name, own in (options.model_extra or {}).items():
        if name not in TRACKERS:
            near = suggest(name, [*TrackOptions.model_fields, *TRACKERS.names()])
            raise ConfigError(f"{located(path, name)}[track] unknown key '{name}'{near}")
        if name not in chosen:
            raise ConfigError(f"{located(path, name)}[track.{name}] has no effect: '{name}' is not in track.use")
        parse(TRACKERS.get(name).Options, own, f"track.{name}", path)
    return options


@dataclass(frozen=True)
class Tracked:
    """What a tracker gets of a run before it begins. `logged` has the last step that earlier processes logged of each metric,
    `begun` the trackers that know the run."""

    name: str  # stage/run
    stage: str
    project: str
    folder: RunFolder
    settings: Table
    id: str
    begun: tuple[str, ...]
    logged: Mapping[str, int]

    @classmethod
    def of(cls, name: str, stage: str, project: str, folder: RunFolder, settings: Table) -> "Tracked":
        """Of a run whose folder exists; before `metrics.jsonl` is cut back to a checkpoint."""
        logged = {key: record["step"] for record in folder.log() for key in record if key != "step"}
        fresh: dict[str, Any] = {"id": f"{folder.id}-{uuid.uuid4().hex[:8]}", "begun": []}
        known = _read(folder) or fresh
        return cls(name, stage, project, folder, settings, known["id"], tuple(known["begun"]), logged)

    def note(self, tracker: str) -> None:
        """Record that a tracker knows this run by its id."""
        begun = (_read(self.folder) or {"begun": []})["begun"]  # other trackers of the run write here too
        if tracker not in begun:
            write_json(self.folder.tracking_path, {"id": self.id, "begun": [*begun, tracker]})


def _read(folder: RunFolder) -> dict[str, Any] | None:
    """The id under which a resumed run continues, and which trackers know it."""
    path = folder.tracking_path
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


class Tracker(Callback, ABC):
    """One run in one tool. Subclasses say which `packages` the tool needs, and how to begin, log and end a run."""

    packages: ClassVar[tuple[str, ...]]
    Options: ClassVar[type[Options]] = Options

    def __init__(self, run: Tracked, options: Any, say: Callable[[str], None]) -> None:
        self.run, self.options, self.say = run, options, say
        self.held: Mapping[str, int] = {}
        self.step = 0
        self.open_ = False
        self.result: RunResult | SearchResult | None = None

    @property
    def known(self) -> Mapping[str, int]:
        """The last step of each metric that an earlier process logged to this tracker."""
        return self.run.logged if type(self).__name__ in self.run.begun else {}

    @abstractmethod
    def begin(self, step: int) -> Mapping[str, int]:
        """Open the tool's run, or continue the one of `run.id`, from `step`. Returns the last step of each metric that must not
        be logged again: `self.known`, unless the tool itself forgets what came after `step`."""

    @abstractmethod
    def log(self, step: int, numbers: dict[str, float]) -> None:
        """Log numbers of a step."""

    def conclude(self, scores: dict[str, float], prompts: list[Path]) -> None:
        """Log the test scores; a tool that stores files may keep the folders of the exported prompts too."""
        self.log(self.step, scores)

    @abstractmethod
    def end(self, state: State) -> None:
        """Close the tool's run."""

    def failures(self) -> tuple[type[Exception], ...]:
        """Exceptions for failures outside this program, besides OSError."""
        return ()

    def on_start(self, member: RunInTraining) -> None:
        self.open_ = True
        self._try(lambda: self._begin(member.step))

    def _begin(self, step: int) -> None:
        self.held = self.begin(step)
        self.run.note(type(self).__name__)

    def on_step(self, member: RunInTraining, record: dict[str, Any]) -> None:
        step = self.step = record["step"]
        numbers = {
            key: float(value) for key, value in record.items() if key != "step" and step > self.held.get(key, -1)
        }
        if numbers:
            self._try(lambda: self.log(step, numbers))

    on_eval = on_step

    def on_result(self, member: RunInTraining, result: RunResult | SearchResult) -> None:
        found = {
            f"test/{task}/{metric}": score.value
            for task, metrics in result.scores.items() for metric, score in metrics.items()
        }  # fmt: skip
        self.step, self.result = member.step, result
        self._try(lambda: self.conclude(found, [member.folder.prompt(name) for name in result.prompts]))

    def on_close(self, member: RunInTraining) -> None:
        state: State = "finished" if self.result else "failed" if member.failure else "stopped"
        self._try(lambda: self.end(state))
        self.open_ = False

    def _try(self, work: Callable[[], None]) -> None:
        """Do something with the tool, unless it is closed or failed before."""
        if not self.open_:
            return
        outside: tuple[type[Exception], ...] = (OSError, *self.failures())
        try:
            work()
        except outside as error:
            self.open_ = False
            what = f"{type(error).__name__}: {error}".partition("\n")[0]
            self.say(
                f"{self.run.name}: {type(self).__name__} failed and is not used any more ({what}); the run continues"
            )


TRACKERS: Registry[type[Tracker]] = Registry("tracker", "cpeft.training.callbacks")


def check_trackers(options: TrackOptions) -> None:
    """Raise ConfigError where a chosen tracker's package is not installed."""
    for name in options.use:
        if missing := [package for package in TRACKERS.get(name).packages if find_spec(package) is None]:
            needs = f"the package{'s' * (len(missing) > 1)} {', '.join(missing)}"
            raise ConfigError(f"tracker '{name}' needs {needs}: pip install 'cpeft[track]'")


def make_trackers(options: TrackOptions, run: Tracked, say: Callable[[str], None]) -> list[Tracker]:
    """The chosen trackers of one run; `say` gets what the user must know."""
    return [TRACKERS.get(name)(run, options.of(name), say) for name in options.use]
