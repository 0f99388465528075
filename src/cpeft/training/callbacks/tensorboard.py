"""TensorBoard: event files in the run folder; `tensorboard --logdir STORE` shows stages and runs as its folders."""

import json
from collections.abc import Mapping
from typing import Any

from cpeft.training.callbacks.tracker import TRACKERS, State, Tracker


@TRACKERS.register("tensorboard")
class TensorBoard(Tracker):
    """Events after the step a run resumes from are purged by TensorBoard's own mark, so no step stands twice."""

    packages = ("tensorboard",)
    writer: Any

    def begin(self, step: int) -> Mapping[str, int]:
        from torch.utils.tensorboard import SummaryWriter

        folder = self.run.folder.path / "tensorboard"
        purged = step + bool(step) if folder.exists() else None  # a run scored untrained logs at step 0 alone
        self.writer = SummaryWriter(str(folder), purge_step=purged)
        if step == 0:
            about = {"name": self.run.name, "id": self.run.id, "group": self.run.stage, "settings": self.run.settings}
            text = json.dumps(about, indent=2, ensure_ascii=False)
            self.writer.add_text("run", "".join(f"    {line}\n" for line in text.splitlines()), 0)
        return {}

    def log(self, step: int, numbers: dict[str, float]) -> None:
        for key, value in numbers.items():
            self.writer.add_scalar(key, value, step)

    def end(self, state: State) -> None:
        self.writer.close()
