"""python -m benchmarks.scaling [--out DIR]: how cost grows, one plot each.

Prompt length, input length, batch, gang, sources, and the number of runs in a store. Processor time with one thread, T5-small
widths with two layers, medians of three; the dashed line is linear growth from the smallest point: what is below it grows more
slowly.
"""

import json
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator

from benchmarks import scene, startup
from benchmarks.scene import Ours, frozen, learner, model, rows_of
from cpeft.data.encode import collate
from cpeft.data.rows import EncodedRow
from cpeft.methods.base import PromptContext
from cpeft.options.training import GangOptions
from cpeft.report.page import write_report
from cpeft.store.status import status_of

ROUNDS = 3
LAYERS = 2


def seconds(work: Callable[[], object]) -> float:
    """Median processor time, after one to warm up."""
    work()
    found = []
    for _ in range(ROUNDS):
        began = time.process_time()
        work()
        found.append(time.process_time() - began)
    return float(np.median(found))


def rows_of_length(count: int, length: int) -> list[EncodedRow]:
    rng = np.random.default_rng(0)
    return [EncodedRow((*rng.integers(3, scene.V, length - 1).tolist(), 1), (10, 1)) for _ in range(count)]


def step(rows: Sequence[EncodedRow], batch: int, prompt: int = scene.P, gang: int = 1) -> Callable[[], None]:
    lm = frozen(model("small", layers=LAYERS))
    learners = [learner(lm, seed=i, length=prompt) for i in range(gang)]
    return Ours(learners, rows, batch, GangOptions())


def mixture(sources: int) -> Callable[[], object]:
    lm = frozen(model("small", layers=1))
    method = learner(lm, "attempt", sources).method
    rows = collate(rows_of("MNLI", 16), 0)
    context = PromptContext(lm.embed(rows.source_BL).float(), rows.mask_BL, rows.task_B)
    return lambda: method(context).prompt_BPD.sum().backward()


def stores(counts: Sequence[int]) -> dict[str, dict[int, float]]:
    """`status` and `report` over stores of so many copies of one run."""
    found: dict[str, dict[int, float]] = {"status, runs in the store": {}, "report, runs in the store": {}}
    with tempfile.TemporaryDirectory() as place:
        store = startup.one_run(Path(place))
        for count in counts:
            startup.many_runs(store, count)
            for name, work in (("status", lambda: status_of(store)), ("report", lambda: write_report(store))):
                began = time.process_time()
                work()
                found[f"{name}, runs in the store"][count] = time.process_time() - began
    return found


def main(
    out: Annotated[Path, typer.Option(help="Where scaling.json and scaling.svg go.")] = Path("build/bench"),
) -> None:
    torch.set_num_threads(1)
    short = rows_of("SST-2", 64)
    found = {
        "step, prompt rows": {p: seconds(step(short, 8, prompt=p)) for p in (10, 25, 50, 100, 200, 400)},
        "step, input tokens": {n: seconds(step(rows_of_length(8, n), 8)) for n in (16, 32, 64, 128, 256, 512)},
        "step, rows of a batch": {b: seconds(step(short, b)) for b in (1, 2, 4, 8, 16, 32, 64)},
        "step of a gang, members": {k: seconds(step(short, 8, gang=k)) for k in (1, 2, 4, 8, 16)},
        "mixture, sources": {s: seconds(mixture(s)) for s in (1, 2, 4, 8, 16, 32, 64)},
        **stores((100, 300, 1000, 3000, 10_000)),
    }
    out.mkdir(parents=True, exist_ok=True)
    (out / "scaling.json").write_text(json.dumps(found, indent=1))
    draw(found, out / "scaling.svg")
    for name, points in found.items():
        slope = float(np.polyfit(np.log(list(points)), np.log(list(points.values())), 1)[0])
        print(f"{name}: grows with power {slope:.2f}; " + ", ".join(f"{a}: {b:.3g} s" for a, b in points.items()))


def draw(found: dict[str, dict[int, float]], path: Path) -> None:
    """One small plot each, both axes logarithmic, with linear growth as a dashed line."""
    figure = Figure(figsize=(12, 6), layout="constrained")
    for axes, (name, points) in zip(figure.subplots(2, 4).flat, found.items(), strict=False):
        x, y = np.array(list(points)), np.array(list(points.values()))
        axes.loglog(x, y, "o-", color="#0072b2")
        axes.loglog(x, y[0] * x / x[0], "--", color="#7f7f7f", linewidth=0.8)
        axes.set_xticks(x, [f"{value:,}" for value in x], fontsize=8)
        axes.minorticks_off()
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.set_xlabel(name.partition(", ")[2])
        axes.set_ylabel("seconds")
        axes.set_title(name.partition(", ")[0], fontsize=10)
    for axes in figure.axes[len(found) :]:
        axes.remove()
    figure.savefig(path)


if __name__ == "__main__":
    typer.run(main)
