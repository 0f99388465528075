"""Atomic writes: a reader sees the old file or the new one, never half of it."""

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

from cpeft.errors import PromptError


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object; raises PromptError naming the file."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        json.dumps(value, ensure_ascii=False).encode()  # a lone surrogate may be written as \\ud800
    except FileNotFoundError:
        raise PromptError(f"{path}: no such file") from None
    except (ValueError, RecursionError) as error:
        raise PromptError(f"{path}: not valid JSON ({error})") from None
    if not isinstance(value, dict):
        raise PromptError(f"{path}: expected a JSON object")
    return value


def write_json(path: Path, value: Any) -> None:
    """Write JSON atomically."""
    replace_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def replace_text(path: Path, text: str) -> None:
    """Write a text file atomically."""
    replace_bytes(path, text.encode())


def replace_bytes(path: Path, content: bytes) -> None:
    """Write a file atomically."""
    temporary = path.with_name(f".{path.name}.{uuid4().hex}.tmp")  # two hosts may have the same pid
    try:
        temporary.write_bytes(content)
        os.replace(temporary, path)
    except OSError:
        with suppress(OSError):
            temporary.unlink()
        raise
