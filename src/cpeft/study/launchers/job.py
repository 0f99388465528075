"""The job of a worker, which a launcher sends to another process or machine. Both find recipe and store by the same paths."""

from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from rich.console import Console

from cpeft.errors import CpeftError
from cpeft.study.runner.plan import Plan
from cpeft.training.signals import stopping


@dataclass(frozen=True)
class Job:
    """The work of one worker, on all stages or on one; can be pickled."""

    recipe: Path
    overrides: tuple[str, ...]
    store: Path
    only: tuple[str, ...]
    stage: str | None = None
    plugins: tuple[Path, ...] = ()

    @classmethod
    def of(cls, plan: Plan, stage: str | None = None) -> "Job":
        """The job of every worker on a plan, or on one stage of it."""
        recipe = plan.recipe
        plugins = tuple(plugin.path for plugin in recipe.plugins)
        return cls(recipe.files[0].resolve(), recipe.overrides, plan.store.path.resolve(), plan.only, stage, plugins)

    def work(self, file: TextIO, worker: str = "") -> CpeftError | None:
        """Work until nothing is left or a signal arrives, and log to a file. An error that would end a command is returned, so
        that it can be sent back.

        `worker` is a name that no two living processes share. A process that starts under the name of a lost one takes over its
        claims at once, on any machine."""
        from cpeft.study.runner.worker import run_recipe

        console = Console(file=file, width=140)
        try:
            with stopping():
                plan = Plan.load(self.recipe, self.overrides, self.store, self.only, worker, self.plugins)
                run_recipe(plan, console, self.stage)
        except CpeftError as error:
            console.print(str(error), markup=False)
            return error
        return None


def use_threads(count: int) -> None:
    """Set the number of threads that torch uses in this process."""
    import torch  # here: the command that starts workers may not need torch

    torch.set_num_threads(count)
