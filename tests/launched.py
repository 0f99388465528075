"""Studies worked off by several processes, for the tests of launchers: start, kill one in the middle, compare what is left."""

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cpeft.store.claims import start_of
from cpeft.store.run_folder import RunFolder, Store
from tiny import child_environment, cpeft_command

LIMIT_S = 300.0  # for a whole study; generous, as other work may share the machine


def write_claim(run: RunFolder, age_s: float = 0.0, **content: Any) -> Path:
    """A claim of this process that was last touched `age_s` ago; `content` says otherwise."""
    path = run.claim_path
    path.parent.mkdir(parents=True, exist_ok=True)
    own = {"host": socket.gethostname(), "pid": os.getpid(), "started": start_of(os.getpid()), "token": "other"}
    path.write_text(json.dumps({**own, **content}))
    os.utime(path, (time.time() - age_s,) * 2)
    return path


class Started:
    """Commands in processes of their own, none of which outlives its test."""

    def __init__(self) -> None:
        self.processes: list[subprocess.Popen] = []

    def __call__(self, out: Path, *arguments: object, **more: str) -> subprocess.Popen:
        """Start the command in a process group of its own; what it says goes to a file."""
        with out.open("a") as file:
            process = subprocess.Popen(
                cpeft_command(*arguments), stdout=file, stderr=subprocess.STDOUT, start_new_session=True,
                env=child_environment(**{"PYTHONPATH": os.environ.get("PYTHONPATH", ""), **more}),
            )  # fmt: skip
        self.processes.append(process)
        return process

    def end(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.wait()


def wait_until(true: Callable[[], Any], process: subprocess.Popen, limit_s: float = LIMIT_S) -> Any:
    """What `true` gives as soon as it is something; the process must not end before."""
    end = time.monotonic() + limit_s
    while not (found := true()):
        assert process.poll() is None, f"over with exit code {process.returncode}"
        assert time.monotonic() < end, "nothing happens"
        time.sleep(0.01)
    return found


def at_work(store: Path, but: int) -> list[tuple[int, RunFolder]]:
    """Processes other than `but` in the middle of a run, and its folder."""
    found = []
    for path in store.glob("*/*/claim.json"):
        folder = RunFolder(path.parent)
        holder = folder.holder()
        log = folder.log_path
        if holder and holder.pid not in (0, but) and not holder.stale and log.exists() and log.stat().st_size:
            found.append((holder.pid, folder))
    return found


def kill_a_worker(store: Path, process: subprocess.Popen) -> None:
    """Kill a worker, not the command itself, between two steps of a run."""

    def killed() -> bool:
        for pid, folder in at_work(store, process.pid):
            os.kill(pid, signal.SIGSTOP)
            inside = not folder.done and (holder := folder.holder()) and holder.pid == pid and steps_made(folder) < 15
            os.kill(pid, signal.SIGKILL if inside else signal.SIGCONT)
            if inside:
                return True
        return False

    wait_until(killed, process)


def steps_made(folder: RunFolder) -> int:
    """The last step in its `metrics.jsonl`."""
    return folder.last_step()[0] or 0


def outcome_of(store: Path) -> dict[str, Any]:
    """Everything a store's runs leave that must not depend on who did them, byte for byte, and the table."""
    left: dict[str, Any] = {"table": (store / "table.md").read_bytes()}
    for run in Store(store).runs():
        result = {key: value for key, value in run.result().card().items() if key not in ("seconds", "hardware")}
        files = [*run.path.glob("prompts/*/*"), run.path / "method" / "state.safetensors", run.path / "metrics.jsonl"]
        contents = {file.relative_to(run.path).as_posix(): file.read_bytes() for file in files}
        left[run.path.name] = (json.dumps(result), contents)
    return left
