"""Claims: which process may write into a run folder.

A run is worked on by the process that holds its claim, a file that is made whole or not at all, carries host, pid and a
token, and is touched as a heartbeat. A claim is stale if its pid is gone on this host, or silent for ten minutes elsewhere;
and one that a worker of a launcher made is stale for the worker that was started again under its name. A process whose claim
was taken stops and writes nothing more.

Claims are made and taken by operations that are atomic on shared disks, whether or not these know locks; a lock, where there
is one, saves the work that the loser of a race would do in vain.
"""

import errno
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path

from cpeft.errors import LostClaim

SILENT_S = 600.0  # a foreign claim without heartbeat for this long is stale
BEAT_S = 30.0
WAIT_S = 2.0  # between looks at runs that another process is working on
Lock = Callable[[], AbstractContextManager[None]]


class Claim:
    """The right to write into one run folder; kept alive by a heartbeat thread."""

    def __init__(self, path: Path, token: str, lock: Lock) -> None:
        self.path, self.token, self._lock = path, token, lock
        self._ended = threading.Event()
        threading.Thread(target=self._beat, daemon=True).start()

    def _beat(self) -> None:
        while not self._ended.wait(BEAT_S):
            with suppress(OSError):  # taken in this moment
                if self._mine():
                    os.utime(self.path)

    def _mine(self) -> bool:
        with suppress(OSError, ValueError):
            return bool(json.loads(self.path.read_text())["token"] == self.token)
        return False

    def guard(self) -> None:
        """Raise LostClaim if another process holds the run now."""
        if not self._mine():
            raise LostClaim(f"{self.path.parent}: another process took this run over; nothing more is written here")

    def release(self) -> None:
        """Give the run back; a folder that holds nothing goes too, so that a mistake leaves nothing half-written."""
        self._ended.set()
        with self._lock():
            text = read_if_there(self.path)
            if text is not None and self._mine() and _remove(self.path, text):
                with suppress(OSError):  # not empty, or another process begins there
                    self.path.parent.rmdir()


def take(path: Path, lock: Lock, done: Callable[[], bool], worker: str = "") -> Claim | None:
    """This process's claim by the file at `path`, or None if another process holds it or the run is `done`."""
    token, pid = uuid.uuid4().hex, os.getpid()
    process = {"host": socket.gethostname(), "pid": pid, "started": start_of(pid)}
    with lock():
        left = read_if_there(path)
        holder = Holder.read(path, worker)
        if done() or (holder and not holder.stale):
            return None
        if left is not None and not _remove(path, left):
            return None  # another process was quicker
        if not create(path, json.dumps({**process, "token": token, "worker": worker})):
            return None
    claim = Claim(path, token, lock)
    if done():  # by a process that has given the run back since we looked
        claim.release()
        return None
    return claim


@dataclass(frozen=True)
class Holder:
    """The process that a claim file names, how long ago it last gave a sign of life, and whether its claim is void."""

    host: str
    pid: int
    silent_s: float
    stale: bool

    @classmethod
    def read(cls, path: Path, worker: str = "") -> "Holder | None":
        """The holder that a claim file names, None without a file; `worker` is the name of the process that asks."""
        try:
            silent_s = time.time() - path.stat().st_mtime
            claim = json.loads(path.read_text(encoding="utf-8"))
            host, pid, started = str(claim["host"]), int(claim["pid"]), claim["started"]
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, KeyError):  # half written, for long by a killed process only
            return cls("unknown", 0, silent_s, silent_s > BEAT_S)
        here = host == socket.gethostname()
        mine = bool(worker) and claim.get("worker") == worker  # left behind where that worker ran before
        stale = start_of(pid) != started if here else mine or silent_s > SILENT_S
        return cls(host, pid, silent_s, stale)


def start_of(pid: int) -> str | None:
    """When a process started, so that a reused pid is not taken for its former owner; None if there is no such process."""
    with suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        return None if fields[0] in "ZX" else fields[19]  # a killed process that nobody waited for is gone too
    try:
        os.kill(pid, 0)
    except OSError as error:
        return "unknown" if isinstance(error, PermissionError) else None
    return "unknown"


def read_if_there(path: Path) -> str | None:
    """The text of a file that others may take away; None where there is none."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None


def create(path: Path, text: str) -> bool:
    """Make a file, whole, unless there is one; False if there is."""
    made = _beside(path)
    for _ in range(100):  # whoever gives a run back may take its empty folder away
        with suppress(FileNotFoundError):
            path.parent.mkdir(parents=True, exist_ok=True)
            made.write_text(text, encoding="utf-8")
            try:
                return _put(made, path)
            finally:
                made.unlink(missing_ok=True)
    raise FileNotFoundError(errno.ENOENT, "its folder vanishes as soon as it is made", str(path))


def _put(made: Path, path: Path) -> bool:
    """Give a file a name unless that is taken; by a hard link, which is atomic on shared disks too, else by O_EXCL."""
    try:
        os.link(made, path)
    except FileExistsError:
        return False
    except FileNotFoundError:
        raise
    except OSError:  # a disk without hard links
        try:
            with path.open("x", encoding="utf-8") as file:
                file.write(made.read_text(encoding="utf-8"))
        except FileExistsError:
            return False
    return True


def _remove(path: Path, text: str) -> bool:
    """Take away a file that holds `text`; False if another process did so first. A file that another process puts there
    between the look and the rename is put back."""
    taken = _beside(path)
    try:
        if read_if_there(path) != text:
            return False
        path.rename(taken)
    except FileNotFoundError:
        return False
    ours = read_if_there(taken) == text
    if not ours:
        _put(taken, path)
    taken.unlink(missing_ok=True)
    return ours


def _beside(path: Path) -> Path:
    """A name for a file of this process's own; a pid would not do, two hosts may have the same."""
    return path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
