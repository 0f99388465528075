"""The stored rows of a prompt, read without torch: a plan hashes the prompts its runs start from, a report compares them."""

import hashlib
import json
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file


def stored_rows(folder: Path, origin: bool = False) -> np.ndarray | None:
    """All rows, live and dead, of a prompt that cpeft saved, or of its origin; None if there is no such file."""
    name, key = ("origin", "origin") if origin else ("adapter_model", "prompt_embeddings")
    path = folder / f"{name}.safetensors"
    return load_file(path)[key] if path.exists() else None


def rows_hash(rows_ND: np.ndarray) -> str:
    """`matrix_hash` of rows in float32."""
    return hashlib.sha256(rows_ND.tobytes()).hexdigest()[:16]


def stored_hash(folder: Path, origin: bool = False) -> str:
    """The hash of the live rows of a prompt that cpeft saved, or of their origin; empty for everything else, also for damaged
    files, which loading reports."""
    try:
        rows_ND = stored_rows(folder, origin)
        length = json.loads((folder / "cpeft.json").read_text(encoding="utf-8"))["length"]
    except Exception:  # damage raises any class; `load_prompt` reports it
        return ""
    if (
        rows_ND is None
        or rows_ND.ndim != 2
        or rows_ND.dtype != "float32"
        or length not in (len(rows_ND), len(rows_ND) / 2)
    ):
        return ""
    return rows_hash(rows_ND[:length])
