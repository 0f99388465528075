"""A store: a folder of run folders, the only truth, readable without this program.

    STORE/<stage>/<name>-<id>/
        config.toml  metrics.jsonl  predictions.parquet  method/  prompts/<task>/  checkpoint/  result.json

`result.json` is written last and atomically; its presence means done. A run is worked on by the process that holds its
claim, a file made with O_EXCL that carries host, pid and a token and is touched as a heartbeat. A claim is stale if its pid
is gone on this host, or silent for ten minutes elsewhere. A process whose claim was taken stops and writes nothing more.
"""

import fcntl
import json
import os
import shutil
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cpeft.errors import LostClaim

SILENT_S = 600.0  # a foreign claim without heartbeat for this long is stale
BEAT_S = 30.0


@dataclass(frozen=True)
class RunFolder:
    """One run's folder."""

    path: Path

    @property
    def done(self) -> bool:
        return (self.path / "result.json").exists()

    @property
    def failed(self) -> bool:
        return (self.path / "failed.json").exists()

    def result(self) -> dict[str, Any]:
        return json.loads((self.path / "result.json").read_text(encoding="utf-8"))  # type: ignore[no-any-return]

    def metrics(self) -> list[dict[str, Any]]:
        """The lines of metrics.jsonl."""
        path = self.path / "metrics.jsonl"
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        return [json.loads(line) for line in lines]


class Store:
    """A folder of runs."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def folder(self, stage: str, name: str, identity: str) -> RunFolder:
        return RunFolder(self.path / stage / f"{name}-{identity}".replace(" ", "_"))

    def runs(self) -> Iterator[RunFolder]:
        """Every run folder that was begun, in a stable order."""
        for config in sorted(self.path.glob("*/*/config.toml")):
            yield RunFolder(config.parent)

    def results(self) -> list[dict[str, Any]]:
        """The results of all finished runs."""
        return [run.result() for run in self.runs() if run.done]

    @contextmanager
    def _lock(self) -> Iterator[None]:
        self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / ".lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def claim(self, run: RunFolder) -> "Claim | None":
        """This process's claim on a run, or None if another process works on it or it is done."""
        path = run.path / "claim.json"
        with self._lock():
            run.path.mkdir(parents=True, exist_ok=True)
            if run.done:
                return None
            if path.exists():
                if not _stale(path):
                    return None
                path.unlink()
            token = uuid.uuid4().hex
            content = {
                "host": socket.gethostname(),
                "pid": os.getpid(),
                "started": _started(os.getpid()),
                "token": token,
            }
            file = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
            with os.fdopen(file, "w") as handle:
                json.dump(content, handle)
        return Claim(path, token, self._lock)

    def forget(self, run: RunFolder) -> None:
        """Empty the folder of a run that is to be made again, unless another process works on it."""
        claim = self.claim(run)
        if claim is None:
            return
        for path in run.path.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif path != claim.path:
                path.unlink()
        claim.release()


class Claim:
    """The right to write into one run folder; kept alive by a heartbeat thread."""

    def __init__(self, path: Path, token: str, lock: Callable[[], AbstractContextManager[None]]) -> None:
        self.path, self.token, self._lock = path, token, lock
        self._ended = threading.Event()
        threading.Thread(target=self._beat, daemon=True).start()

    def _beat(self) -> None:
        while not self._ended.wait(BEAT_S):
            if self._mine():
                os.utime(self.path)

    def _mine(self) -> bool:
        try:
            return bool(json.loads(self.path.read_text())["token"] == self.token)
        except (OSError, ValueError):
            return False

    def guard(self) -> None:
        """Raise LostClaim if another process holds the run now."""
        if not self._mine():
            raise LostClaim(f"{self.path.parent}: another process took this run over; nothing more is written here")

    def release(self) -> None:
        """Give the run back; a folder that holds nothing goes too, so that a mistake leaves nothing half-written."""
        self._ended.set()
        with self._lock():
            if self._mine():
                self.path.unlink()
                if not any(self.path.parent.iterdir()):
                    self.path.parent.rmdir()


def _stale(path: Path) -> bool:
    try:
        claim = json.loads(path.read_text())
        age = time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return True
    except ValueError:
        return time.time() - path.stat().st_mtime > BEAT_S  # half written by a killed process
    if claim["host"] == socket.gethostname():
        return bool(_started(claim["pid"]) != claim["started"])
    return age > SILENT_S


def _started(pid: int) -> str | None:
    """When a process started, so that a reused pid is not taken for its former owner; None if there is no such process."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        return None if fields[0] in "ZX" else fields[19]  # a killed process that nobody waited for is gone too
    except OSError:
        pass
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass
    return "unknown"
