"""The test rows of a run with their answers, `predictions.parquet`: enough to judge an answer and to reproduce it elsewhere.

    read ---- model with the prompt ----> answer -- matched with the labels --> prediction

`source` is the text of the row. `read` is the model's input: the token ids after template, cue and truncation, decoded with
special tokens. For rows that may not leave a machine every text is replaced by a hash. Equal texts have equal hashes, so runs
can still be compared row by row. Labels are not replaced; `result.json` has them too.
"""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from cpeft.evaluation.decoding import DecodedRow
from cpeft.metrics.base import NO_LABEL
from cpeft.options.evaluation import PredictionOptions
from cpeft.tasks import Example

HASH = "sha256:"  # the beginning of a hash that replaces a text
TEXTS = ("source", "read", "answer")
TEXT, LIST = pa.string(), pa.list_(pa.string())
SCHEMA = pa.schema({
    "task": TEXT, "row": pa.int64(), **dict.fromkeys(TEXTS, TEXT), "prediction": TEXT, "references": LIST,
    "in_label_set": pa.bool_(), "choice": TEXT, "calibrated": TEXT,
})  # fmt: skip
ATTENTION = {"attention": (0,)}  # a column of every file, with weights where the method has candidates


def prediction_rows(
    task: str, examples: Sequence[Example], read: Sequence[str], decoded: Sequence[DecodedRow], labels: tuple[str, ...]
) -> list[dict[str, Any]]:
    """The rows of one task; `prediction` is None for an answer that matches no label of a closed set."""
    return [
        {"task": task, "row": i, "source": example.source, "read": text, "answer": row.answer,
         "prediction": None if row.text == NO_LABEL else row.text, "references": list(example.references),
         "in_label_set": is_label(row, labels), "choice": row.choice, "calibrated": row.calibrated,
         "attention": [], **row.extras}
        for i, (example, text, row) in enumerate(zip(examples, read, decoded, strict=True))
    ]  # fmt: skip


def is_label(row: DecodedRow, labels: tuple[str, ...]) -> bool | None:
    """Whether the greedy answer is one of the labels; None for open answers."""
    return row.text in labels if labels else None


def without_texts(row: dict[str, Any], labels: tuple[str, ...]) -> dict[str, Any]:
    """The row with its texts replaced by hashes, except labels."""
    kept = {name: hashed(row[name]) for name in TEXTS}
    references = [_unless_label(text, labels) for text in row["references"]]
    return {**row, **kept, "prediction": _unless_label(row["prediction"], labels), "references": references}


def _unless_label(text: str | None, labels: tuple[str, ...]) -> str | None:
    return text if text is None or text in labels else hashed(text)


def hashed(text: str) -> str:
    """The hash that replaces a text."""
    return HASH + hashlib.sha256(text.encode()).hexdigest()


def write_predictions(
    rows: Sequence[dict[str, Any]], extras: Mapping[str, tuple[int, ...]], candidates: Sequence[str],
    options: PredictionOptions, path: Path,
) -> None:  # fmt: skip
    """Write rows; `extras` are the shapes of the method's extras, `candidates` name what attention is over."""
    schema = pa.schema([*SCHEMA, *((name, _nested(len(shape))) for name, shape in {**ATTENTION, **extras}.items())])
    schema = schema.with_metadata({"attention": "\t".join(candidates), "texts": options.texts})
    pq.write_table(pa.Table.from_pylist(list(rows), schema), path, compression="zstd")


def _nested(depth: int) -> pa.DataType:
    """Numbers in lists of lists."""
    return pa.list_(_nested(depth - 1)) if depth else pa.float64()
