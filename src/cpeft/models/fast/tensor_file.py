"""Tensors by key in a temporary file, for what no longer fits into memory.

The file has no name, so nobody else opens it, and it is gone with the process however that ends. It is divided into blocks, and
tensors take any that are free, so that it needs no order however their sizes differ.
"""

import errno
import logging
import math
import mmap
import os
from collections.abc import Callable, Hashable, Iterator, Sequence
from tempfile import TemporaryFile

import torch
from torch import Tensor

BLOCK = 2**16  # bytes
LARGE = 2**20  # bytes

logger = logging.getLogger(__name__)


def mapped(shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    """A tensor without content; a large one in memory of its own, which the system has back as soon as the tensor is gone. In
    the heap, which large tensors leave with holes, the process would grow to several times what is in use."""
    count = math.prod(shape)
    if count * dtype.itemsize < LARGE:
        return torch.empty(*shape, dtype=dtype)
    memory = mmap.mmap(-1, count * dtype.itemsize, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    return torch.frombuffer(memory, dtype=dtype).view(*shape)


class TensorFile:
    """Lists of tensors by key, of at most `most_bytes` together; those go first that were not used for longest. Where the file
    cannot be written or read (a full disk), what it concerns is forgotten: `errors` counts, and the first is logged.

    Raises OSError where no temporary file can be made."""

    def __init__(self, most_bytes: int) -> None:
        self.errors = 0
        self.file = TemporaryFile(buffering=0)  # noqa: SIM115 - open as long as this is
        self._free = list(range(most_bytes // BLOCK))[::-1]
        # what a tensor is like, without content, and its blocks; from the key not used for longest to the last used
        self._stored: dict[Hashable, list[tuple[Tensor, list[int]]]] = {}

    def __contains__(self, key: Hashable) -> bool:
        return key in self._stored

    def touch(self, key: Hashable) -> None:
        """Count this key as used."""
        self._stored[key] = self._stored.pop(key)

    def put(self, key: Hashable, tensors: Sequence[Tensor]) -> None:
        """Store tensors on the CPU in place of those of the key; nothing where the whole file is too small for them."""
        self.forget(key)
        counts = [math.ceil(tensor.nbytes / BLOCK) for tensor in tensors]
        while len(self._free) < sum(counts) and self._stored:
            self.forget(next(iter(self._stored)))
        if len(self._free) < sum(counts):
            return
        stored = [
            (tensor.new_empty(tensor.shape, device="meta"), [self._free.pop() for _ in range(count)])
            for tensor, count in zip(tensors, counts, strict=True)
        ]
        self._stored[key] = stored
        self._move(os.pwrite, key, [tensor.contiguous() for tensor in tensors])

    def get(self, key: Hashable) -> list[Tensor] | None:
        """The tensors of a key, to the last bit, or None."""
        if key not in self._stored:
            return None
        self.touch(key)
        found = [mapped(like.shape, like.dtype) for like, _ in self._stored[key]]
        return found if self._move(_read_into, key, found) else None

    def forget(self, key: Hashable) -> None:
        for _, blocks in reversed(self._stored.pop(key, [])):
            self._free += reversed(blocks)

    def close(self) -> None:
        self.file.close()

    def _move(self, move: Callable[[int, memoryview, int], int], key: Hashable, tensors: Sequence[Tensor]) -> bool:
        """Write the tensors of a key, or read them, and whether that succeeded; the key is forgotten where it did not."""
        try:
            for tensor, (_, blocks) in zip(tensors, self._stored[key], strict=True):
                for part, offset in _spans(blocks, tensor.flatten().view(torch.uint8).numpy().data):
                    if move(self.file.fileno(), part, offset) != len(part):
                        raise OSError(errno.ENOSPC, "a part was not written or read")
        except OSError as error:
            if not self.errors:
                logger.warning("the temporary file of the cache failed, so prompts are read again: %s", error)
            self.errors += 1
            self.forget(key)
            return False
        return True


def _spans(blocks: list[int], content: memoryview) -> Iterator[tuple[memoryview, int]]:
    """Parts of the content and where they stand in the file; what stands in successive blocks is one part."""
    first = 0
    for place in range(1, len(blocks) + 1):
        if place == len(blocks) or blocks[place] != blocks[place - 1] + 1:
            yield content[first * BLOCK : place * BLOCK], blocks[first] * BLOCK
            first = place


def _read_into(descriptor: int, part: memoryview, offset: int) -> int:
    return os.preadv(descriptor, [part], offset)
