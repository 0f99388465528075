"""A store: a folder of run folders, the only record of a study, readable without this program.

    STORE/<stage>/<name>-<id>/
        config.toml  metrics.jsonl  predictions.parquet  method/  prompts/<task>/  checkpoint/  result.json

`RunFolder` has the names of all files. `result.json` is written last and atomically; its presence means done. A comparison
leaves `similarity.json` between its `config.toml` and its `result.json`, and none of the rest. Beside its runs a store keeps
`dtype.json`, what `dtype = "auto"` meant on the first machine that worked on the store, which all others use.
"""

import errno
import fcntl
import json
import os
import shutil
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cpeft.config import Table, read_toml
from cpeft.store.claims import Claim, Holder, create, read_if_there, take
from cpeft.store.result import Result, Spent, read_result
from cpeft.store.similarity import SavedSimilarity, read_similarity

if TYPE_CHECKING:
    import pyarrow as pa

CONFIG, CLAIM, FAILURE = "config.toml", "claim.json", "failed.json"
METHOD_CARD, METHOD_STATE = "method.json", "state.safetensors"  # in the folder of a trained method
TAIL = 65536  # bytes from the end of a log that hold its last line
NO_LOCKS = {
    errno.ENOLCK,
    errno.ENOSYS,
    errno.EOPNOTSUPP,
    errno.ENOTSUP,
    errno.EINVAL,
}  # errors of file systems without locks


class _Part:
    """A file or folder of a run folder: its name, and what it holds."""

    def __init__(self, name: str, about: str) -> None:
        self.name, self.about = name, about

    def __get__(self, folder: "RunFolder", owner: type) -> Path:
        return folder.path / self.name


@dataclass(frozen=True)
class RunFolder:
    """One run's folder."""

    path: Path

    config_path = _Part(CONFIG, "the settings that are not at their defaults, with tasks and seed")
    log_path = _Part("metrics.jsonl", "one line per logged step and per validation")
    checkpoint_path = _Part("checkpoint/checkpoint.safetensors", "where training resumes; removed when the run is done")
    predictions_path = _Part(
        "predictions.parquet", "per test row: the text read, the answer, its label, attention weights"
    )
    method_path = _Part("method", "the trained method, enough to evaluate it")
    prompts_path = _Part("prompts", "one folder per exported prompt")
    similarity_path = _Part("similarity.json", "similarities of the prompts, in a stage that compares")
    energy_path = _Part("energy.json", "electricity that training used so far")
    tracking_path = _Part("tracking.json", "the id under which trackers know the run")
    claim_path = _Part(CLAIM, "the process that works on the run; removed at the end")
    failure_path = _Part(FAILURE, "why the run failed")
    failed_batch_path = _Part("failed_batch.json", "the rows of the batch on which it failed")
    result_path = _Part("result.json", "scores and everything they were made with; written last")

    @property
    def id(self) -> str:
        """The end of its name, a hash of all that decides the result."""
        return self.path.name.rpartition("-")[2]

    @property
    def done(self) -> bool:
        return self.result_path.exists()

    @property
    def failed(self) -> bool:
        return self.failure_path.exists()

    @property
    def held(self) -> bool:
        """Whether a process works on it, as far as this machine can see."""
        holder = self.holder()
        return holder is not None and not holder.stale

    def holder(self, worker: str = "") -> Holder | None:
        """Who has claimed the run, None if nobody has; `worker` is the name of the process that asks."""
        return Holder.read(self.claim_path, worker)

    def result(self) -> Result:
        """The result of a finished run."""
        return read_result(self.result_path)

    def config(self) -> Table:
        """The settings that are not at their defaults, with tasks and seed."""
        return read_toml(self.config_path)

    def log(self) -> list[dict[str, Any]]:
        """The whole lines of the log, none without one."""
        return [json.loads(line) for line in self._lines()]

    def last_step(self) -> tuple[int | None, float | None]:
        """The step of the last whole line of the log, and seconds since it grew; None without."""
        lines = self._lines(TAIL)
        try:
            silent_s = time.time() - self.log_path.stat().st_mtime
        except FileNotFoundError:
            return None, None
        return (json.loads(lines[-1])["step"] if lines else None), silent_s

    def _lines(self, last: int | None = None) -> list[bytes]:
        """The whole lines of the log, or those that end in its `last` bytes, of which the first may lack its beginning; a
        killed process may have left half a line at the end."""
        try:
            with self.log_path.open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                file.seek(max(size - last, 0) if last else 0)
                return file.read().split(b"\n")[:-1]
        except FileNotFoundError:
            return []

    def predictions(self, columns: Sequence[str] | None = None) -> "pa.Table | None":
        """The test rows with their answers, or those of the columns that were kept; None where no answers were."""
        import pyarrow.parquet as pq  # here: a store is looked at without it

        path = self.predictions_path
        return pq.ParquetFile(path).read(columns=columns) if path.exists() else None

    def predictions_metadata(self) -> dict[str, str]:
        """The metadata of the file of predictions; empty where there is none."""
        import pyarrow.parquet as pq

        path = self.predictions_path
        known = (pq.read_schema(path).metadata or {}) if path.exists() else {}
        return {key.decode(): value.decode() for key, value in known.items()}

    def prompt(self, name: str) -> Path:
        """The folder of an exported prompt."""
        return self.prompts_path / name

    def similarity(self) -> SavedSimilarity | None:
        """The result of a comparison; None for a run."""
        return read_similarity(self.similarity_path)

    def energy(self) -> Spent | None:
        """Electricity of its training so far; None where nothing was measured."""
        spent = _read_json(self.energy_path)
        return None if spent is None else Spent(**spent)

    def failure(self) -> str:
        """The error of a failed run."""
        return str((_read_json(self.failure_path) or {})["error"])


def _read_json(path: Path) -> dict[str, Any] | None:
    text = read_if_there(path)
    return None if text is None else json.loads(text)


class Store:
    """A folder of runs; `worker` is the name, if any, under which a launcher started this process."""

    def __init__(self, path: str | Path, worker: str = "") -> None:
        self.path, self.worker = Path(path), worker

    def folder(self, stage: str, name: str, identity: str) -> RunFolder:
        return RunFolder(self.path / stage / f"{name}-{identity}".replace(" ", "_"))

    def runs(self) -> Iterator[RunFolder]:
        """Every run folder that was begun, in a stable order."""
        return iter(self._with(CONFIG))

    def begun(self) -> list[RunFolder]:
        """Those, and the folders of runs that failed or were claimed before their settings were written."""
        return self._with(CONFIG, FAILURE, CLAIM)

    def _with(self, *names: str) -> list[RunFolder]:
        """The run folders that hold any of these files, in order."""
        return [
            RunFolder(path)
            for path in sorted({file.parent for name in names for file in self.path.glob(f"*/*/{name}")})
        ]

    def results(self) -> list[Result]:
        """The results of all finished runs."""
        return [run.result() for run in self.runs() if run.done]

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Exclude other processes, where the file system supports locks; elsewhere do nothing."""
        self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / ".lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX)
            except OSError as error:
                if error.errno not in NO_LOCKS:
                    raise
            yield

    def claim(self, run: RunFolder) -> Claim | None:
        """This process's claim on a run, or None if another process works on it or it is done."""
        return take(run.claim_path, self.lock, lambda: run.done, self.worker)

    def dtype(self) -> str | None:
        """What `dtype = "auto"` means in this store; None until a run has used that setting."""
        kept = _read_json(self.path / "dtype.json")
        return None if kept is None else str(kept["auto"])

    def keep_dtype(self, here: Callable[[], str]) -> str:
        """What `dtype = "auto"` means in this store: the recorded value, else that of `here`, which is recorded."""
        if self.dtype() is None:
            create(self.path / "dtype.json", json.dumps({"auto": here(), "host": socket.gethostname()}) + "\n")
        kept = self.dtype()
        assert kept is not None  # this or another process has written it
        return kept

    def forget(self, run: RunFolder) -> None:
        """Empty the folder of a run to run it again, unless another process works on it."""
        if claim := self.claim(run):
            for path in run.path.iterdir():
                if path.is_dir():
                    shutil.rmtree(path)
                elif path != claim.path:
                    path.unlink(missing_ok=True)
            claim.release()


def saved_prompts(folder: Path) -> list[Path]:
    """The folders of all prompts that were saved anywhere below `folder`, by runs or by hand, in order."""
    return sorted(card.parent for card in folder.rglob("cpeft.json"))
