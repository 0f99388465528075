"""Two ways of doing the same work, timed in turns in one process: processor time with one thread, then wall time with two.

Medians and quartiles of the ratio of each round: machines are shared and noisy, a ratio within a round can be trusted.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch

from cpeft.models.fast.product import Product

Work = Callable[[], object]


@dataclass(frozen=True)
class Ratio:
    """Theirs over ours, by round: above 1, ours is faster. Seconds are medians per round: of processor time with one thread,
    and in `walls` the ratios of wall time with two. `share` is ours, useful work alone, of the machine's own matrix-product
    peak; `memory` holds the peak of ours and theirs beyond the model (MiB), each in a process of its own."""

    name: str
    against: str
    check: str
    ours_s: float
    theirs_s: float
    rounds: Sequence[float]
    walls: Sequence[float] = ()
    share: float | None = None
    memory: Sequence[float] = ()
    aim: float | None = None

    @property
    def quartiles(self) -> tuple[float, float, float]:
        low, middle, high = np.percentile(self.rounds, [25, 50, 75])
        return float(low), float(middle), float(high)

    def saved(self) -> dict[str, object]:
        low, middle, high = self.quartiles
        return {**asdict(self), "low": low, "median": middle, "high": high, "n": len(self.rounds)}

    @classmethod
    def of(cls, saved: dict[str, object]) -> "Ratio":
        return cls(**{name: saved[name] for name in cls.__dataclass_fields__})  # type: ignore[arg-type]


def compare(
    name: str, against: str, check: str, ours: Work, theirs: Work, rounds: int, walls: int = 0, flops: float = 0.0,
    peak: float = 0.0,
) -> Ratio:  # fmt: skip
    """Both once to warm up, then in turns; every other round theirs goes first. `walls` further rounds with two threads."""
    ours(), theirs()
    pairs = turns(ours, theirs, rounds, time.process_time)
    mine, other = np.median(pairs, axis=0).tolist()
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    timed = turns(ours, theirs, walls, time.perf_counter) if walls else np.empty((0, 2))
    torch.set_num_threads(threads)
    share = flops / mine / peak if flops and peak else None
    return Ratio(
        name, against, check, mine, other, *((each[:, 1] / each[:, 0]).tolist() for each in (pairs, timed)), share
    )


def turns(ours: Work, theirs: Work, rounds: int, clock: Callable[[], float]) -> np.ndarray:
    """Seconds of both by round, [rounds, 2]."""
    pairs = []
    for number in range(rounds):
        both = [0.0, 0.0]
        for place in (0, 1) if number % 2 else (1, 0):
            began = clock()
            (ours, theirs)[place]()
            both[place] = clock() - began
        pairs.append(both)
    return np.array(pairs)


def peak_of(dtype: torch.dtype, rounds: int = 5) -> float:
    """Operations per second of one large matrix product, the best of several by torch's own product and by one whose matrix is
    kept in oneDNN's layout: which is faster depends on the processor. A small one where the processor has no products of this
    number format, which are a hundred times slower there."""
    has_layout = dtype == torch.float32 or torch.ops.mkldnn._is_mkldnn_bf16_supported()
    size = 2048 if has_layout else 256
    a, linear = torch.randn(size, size).to(dtype), torch.nn.Linear(size, size, bias=False).to(dtype)
    arranged = Product([linear], arranged=has_layout)
    seconds = []
    with torch.no_grad():
        for work in (lambda: a @ linear.weight, lambda: arranged.forward(a)):
            for _ in range(rounds + 1):
                began = time.process_time()
                work()
                seconds.append(time.process_time() - began)
    return 2 * size**3 / min(seconds[1:])


def table(ratios: Sequence[Ratio]) -> str:
    """As Markdown."""
    heads = ("what", "against", "times as fast", "quartiles", "n", "two threads, wall", "aim", "ours", "theirs",
             "useful share of peak", "memory, MiB", "checked first")  # fmt: skip
    lines = [f"| {' | '.join(heads)} |", "|---|---|---:|---|---:|---:|---:|---:|---:|---:|---:|---|"]
    for each in ratios:
        low, middle, high = each.quartiles
        wall = f"{np.median(each.walls):.2f} ({len(each.walls)})" if each.walls else ""
        share = "" if each.share is None else f"{100 * each.share:.0f}%"
        aim = "" if each.aim is None else f"{each.aim:g}"
        memory = f"{each.memory[0]:.0f} against {each.memory[1]:.0f}" if each.memory else ""
        cells = (each.name, each.against, f"**{middle:.2f}**", f"{low:.2f} to {high:.2f}", len(each.rounds), wall, aim,
                 f"{1000 * each.ours_s:.0f} ms", f"{1000 * each.theirs_s:.0f} ms", share, memory, each.check)  # fmt: skip
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)
