"""What an archive holds. It is a zip of plain files, readable without this program:

    archive.json      names, versions, and size and SHA-256 of every other file
    README.md         what this is, the table of scores, the claims
    scores.csv        the data frame of `cpeft.scores`, one row per run, task and metric
    claims.json       what the statistics of the report say: comparisons with intervals, p-values and verdicts
    store/            recipes, and of every finished run its settings, log, answers, method, prompts and result
    attached/         files that the author added

The same store gives the same bytes, so the SHA-256 of the archive identifies it.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from cpeft.store.run_folder import RunFolder

SCHEMA = 1  # of `archive.json`; raise when a field is added or changes its meaning
INDEX, README, SCORES, CLAIMS = "archive.json", "README.md", "scores.csv", "claims.json"
STORE, ATTACHED = "store", "attached"
SUFFIXES = (".json", ".jsonl", ".toml", ".parquet", ".safetensors", ".md", ".py")  # of what stands in `store`
LARGEST = 64 * 2**20  # bytes of a file of a run: an archive is for prompts, not for fine-tuned models

Bytes = Annotated[int, Field(ge=0)]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class FileEntry(BaseModel):
    """Size in bytes and SHA-256 of a file of an archive."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bytes: Bytes
    sha256: Digest


class Index(BaseModel):
    """`archive.json`."""

    model_config = ConfigDict(frozen=True)

    format: Literal["cpeft archive"] = "cpeft archive"
    schema_: int = Field(default=SCHEMA, alias="schema", ge=1)
    name: str = Field(description="Name of the study.")
    versions: dict[str, str] = Field(description="Versions of the packages that wrote the archive.")
    runs: int = Field(description="Finished runs in the archive.")
    unfinished: tuple[str, ...] = Field(description="Runs of the recipes that are not in it, and why.")
    left_out: tuple[str, ...] = Field(description="Files of its runs that are not in it, and why.")
    files: dict[str, FileEntry] = Field(description="Every other file, by path.")


def run_files(run: RunFolder) -> Iterator[tuple[str, int]]:
    """Path below the run folder and size in bytes of every file of a finished run that an archive may hold."""
    parts = (
        run.config_path,
        run.log_path,
        run.predictions_path,
        run.method_path,
        run.prompts_path,
        run.similarity_path,
        run.result_path,
    )
    for part in parts:
        for path in sorted(part.rglob("*")) if part.is_dir() else [part]:
            if path.is_file():
                yield path.relative_to(run.path).as_posix(), path.stat().st_size


def order_manifests(store: Path) -> None:
    """Set the modification times of a store's manifests by their names: they decide the order of runs, and a zip has none."""
    for place, path in enumerate(sorted(store.glob("*.study.json"))):
        os.utime(path, (place, place))
