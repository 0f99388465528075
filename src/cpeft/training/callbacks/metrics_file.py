"""The log of a run: one line per logged step and evaluation, cut back to the checkpoint on resumption."""

import json
from typing import Any

from cpeft.files import replace_text
from cpeft.training.callbacks import Callback, RunInTraining


class MetricsFile(Callback):
    """Appends records; lines after the step a run resumes from are dropped, so no step stands twice."""

    def on_start(self, member: RunInTraining) -> None:
        if member.folder.log_path.exists():
            kept = [record for record in member.folder.log() if record["step"] <= member.step]
            replace_text(member.folder.log_path, "".join(json.dumps(record) + "\n" for record in kept))

    def on_step(self, member: RunInTraining, record: dict[str, Any]) -> None:
        with member.folder.log_path.open("a") as file:
            file.write(json.dumps(record) + "\n")

    on_eval = on_step
