"""Out of memory: recognise it, free what can be freed, try again with half the tokens."""

import gc
from collections.abc import Callable
from typing import TypeVar

import torch

X = TypeVar("X")


def out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that memory ran out, on a GPU or on a CPU."""
    text = str(error).lower()
    known = isinstance(error, torch.OutOfMemoryError | MemoryError)
    return known or "out of memory" in text or "can't allocate memory" in text


def free() -> None:
    """Give cached memory back."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def halving(work: Callable[[int], X], budget: int, floor: int) -> X:
    """`work(budget)`, repeated with half the budget while memory runs out; at `floor` tokens the error stays an error."""
    while True:
        try:
            return work(budget)
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error) or budget <= floor:
                raise
        budget = max(budget // 2, floor)
        free()
