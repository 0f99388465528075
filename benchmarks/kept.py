"""python -m benchmarks.kept [--shape toy|real] [--count N] [--length P]

What keys and values of a prompt cost a decoder-only model: to compute them, to write them to the disk, and to read them back,
in milliseconds of processor time. Weights are random. A file that was just written is read from the system's memory; in wall
time also from the device, after the system has let go of it.
"""

import os
import time
from collections.abc import Callable
from typing import Annotated

import torch
import typer

from benchmarks import scene
from benchmarks.served import Kind, Shape, drawn_prompts, model
from cpeft.models.fast.causal_reading import KeptPrompts
from cpeft.models.fast.packed_llama import PackedLlama
from cpeft.models.fast.tensor_file import TensorFile


@torch.no_grad()
def main(
    shape: Annotated[Shape, typer.Option()] = "real",
    count: Annotated[int, typer.Option(min=2, help="Prompts, each on its own.")] = 32,
    length: Annotated[int, typer.Option(help="Rows of a prompt.")] = 100,
) -> None:
    """Measure and print."""
    torch.set_num_threads(1)
    lm = scene.frozen(model(Kind.LLAMA, shape))
    assert isinstance(lm.packed, PackedLlama)
    prompts, disk = drawn_prompts(lm, count, length), TensorFile(2**33)
    kept = KeptPrompts(lm.packed, 2**40, disk)
    computed = each_ms(count, lambda i: kept.of([i], [prompts[i]]))
    size, kept.most_bytes = kept.bytes / count / 2**20, 0
    written = each_ms(1, lambda _: kept.of([count - 1], [prompts[-1]])) / (count - 1)  # all others leave memory
    read = each_ms(count - 1, lambda i: kept.of([i], [prompts[i]]))
    os.fsync(disk.file.fileno())
    os.posix_fadvise(disk.file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    device = each_ms(count - 1, lambda i: kept.of([i], [prompts[i]]), time.perf_counter)
    assert kept.read_back == 2 * (count - 1)
    print(f"{size:.2f} MiB a prompt; ms: computed {computed:.1f}, written {written:.1f}, read back {read:.1f}")
    print(f"read back from the device, wall time: {device:.1f}")


def each_ms(count: int, do: Callable[[int], object], now: Callable[[], float] = time.process_time) -> float:
    """The time of each call, on average."""
    began = now()
    for i in range(count):
        do(i)
    return 1000 * (now() - began) / count


if __name__ == "__main__":
    typer.run(main)
