"""Draws a store: one panel per task, every seed of every stage and method as a dot, the majority class as a line.

python tools/plot_store.py STORE OUT.svg [STAGE ...]
"""

import sys

import matplotlib.pyplot as plt

from cpeft.report.study import Study
from cpeft.report.summary import MethodScore, summarise
from cpeft.store.run_folder import Store

COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"]  # Okabe and Ito, safe for the colour-blind


def draw(cells: list[MethodScore], out: str) -> None:
    tasks = list(dict.fromkeys(cell.task for cell in cells if cell.kind != "fixed"))
    rows = list(dict.fromkeys((cell.stage, cell.method) for cell in cells if cell.kind != "fixed"))
    methods = list(dict.fromkeys(method for _, method in rows))
    figure, axes = plt.subplots(
        1, len(tasks), sharey=True, figsize=(2 + 1.7 * len(tasks), 0.8 + 0.28 * len(rows)), layout="constrained"
    )
    for axis, task in zip(axes, tasks, strict=True):
        for cell in (cell for cell in cells if cell.task == task):
            if cell.kind == "fixed":
                axis.axvline(cell.mean, color="0.5", linewidth=1, linestyle="--")
                continue
            y, colour = rows.index((cell.stage, cell.method)), COLOURS[methods.index(cell.method) % len(COLOURS)]
            axis.scatter(cell.values, [y] * cell.seeds, s=18, color=colour, alpha=0.8)
            axis.plot([cell.mean] * 2, [y - 0.3, y + 0.3], color=colour, linewidth=2)
        axis.set_title(f"{task} ({next(c.metric for c in cells if c.task == task)})", fontsize=9)
        axis.grid(axis="y", linewidth=0.3)
        axis.tick_params(labelsize=8)
    axes[0].set_yticks(range(len(rows)), [f"{stage}: {method}" for stage, method in rows], fontsize=8)
    axes[0].invert_yaxis()
    figure.savefig(out, metadata={"Date": None})


if __name__ == "__main__":
    store, out, *stages = sys.argv[1:]
    chosen = [run for run in Study.of(Store(store)).runs if not stages or run.result.stage in stages]
    draw(summarise(chosen), out)
