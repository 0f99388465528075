"""The user's cache of models: a folder for each, named by the SHA-256 of the file that it was made from.

It lies in `$CPEFT_CACHE/models`, else in `$XDG_CACHE_HOME/cpeft/models`, else in `~/.cache/cpeft/models`. A folder that is
there is whole: it is written under another name and renamed.
"""

import hashlib
import os
import tempfile
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

CACHE_VARIABLE = "CPEFT_CACHE"


def models_cache() -> Path:
    """Where converted models are kept; it need not exist."""
    own = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "cpeft"
    return Path(os.environ.get(CACHE_VARIABLE) or own).expanduser() / "models"


def write_once(path: Path, write: Callable[[Path], object]) -> None:
    """Write a folder unless it is there, whole or not at all: several processes may want it at once."""
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".partial-") as scratch:
        made = Path(scratch) / path.name
        write(made)
        try:
            made.rename(path)
        except OSError:
            if not path.exists():  # else another process was quicker
                raise


def file_hash(path: Path) -> str:
    """SHA-256 of a file, read again when its size or time changes."""
    stat = path.stat()
    return _hashed(path.resolve(), stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=64)
def _hashed(path: Path, size: int, changed: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
