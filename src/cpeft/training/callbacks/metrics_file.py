"""`metrics.jsonl`: one line per logged step and evaluation, cut back to the checkpoint on resumption."""

import json
from pathlib import Path
from typing import Any

from cpeft.prompts.soft_prompt import replace_text
from cpeft.training.callbacks import Callback
from cpeft.training.member import Member


class MetricsFile(Callback):
    """Appends records; lines after the step a run resumes from are dropped, so no step stands twice."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_start(self, member: Member) -> None:
        if not self.path.exists():
            return
        kept = []
        for line in self.path.read_text().splitlines():
            try:
                record = json.loads(line)
            except ValueError:
                break  # the line that a kill cut in half; what follows was never written
            if record["step"] <= member.step:
                kept.append(line)
        replace_text(self.path, "".join(line + "\n" for line in kept))

    def on_step(self, member: Member, record: dict[str, Any]) -> None:
        with self.path.open("a") as file:
            file.write(json.dumps(record) + "\n")

    on_eval = on_step
