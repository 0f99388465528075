"""Several processes on one run, through accelerate: each takes a share of every step's rows, gradients are summed.

Only the prompt's gradients travel, and every process knows the whole batch, so the step equals the one of a single process
up to the order of a sum. A single process is the usual case and does not need accelerate.
"""

import atexit
import os
from typing import Any, TypeVar

import torch
from torch import Tensor

X = TypeVar("X")


def _leave() -> None:
    """End the process group while the interpreter still stands: gloo's threads abort the process if they outlive it."""
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


class Workers:
    """`rank` of `world` processes."""

    def __init__(self) -> None:
        self.world = int(os.environ.get("WORLD_SIZE", "1"))
        self.rank = int(os.environ.get("RANK", "0"))
        self.first = self.rank == 0  # the one process that writes files
        self._state: Any = None
        if self.world > 1:
            from accelerate import PartialState

            self._state = PartialState(cpu=not torch.cuda.is_available())
            atexit.register(_leave)

    def share(self, items: list[X]) -> list[X]:
        """This process's part of a list."""
        return items[self.rank :: self.world]

    def sum(self, tensors: list[Tensor]) -> None:
        """Add up tensors over all processes, in place."""
        for tensor in tensors if self._state else []:
            torch.distributed.all_reduce(tensor)

    def gather(self, part: list[X]) -> list[X]:
        """The reverse of `share`: every process gets the whole list in its old order."""
        if not self._state:
            return part
        from accelerate.utils import gather_object

        parts = dict(gather_object([(self.rank, part)]))
        return [parts[i % self.world][i // self.world] for i in range(sum(map(len, parts.values())))]

    def agree(self, flag: bool) -> bool:
        """True everywhere if it is true anywhere."""
        if not self._state:
            return flag
        vote = torch.tensor(float(flag), device=self._state.device)
        torch.distributed.all_reduce(vote)
        return bool(vote > 0)

    def broadcast(self, value: X) -> X:
        """The first process's value, in every process."""
        if not self._state:
            return value
        from accelerate.utils import broadcast_object_list

        return broadcast_object_list([value])[0]  # type: ignore[no-any-return]
