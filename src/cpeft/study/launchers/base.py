"""The contract of a launcher: run a study with workers.

Every worker runs the ordinary loop of `study/runner/worker.py` on the shared store, where claims keep any number of them apart.
A launcher starts workers, waits for them and stops them. Its resources are given in `[launcher.NAME]` of a recipe, or in
overrides such as `launcher.slurm.partition=gpu`; they change no result and are not part of a run's id.
"""

from abc import ABC, abstractmethod
from typing import ClassVar

from rich.console import Console

from cpeft.config import Options, Table, located, merge, override, parse, without_defaults
from cpeft.errors import ConfigError
from cpeft.registry import Registry, suggest
from cpeft.study.recipe.recipe import LAUNCHER, Recipe, read_under
from cpeft.study.runner.plan import Plan


class LauncherOptions(Options):
    """Resources that a launcher asks for. They change no result."""

    @property
    def stages(self) -> tuple[str, ...]:
        """The stages that have resources of their own."""
        return ()


class Launcher(ABC):
    """Starts workers and waits for them."""

    Options: ClassVar[type[LauncherOptions]] = LauncherOptions

    def __init__(self, options: LauncherOptions) -> None:
        self.options = options

    @abstractmethod
    def launch(self, plan: Plan, console: Console) -> bool:
        """Run the plan with workers until all of them have ended; True if they continue without this process.

        Raises Stopped after a signal, once every worker was asked to save its step, and the CpeftError that ended a worker."""


LAUNCHERS: Registry[type[Launcher]] = Registry("launcher", "cpeft.study.launchers")


def launcher_options(recipe: Recipe) -> dict[str, LauncherOptions]:
    """The resources that a recipe and its overrides give, by launcher. Raises UnknownName for an unknown launcher, ConfigError
    for invalid resources or those of an unknown stage; the error names file and line, or the override."""
    written = {LAUNCHER: recipe.table.get(LAUNCHER, {})}
    return read_under(
        recipe.launcher_overrides, recipe.files, lambda some: _parsed(merge(written, *map(override, some)), recipe)
    )


def _parsed(table: Table, recipe: Recipe) -> dict[str, LauncherOptions]:
    tables, files = table[LAUNCHER], recipe.files
    if not (isinstance(tables, dict) and all(isinstance(own, dict) for own in tables.values())):
        raise ConfigError(
            f"{located(files, LAUNCHER)}resources are given in a table per launcher, as [launcher.slurm] or "
            "launcher.slurm.workers=8"
        )
    options = {
        name: parse(LAUNCHERS.get(name).Options, without_defaults(own), f"{LAUNCHER}.{name}", files)
        for name, own in tables.items()
    }
    known = [str(stage["name"]) for stage in recipe.table["stage"]]
    for name, own in options.items():
        for stage in own.stages:
            if stage not in known:
                where = f"{located(files, stage)}[{LAUNCHER}.{name}.stage.{stage}]"
                raise ConfigError(f"{where} there is no stage '{stage}'{suggest(stage, known)}")
    return options
