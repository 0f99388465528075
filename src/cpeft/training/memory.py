"""Out of memory: recognise it, free what can be freed, try again with half the tokens. Also a bound on oneDNN's caches."""

import ctypes
import gc
import os
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch

from cpeft.data.encode import BatchLayout, micro_batches
from cpeft.data.rows import EncodedRow

X = TypeVar("X")

KERNELS = 256  # a step and an evaluation use some 50; each costs about a millisecond to make and 0.4 MiB to keep
CACHES = ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY")  # of oneDNN, of what torch puts between


def bound_kernels() -> None:
    """Bound oneDNN's caches in this process and its children to `KERNELS` products, unless the environment sets the bound.

    oneDNN compiles a product for every shape of its operands and keeps 1024 of them; torch keeps 1024 descriptions of them
    beside. Batches without padding have many shapes, few of which occur again, so the caches fill with entries that are never
    used. Both bounds must be set before the first product."""
    for name in CACHES:
        os.environ.setdefault(name, str(KERNELS))


def out_of_memory(error: BaseException) -> bool:
    """Whether an exception is an out-of-memory error, of a GPU or a CPU."""
    known = isinstance(error, torch.OutOfMemoryError | MemoryError)
    return known or any(words in str(error).lower() for words in ("out of memory", "can't allocate memory"))


def free() -> None:
    """Give cached memory back."""
    gc.collect()
    trim()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def trim() -> None:
    """Give memory that was freed back to the system. The C library keeps free blocks between blocks in use: after evaluations
    of many shapes as much memory as a small model takes."""
    if give_back := getattr(ctypes.CDLL(None), "malloc_trim", None):  # glibc's
        give_back(0)


def in_groups(
    work: Callable[[list[EncodedRow]], X], rows: Sequence[EncodedRow], layout: BatchLayout, budget: int
) -> list[tuple[list[int], X]]:
    """Places of rows of like width and `work` done on them, at most `budget` tokens at once, or half as many while memory
    runs out; where single rows do not fit the error stays an error."""
    widest = max(map(layout.width, rows), default=1)
    while True:
        groups = micro_batches(range(len(rows)), lambda i: layout.width(rows[i]), budget)
        try:
            return [(group, work([rows[i] for i in group])) for group in groups]
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error) or budget <= widest:
                raise
        budget = max(budget // 2, widest)
        free()
