"""What processes of a command tell of themselves, for tests that kill and interrupt them: one JSON line per event.

tell_steps(log)                          # in this process: where each run starts or resumes, and its steps
start(..., **in_every_process(folder))   # in every process of a command, helpers too; events go to folder/log
"""

import io
import json
import os
from pathlib import Path
from typing import Any

from tiny import SRC

SITE = """import sys
if "cpeft.cli" in sys.orig_argv or "spawn_main" in " ".join(sys.orig_argv):  # no process that only counts resources
    sys.path.insert(0, {tests!r})
    import told
    told.tell_steps({log!r})
    told.hold({moment!r}, {log!r})
"""


def in_every_process(folder: Path, moment: str = "") -> dict[str, str]:
    """Environment variables for a command; `moment` is where its processes stay: prepare or conclude."""
    folder.mkdir(exist_ok=True)
    text = SITE.format(tests=str(Path(__file__).parent), log=str(folder / "log"), moment=moment)
    (folder / "sitecustomize.py").write_text(text)
    return {"PYTHONPATH": os.pathsep.join((str(folder), SRC))}


def _write(log: Path | str, event: dict[str, Any]) -> None:
    with open(log, "a") as file:
        file.write(json.dumps({**event, "pid": os.getpid()}) + "\n")


def tell_steps(log: Path | str) -> None:
    """From now on every run of this process tells where it starts or resumes, and its logged steps."""
    from cpeft.training.callbacks.metrics_file import MetricsFile

    def tell(hook: str) -> Any:
        old = getattr(MetricsFile, hook)

        def told(self: Any, member: Any, *record: Any) -> None:
            old(self, member, *record)
            _write(log, {"what": hook, "run": member.folder.path.name, "step": member.step})

        return told

    MetricsFile.on_start, MetricsFile.on_step = tell("on_start"), tell("on_step")


def hold(moment: str, log: Path | str) -> None:
    """This process tells that it has come to a moment, and stays there, in a library that has signals of its own."""
    if not moment:
        return
    import pyarrow.csv

    from cpeft.study.runner import gang

    def stay(*_: Any) -> None:
        _write(log, {"what": moment})
        text = b"a,b\n" + b"1,2\n" * 20_000
        while True:  # such short reads that Arrow's own handlers would lose the signal
            pyarrow.csv.read_csv(io.BytesIO(text))

    setattr(gang, moment, stay)


def events(log: Path) -> list[dict[str, Any]]:
    """What has been told so far; the last line may be half written."""
    lines = log.read_text().split("\n")[:-1] if log.exists() else []
    return [json.loads(line) for line in lines]
