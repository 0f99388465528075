"""Memory and time of `cpeft predict` on large files, without the model: python -m benchmarks.predicting [--rows N ...]

Every file is read, checked, answered by a stand-in that says one word, kept, and written with its answers, in a process of its
own. What is measured is that the peak of the resident set does not grow with the number of rows.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any

import pyarrow as pa
import pyarrow.parquet as pq
import typer

from cpeft.use import predict as answering
from cpeft.use.target import CountedAnswers

KINDS = ("csv", "jsonl", "json", "parquet")
TASK = 'name = "own"\ntemplate = "{text}"\nlabel_column = "label"\n[labels]\n0 = "no"\n1 = "yes"\n[files]\ntest = "none.csv"\n'
BATCH = 10_000


class StandIn:
    """What `predict` asks of a subject."""

    learner = SimpleNamespace(data=SimpleNamespace(max_source=256))

    def under(self, table: Any) -> "StandIn":
        return self

    def digest(self) -> str:
        return "stand-in"

    def answer(self, task: str, rows: list[Any], which: list[int]) -> CountedAnswers:
        return CountedAnswers(["yes"] * len(rows), 0, 0)


def write_rows(path: Path, count: int) -> None:
    """Rows of about 100 characters."""
    texts = (f"row {i}, a text as long as those of many tasks of sentences, with a number in it" for i in range(count))
    if path.suffix == ".parquet":
        schema = pa.schema([("id", pa.int64()), ("text", pa.string())])
        with pq.ParquetWriter(path, schema) as writer:
            for begin in range(0, count, BATCH):
                some = list(range(begin, min(begin + BATCH, count)))
                writer.write_table(pa.table({"id": some, "text": [next(texts) for _ in some]}, schema=schema))
        return
    with path.open("w", encoding="utf-8") as file:
        file.write({".csv": "id,text\n", ".json": "["}.get(path.suffix, ""))
        for i, text in enumerate(texts):
            row = f'{i:07},"{text}"\n' if path.suffix == ".csv" else json.dumps({"id": i, "text": text})
            file.write(
                row if path.suffix == ".csv" else (",\n" if i else "") + row if path.suffix == ".json" else row + "\n"
            )
        file.write("]" if path.suffix == ".json" else "")


def measure(kind: str, count: int) -> None:
    """Print seconds and peak mebibytes of one file."""
    answering.load_subject = lambda *_: StandIn()  # type: ignore[assignment]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "own.toml").write_text(TASK)
        rows, out = folder / f"in.{kind}", folder / f"out.{kind}"
        write_rows(rows, count)
        began = time.monotonic()
        done, _ = answering.predict_file("stand-in", str(folder / "own.toml"), rows, out, [], None)
        seconds = time.monotonic() - began
    assert done == count
    print(json.dumps([seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024]))


def main(
    rows: Annotated[list[int] | None, typer.Option(help="Sizes of files [default: 10000, 100000, 1000000].")] = None,
    only: Annotated[str, typer.Option(help="One kind of file.")] = "",
) -> None:
    """A line for every kind and size."""
    print("| file | rows | seconds | peak, MiB |\n|---|---|---|---|")
    for kind in [only] if only else KINDS:
        for count in rows or (10_000, 100_000, 1_000_000):
            code = f"from benchmarks.predicting import measure; measure({kind!r}, {count})"
            done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
            seconds, peak = json.loads(done.stdout.splitlines()[-1])
            print(f"| {kind} | {count:,} | {seconds:.1f} | {peak:.0f} |", flush=True)


if __name__ == "__main__":
    typer.run(main)
