"""A store: a folder of run folders, the only truth, readable without this program.

    STORE/<stage>/<name>-<id>/
        config.toml  metrics.jsonl  predictions.parquet  method/  prompts/<task>/  checkpoint/  result.json

`result.json` is written last and atomically; its presence means done. A comparison leaves `similarity.json` between its
`config.toml` and its `result.json`, and none of the rest. `energy.json` is what a run's training spent so far and
`tracking.json` the id that trackers know it by, where there are any. A run is worked on by the process that holds its
claim, a file that is made whole or not at all, carries host, pid and a token, and is touched as a heartbeat. A claim is
stale if its pid is gone on this host, or silent for ten minutes elsewhere; and one that a worker of a launcher made is stale
for the worker that was started again under its name. A process whose claim was taken stops and writes nothing more.

Claims are made and taken by operations that are atomic on shared disks, whether or not these know locks; a lock, where there
is one, saves the work that the loser of a race would do in vain. `dtype.json` holds what `dtype = "auto"` came to on the
machine that worked on the store first: all others keep to it.
"""

import errno
import fcntl
import json
import os
import shutil
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cpeft.errors import LostClaim

SILENT_S = 600.0  # a foreign claim without heartbeat for this long is stale
BEAT_S = 30.0
WAIT_S = 2.0  # between looks at runs that another process is working on
NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL}  # what disks without locks say


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

    @property
    def held(self) -> bool:
        """Whether a process works on it, as far as can be seen from here."""
        holder = self.holder()
        return holder is not None and not holder.stale

    def result(self) -> dict[str, Any]:
        return json.loads((self.path / "result.json").read_text(encoding="utf-8"))  # type: ignore[no-any-return]

    def holder(self, worker: str = "") -> "Holder | None":
        """Who has claimed the run, None if nobody has; `worker` is the name of the process that asks."""
        return Holder.read(self.path / "claim.json", worker)


class Store:
    """A folder of runs; `worker` is the name, if any, under which a launcher started this process."""

    def __init__(self, path: str | Path, worker: str = "") -> None:
        self.path, self.worker = Path(path), worker

    def folder(self, stage: str, name: str, identity: str) -> RunFolder:
        return RunFolder(self.path / stage / f"{name}-{identity}".replace(" ", "_"))

    def runs(self) -> Iterator[RunFolder]:
        """Every run folder that was begun, in a stable order."""
        return (RunFolder(config.parent) for config in sorted(self.path.glob("*/*/config.toml")))

    def begun(self) -> list[RunFolder]:
        """Those and the folders of runs that failed, or are claimed, before they came to their settings."""
        signs = ("config.toml", "failed.json", "claim.json")
        return [
            RunFolder(path)
            for path in sorted({sign.parent for name in signs for sign in self.path.glob(f"*/*/{name}")})
        ]

    def results(self) -> list[dict[str, Any]]:
        """The results of all finished runs."""
        return [run.result() for run in self.runs() if run.done]

    @contextmanager
    def lock(self) -> Iterator[None]:
        """One process at a time, where the disk knows locks; elsewhere nobody is kept out."""
        self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / ".lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX)
            except OSError as error:
                if error.errno not in NO_LOCKS:
                    raise
            yield

    def claim(self, run: RunFolder) -> "Claim | None":
        """This process's claim on a run, or None if another process works on it or it is done."""
        path, token, pid = run.path / "claim.json", uuid.uuid4().hex, os.getpid()
        process = {"host": socket.gethostname(), "pid": pid, "started": _started(pid)}
        with self.lock():
            left = _read(path)
            holder = run.holder(self.worker)
            if run.done or (holder and not holder.stale):
                return None
            if left is not None and not _remove(path, left):
                return None  # another process was quicker
            if not _create(path, json.dumps({**process, "token": token, "worker": self.worker})):
                return None
        claim = Claim(path, token, self)
        if run.done:  # by a process that has given the run back since we looked
            claim.release()
            return None
        return claim

    def dtype(self) -> str | None:
        """What `dtype = "auto"` is in this store; None until somebody has worked on it under that setting."""
        text = _read(self.path / "dtype.json")
        return None if text is None else str(json.loads(text)["auto"])

    def keep_dtype(self, here: Callable[[], str]) -> str:
        """What `dtype = "auto"` is in this store: what was kept, else from now on what it is `here`."""
        if self.dtype() is None:
            _create(self.path / "dtype.json", json.dumps({"auto": here(), "host": socket.gethostname()}) + "\n")
        kept = self.dtype()
        assert kept is not None  # our own or another process's
        return kept

    def forget(self, run: RunFolder) -> None:
        """Empty the folder of a run that is to be made again, unless another process works on it."""
        if claim := self.claim(run):
            for path in run.path.iterdir():
                if path.is_dir():
                    shutil.rmtree(path)
                elif path != claim.path:
                    path.unlink(missing_ok=True)
            claim.release()


class Claim:
    """The right to write into one run folder; kept alive by a heartbeat thread."""

    def __init__(self, path: Path, token: str, store: Store) -> None:
        self.path, self.token, self.store = path, token, store
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
        with self.store.lock():
            text = _read(self.path)
            if text is not None and self._mine() and _remove(self.path, text):
                with suppress(OSError):  # not empty, or another process begins there
                    self.path.parent.rmdir()


def _read(path: Path) -> str | None:
    """The text of a file that others may take away; None where there is none."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None


def _create(path: Path, text: str) -> bool:
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
        if _read(path) != text:
            return False
        path.rename(taken)
    except FileNotFoundError:
        return False
    ours = _read(taken) == text
    if not ours:
        _put(taken, path)
    taken.unlink(missing_ok=True)
    return ours


def _beside(path: Path) -> Path:
    """A name for a file of this process's own; a pid would not do, two hosts may have the same."""
    return path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")


def saved_prompts(folder: Path) -> list[Path]:
    """The folders of all prompts that were saved anywhere below `folder`, by runs or by hand, in order."""
    return sorted(card.parent for card in folder.rglob("cpeft.json"))


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
        stale = _started(pid) != started if here else mine or silent_s > SILENT_S
        return cls(host, pid, silent_s, stale)


def _started(pid: int) -> str | None:
    """When a process started, so that a reused pid is not taken for its former owner; None if there is no such process."""
    with suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        return None if fields[0] in "ZX" else fields[19]  # a killed process that nobody waited for is gone too
    try:
        os.kill(pid, 0)
    except OSError as error:
        return "unknown" if isinstance(error, PermissionError) else None
    return "unknown"
