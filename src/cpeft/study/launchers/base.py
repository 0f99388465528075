"""The contract of a launcher: run a study with workers.

Every worker is the ordinary loop of `study/runner/worker.py` on the shared store, where claims keep any number of them apart;
a launcher only brings workers to machines, waits for them and stops them. The resources it is given stand in `[launcher.NAME]`
of a recipe or in overrides such as `launcher.slurm.partition=gpu`; they change nothing that a run computes and enter no run's
identity.
"""

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

from rich.console import Console

from cpeft.config import Options
from cpeft.registry import Registry

if TYPE_CHECKING:
    from cpeft.study.runner.plan import Plan


class LauncherOptions(Options):
    """`[launcher.NAME]`: in subclasses the resources that one launcher asks for."""

    @property
    def stages(self) -> tuple[str, ...]:
        """The stages that resources of their own are given for."""
        return ()


class Launcher(ABC):
    """Brings workers to machines."""

    Options: ClassVar[type[LauncherOptions]] = LauncherOptions

    def __init__(self, options: LauncherOptions) -> None:
        self.options = options

    @abstractmethod
    def launch(self, plan: "Plan", console: Console) -> bool:
        """Have workers work the plan off, until none of them goes on; True where they were asked to go on without this process.

        Raises Stopped after a signal, with every worker asked to save its step, and the CpeftError that ended a worker."""


LAUNCHERS: Registry[type[Launcher]] = Registry("launcher", "cpeft.study.launchers")
