"""What a stored prompt is known by, read without torch: a plan asks it of every prompt that its runs start from."""

import hashlib
import json
from pathlib import Path

from safetensors.numpy import load_file


def stored_hash(folder: Path, origin: bool = False) -> str:
    """`matrix_hash` of the rows that the model reads of a prompt that cpeft saved, or of their origin; empty for everything
    else, damaged files too: whoever loads it says what is wrong."""
    name, key = ("origin", "origin") if origin else ("adapter_model", "prompt_embeddings")
    try:
        rows_ND = load_file(folder / f"{name}.safetensors")[key]
        length = json.loads((folder / "cpeft.json").read_text(encoding="utf-8"))["length"]
    except Exception:  # of whatever class damage has; `load_prompt` tells it in a sentence
        return ""
    whole = rows_ND.ndim == 2 and rows_ND.dtype == "float32" and length in (len(rows_ND), len(rows_ND) / 2)
    return hashlib.sha256(rows_ND[:length].tobytes()).hexdigest()[:16] if whole else ""
