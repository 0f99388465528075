"""Two ways of doing the same work, timed in turns in one process: processor time with one thread, medians and quartiles of
the ratio of each round. Machines are shared and noisy; a ratio within a round is what can be trusted."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np
import torch

Work = Callable[[], object]


@dataclass(frozen=True)
class Ratio:
    """Theirs over ours, by round: above 1, ours is faster. Seconds are medians of processor time per round."""

    name: str
    against: str
    check: str
    ours_s: float
    theirs_s: float
    rounds: tuple[float, ...]
    share: float | None = None  # of the machine's own matrix-product peak, useful work of ours

    @property
    def quartiles(self) -> tuple[float, float, float]:
        low, middle, high = np.percentile(self.rounds, [25, 50, 75])
        return float(low), float(middle), float(high)

    def saved(self) -> dict[str, object]:
        low, middle, high = self.quartiles
        return {**asdict(self), "low": low, "median": middle, "high": high, "n": len(self.rounds)}


def compare(name: str, against: str, check: str, ours: Work, theirs: Work, rounds: int, flops: float = 0.0,
            peak: float = 0.0) -> Ratio:  # fmt: skip
    """Both once to warm up, then in turns; every other round theirs goes first."""
    ours(), theirs()
    pairs = []
    for number in range(rounds):
        both = [0.0, 0.0]
        for place in (0, 1) if number % 2 else (1, 0):
            began = time.process_time()
            (ours, theirs)[place]()
            both[place] = time.process_time() - began
        pairs.append(both)
    mine, other = np.median(np.array(pairs), axis=0).tolist()
    share = flops / mine / peak if flops and peak else None
    return Ratio(name, against, check, mine, other, tuple(theirs / ours for ours, theirs in pairs), share)


def peak_of(dtype: torch.dtype, size: int = 2048, rounds: int = 5) -> float:
    """Operations per second of one large matrix product, the best of several."""
    a, b = (torch.randn(size, size).to(dtype) for _ in range(2))
    seconds = []
    for _ in range(rounds + 1):
        began = time.process_time()
        a @ b
        seconds.append(time.process_time() - began)
    return 2 * size**3 / min(seconds[1:])


def table(ratios: list[Ratio]) -> str:
    """As Markdown."""
    lines = ["| what | against | times as fast | quartiles | n | ours | theirs | useful share of peak | checked first |",
             "|---|---|---:|---|---:|---:|---:|---:|---|"]  # fmt: skip
    for each in ratios:
        low, middle, high = each.quartiles
        share = "" if each.share is None else f"{100 * each.share:.0f}%"
        lines.append(
            f"| {each.name} | {each.against} | **{middle:.2f}** | {low:.2f} to {high:.2f} | {len(each.rounds)} | "
            f"{1000 * each.ours_s:.0f} ms | {1000 * each.theirs_s:.0f} ms | {share} | {each.check} |"
        )
    return "\n".join(lines)
