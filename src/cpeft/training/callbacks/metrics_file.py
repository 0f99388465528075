"""`metrics.jsonl`: one line per logged step and evaluation, cut back to the checkpoint on resumption."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cpeft.files import replace_text
from cpeft.training.callbacks import Callback

if TYPE_CHECKING:
    from cpeft.training.member import Member


def written_records(path: Path) -> Iterator[dict[str, Any]]:
    """The whole lines of `metrics.jsonl`, none without the file."""
    for line in path.read_text().splitlines() if path.exists() else ():
        try:
            yield json.loads(line)
        except ValueError:
            return  # the line that a kill cut in half; what follows was never written


class MetricsFile(Callback):
    """Appends records; lines after the step a run resumes from are dropped, so no step stands twice."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_start(self, member: "Member") -> None:
        if self.path.exists():
            kept = [record for record in written_records(self.path) if record["step"] <= member.step]
            replace_text(self.path, "".join(json.dumps(record) + "\n" for record in kept))

    def on_step(self, member: "Member", record: dict[str, Any]) -> None:
        with self.path.open("a") as file:
            file.write(json.dumps(record) + "\n")

    on_eval = on_step
