"""Out of memory: recognise it, free what can be freed, try again with half the tokens. And a bound on what oneDNN keeps."""

import ctypes
import gc
import os
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch

from cpeft.data.encode import Shape, micro_batches
from cpeft.data.rows import EncodedRow

X = TypeVar("X")

KERNELS = 256  # a step and an evaluation use some 50; each costs about a millisecond to make and 0.4 MiB to keep
CACHES = ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY")  # of oneDNN, of what torch puts between


def bound_kernels() -> None:
    """Let this process, and those it starts, keep `KERNELS` compiled products, unless the environment says how many.

    oneDNN compiles a product for every shape of its operands and keeps 1024 of them; torch keeps 1024 descriptions of them
    beside. Batches without padding have a shape of their own each, few of which come back: a run adds to these caches what no
    later run asks for. Both are given their sizes before the first product, and not after."""
    for name in CACHES:
        os.environ.setdefault(name, str(KERNELS))


def out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that memory ran out, on a GPU or on a CPU."""
    known = isinstance(error, torch.OutOfMemoryError | MemoryError)
    return known or any(words in str(error).lower() for words in ("out of memory", "can't allocate memory"))


def free() -> None:
    """Give cached memory back."""
    gc.collect()
    trim()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def trim() -> None:
    """Give memory that was freed back to the system. The C library keeps what lies between pieces in use: after evaluations
    of many shapes as much again as a small model needs."""
    if give_back := getattr(ctypes.CDLL(None), "malloc_trim", None):  # glibc's
        give_back(0)


def in_groups(
    work: Callable[[list[EncodedRow]], X], rows: Sequence[EncodedRow], shape: Shape, budget: int
) -> list[tuple[list[int], X]]:
    """Places of rows of like width and `work` done on them, at most `budget` tokens at once, or half as many while memory
    runs out; where single rows do not fit the error stays an error."""
    widest = max(map(shape.width, rows), default=1)
    while True:
        groups = micro_batches(range(len(rows)), lambda i: shape.width(rows[i]), budget)
        try:
            return [(group, work([rows[i] for i in group])) for group in groups]
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error) or budget <= widest:
                raise
        budget = max(budget // 2, widest)
        free()
