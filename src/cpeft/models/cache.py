"""The user's cache: models, each in a folder named by the SHA-256 of the file that it was made from; and facts that needed a
model's tokenizer or weights, so that the next command need not load them.

It is `$CPEFT_CACHE`, else `$XDG_CACHE_HOME/cpeft`, else `~/.cache/cpeft`. Files are written under another name and renamed, so
they are always complete.
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
    """The result of `find`, a JSON value, or the one cached for the same key under the same code and the same version of
    transformers. Exceptions are not cached; nothing is cached where the cache cannot be written."""
    hashed = digest([key, *_readers()])
    path = _cache() / kind / f"{hashed[:32]}.json"
    with suppress(OSError, ValueError):
        return json.loads(path.read_text(encoding="utf-8"))
    found = find()
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, found)
    return found


@lru_cache(maxsize=1)
def _readers() -> tuple[str, str]:
    """The versions that cached results depend on: this package's code, and transformers."""
    return code_digest(), version("transformers")


def write_once(path: Path, write: Callable[[Path], object]) -> None:
    """Write a folder atomically unless it exists; several processes may do so at once."""
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".partial-") as scratch:
        made = Path(scratch) / path.name
        write(made)
        try:
            made.rename(path)
        except OSError:
            if not path.exists():  # else another process was faster
                raise


def file_hash(path: Path) -> str:
    """SHA-256 of a file, read again when its size or time changes."""
    stat = path.stat()
    return _hashed(path.resolve(), stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=64)
def _hashed(path: Path, size: int, changed: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
