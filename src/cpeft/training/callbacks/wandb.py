"""Weights & Biases, offline by default: files lie in the run folder, `wandb sync` uploads them later.

A run that was resumed offline leaves one folder per process, all of one run id; `wandb sync --append` puts them together.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from cpeft.config import Options
from cpeft.training.callbacks.tracker import TRACKERS, State, Tracker


class WandbOptions(Options):
    """Options of Weights & Biases."""

    mode: Literal["offline", "online"] | None = Field(
        default=None, description="Whether runs are uploaded; without it as WANDB_MODE says, else offline."
    )
    prompts: bool = Field(default=False, description="Upload every exported prompt as an artifact.")


@TRACKERS.register("wandb")
class Wandb(Tracker):
    packages = ("wandb",)
    Options = WandbOptions
    handle: Any

    def failures(self) -> tuple[type[Exception], ...]:
        import wandb

        return (wandb.Error,)

    def begin(self, step: int) -> Mapping[str, int]:
        import wandb

        mode: Any = self.options.mode or os.environ.get("WANDB_MODE") or "offline"
        self.handle = wandb.init(
            project=self.run.project, id=self.run.id, name=self.run.name, group=self.run.stage,
            config=self.run.settings, dir=str(self.run.folder.path), mode=mode, reinit="create_new",
            resume="allow" if mode == "online" else None,
            settings=wandb.Settings(silent=True, console="off", disable_git=True, disable_code=True),
        )  # fmt: skip
        return self.known

    def log(self, step: int, numbers: dict[str, float]) -> None:
        self.handle.log(numbers, step=step)

    def conclude(self, scores: dict[str, float], prompts: list[Path]) -> None:
        import wandb

        self.handle.log(scores, step=self.step)
        self.handle.summary.update(scores)
        for folder in prompts if self.options.prompts else ():
            artifact = wandb.Artifact(f"{self.run.id}-{folder.name.replace('/', '.')}", type="prompt")
            for file in sorted(folder.iterdir()):
                artifact.add_file(str(file))
            self.handle.log_artifact(artifact)

    def end(self, state: State) -> None:
        self.handle.finish(exit_code=0 if state == "finished" else 1)
