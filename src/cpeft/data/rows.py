"""A row as token ids."""

from dataclasses import dataclass


@dataclass(frozen=True)
class EncodedRow:
    """Source and target ids of one example; `task` indexes the tasks of the run."""

    source: tuple[int, ...]
    target: tuple[int, ...]
    task: int = 0
