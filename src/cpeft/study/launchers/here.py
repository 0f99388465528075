"""Runs the study in this process alone, or in the processes of accelerate and torchrun, which share every run."""

from rich.console import Console

from cpeft.study.launchers.base import LAUNCHERS, Launcher
from cpeft.study.runner.plan import Plan


@LAUNCHERS.register("here")
class Here(Launcher):
    """No worker but this process."""

    def launch(self, plan: Plan, console: Console) -> bool:
        from cpeft.study.runner.worker import run_recipe  # here: launcher tables are checked without torch

        run_recipe(plan, console)
        return False
