"""Out of memory: recognise it, free what can be freed, try again with half the tokens."""

import gc
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch

from cpeft.data.encode import EncodedRow, Shape, micro_batches

X = TypeVar("X")


def out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that memory ran out, on a GPU or on a CPU."""
    known = isinstance(error, torch.OutOfMemoryError | MemoryError)
    return known or any(words in str(error).lower() for words in ("out of memory", "can't allocate memory"))


def free() -> None:
    """Give cached memory back."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


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
