"""What a launcher sends to another process or machine: a recipe and a store that both reach by the same paths."""

from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from rich.console import Console

from cpeft.errors import CpeftError
from cpeft.store.run_folder import Store
from cpeft.study.recipe.tiny import load_sized
from cpeft.study.runner.plan import Plan
from cpeft.training.signals import stopping


@dataclass(frozen=True)
class Job:
    """The work of one worker, on all stages or on one; pickles."""

    recipe: Path
    overrides: tuple[str, ...]
    store: Path
    only: tuple[str, ...]
    stage: str | None = None

    @classmethod
    def of(cls, plan: Plan, stage: str | None = None) -> "Job":
        """The work of every worker on a plan, or on one stage of it."""
        recipe = plan.recipe
        return cls(recipe.files[0].resolve(), recipe.overrides, plan.store.path.resolve(), plan.only, stage)

    def work(self, file: TextIO, worker: str = "") -> CpeftError | None:
        """Work until nothing is left or a signal comes, and tell a file of it. What ends a command comes back as a value, so
        that it can travel.

        `worker` is a name that no two living processes bear: whoever starts under it takes over at once what its predecessor
        had claimed, on whatever machine that died."""
        from cpeft.study.runner.worker import run_recipe

        console = Console(file=file, width=140)
        try:
            with stopping():
                plan = Plan(load_sized(self.recipe, self.overrides), Store(self.store, worker), self.only)
                run_recipe(plan, console, self.stage)
        except CpeftError as error:
            console.print(str(error), markup=False)
            return error
        return None


def use_threads(count: int) -> None:
    """Let torch compute with so many threads in this process."""
    import torch  # here: the command that starts workers may compute nothing itself

    torch.set_num_threads(count)
