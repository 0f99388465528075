"""The user's cache: models, a folder for each, named by the SHA-256 of the file that it was made from; and answers that took
a model's tokenizer or weights to find, so that the next command need not load them.

It lies in `$CPEFT_CACHE`, else in `$XDG_CACHE_HOME/cpeft`, else in `~/.cache/cpeft`. What is there is whole: it is written
under another name and renamed.
"""

import hashlib
import json
import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from cpeft.config import digest
from cpeft.files import write_json
from cpeft.store.machine import code_digest

CACHE_VARIABLE = "CPEFT_CACHE"


def _cache() -> Path:
    own = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "cpeft"
    return Path(os.environ.get(CACHE_VARIABLE) or own).expanduser()


def models_cache() -> Path:
    """Where converted models are kept; it need not exist."""
    return _cache() / "models"


def remembered(kind: str, key: Any, find: Callable[[], Any]) -> Any:
    """What `find` returns, a JSON value, or returned before for an equal key (another one) under the same code and the same
    transformers. What it raises is not remembered, and where nothing can be written nothing is."""
    told = digest([key, *_readers()])
    path = _cache() / kind / f"{told[:32]}.json"
    with suppress(OSError, ValueError):
        return json.loads(path.read_text(encoding="utf-8"))
    found = find()
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, found)
    return found


@lru_cache(maxsize=1)
def _readers() -> tuple[str, str]:
    """What finds answers: this package's code, and transformers."""
    return code_digest(), version("transformers")


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
