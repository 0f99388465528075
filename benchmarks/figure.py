"""The ratios of a run of the benchmark as one figure."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from benchmarks.measure import Ratio

OURS, AIM = "#0072b2", "#d55e00"


def draw(ratios: Sequence[Ratio], path: Path) -> None:
    """A line for every row: the median with its quartiles, the aim as a tick; 1 is the peer's own speed."""
    figure = Figure(figsize=(11, 0.34 * len(ratios) + 1.2), layout="constrained")
    axes = figure.add_subplot()
    for place, each in enumerate(ratios):
        low, middle, high = each.quartiles
        axes.errorbar(
            middle, -place, xerr=[[middle - low], [high - middle]], fmt="o", color=OURS, capsize=3, markersize=5
        )
        axes.annotate(
            f"{middle:.2f}",
            (high, -place),
            xytext=(8, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
        )
        if each.aim:
            axes.plot(each.aim, -place, "|", color=AIM, markersize=13, markeredgewidth=2)
    axes.axvline(1, color="#7f7f7f", linewidth=0.8)
    axes.set_xscale("log")
    ticks = [0.5, 1, 2, 5, 10, 20, 50]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.set_yticks(
        [-i for i in range(len(ratios))], [f"{each.name}\nagainst {each.against}" for each in ratios], fontsize=6.5
    )
    axes.set_xlim(0.4, max(60, *(each.rounds and max(each.rounds) * 1.4 for each in ratios)))
    axes.set_xlabel("times as fast, processor time with one thread: median and quartiles; orange: the aim")
    axes.grid(axis="x", color="#e0e0e0")
    axes.set_axisbelow(True)
    figure.savefig(path)
