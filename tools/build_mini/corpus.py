"""The text `mini` is made from: public-domain books, and the training splits of seven real datasets."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from tools.build_mini.vocabulary import load_tokenizer

REAL = ("squad", "qnli", "snli", "stsb", "boolq", "wsc", "math")
CHUNK = 2**20


def books(folder: Path, split: str) -> Iterator[str]:
    """Paragraphs of the books of a split (`train` or `valid`), blank lines and line breaks taken out."""
    for path in sorted(folder.glob(f"books-{split}*.txt.zst")):
        with pa.input_stream(str(path), compression="zstd") as stream:
            text = stream.read().decode("utf-8")
        for paragraph in text.split("\n\n"):
            if words := paragraph.split():
                yield " ".join(words)


def rows(folder: Path, task: str, split: str = "train") -> list[dict[str, Any]]:
    """Rows of a real dataset."""
    return pa.parquet.read_table(folder / task / f"{split}.parquet").to_pylist()


def texts(corpus: Path, data: Path, limit: int) -> Iterator[str]:
    """About `limit` characters of books and the texts of the real rows, for the vocabulary."""
    paragraphs = list(books(corpus, "train"))
    rng = np.random.default_rng(0)
    for place in rng.permutation(len(paragraphs)):
        yield paragraphs[place]
        limit -= len(paragraphs[place])
        if limit < 0:
            break
    for task in REAL:
        for row in rows(data, task)[:10_000]:
            yield from (str(value) for value in row.values() if isinstance(value, str))


def token_ids(corpus: Path, split: str, out: Path) -> np.ndarray:
    """Token ids of all books of a split in one row (uint16), an end token behind every paragraph; kept in `out`."""
    path = out / f"books-{split}.npy"
    if not path.exists():
        tokenizer = load_tokenizer(out)
        paragraphs = list(books(corpus, split))
        parts = []
        for start in range(0, len(paragraphs), 20_000):
            found = tokenizer(paragraphs[start : start + 20_000])["input_ids"]  # each ends in </s>
            parts.append(np.concatenate([np.array(ids, dtype=np.uint16) for ids in found]))
        partial = path.with_suffix(".partial.npy")
        np.save(partial, np.concatenate(parts))
        partial.replace(path)
    return np.load(path, mmap_mode="r")
