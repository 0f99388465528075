"""python -m tools.mini_tasks [NAME ...]: write the rows of the `mini/*` tasks into the package.

A file of rows carries the fingerprint of all rows of its task, by which run ids know them."""

import sys
from importlib import import_module
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from cpeft.config import digest
from cpeft.tasks.mini import NAMES, ROWS
from tools.mini_tasks.family import Family, rows


def family(name: str) -> Family:
    """The family of `mini/<name>`."""
    found: Family = import_module(f"tools.mini_tasks.{name}").FAMILY
    return found


def write(name: str, folder: Path = ROWS) -> None:
    """Write every split of `mini/<name>` below a folder."""
    splits = rows(family(name))
    mark = {"fingerprint": digest(splits)}
    (folder / name).mkdir(parents=True, exist_ok=True)
    for split, content in splits.items():
        table = pa.Table.from_pylist(content).replace_schema_metadata(mark)
        pq.write_table(table, folder / name / f"{split}.parquet", compression="zstd", compression_level=19)


if __name__ == "__main__":
    for name in sys.argv[1:] or NAMES:
        write(name)
