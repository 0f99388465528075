"""python -m benchmarks.long_run [--runs 200] [--task mini/mood] [--few-shot 16] [--out DIR]: memory of a long `cpeft run`.

One process works off a recipe of many seeds of three steps, and what it holds is read after every finished run: the resident
set (VmRSS) and the share of it that is its own (Pss), in mebibytes. Every seed draws other rows, so nothing that is kept for
one run is of use to the next. `--task` may name several with commas between, whose runs are done one task after the other.
`long_run.json` has every figure, `long_run.svg` the curve, beside that of an earlier `long_run.json` (`--before FILE`).
"""

import gc
import json
import tempfile
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from matplotlib.figure import Figure
from rich.console import Console

from benchmarks.memory import resident
from cpeft.cli import COLLECT
from cpeft.store.run_folder import Store
from cpeft.study.recipe.recipe import load_recipe
from cpeft.study.runner.plan import Plan
from cpeft.study.runner.worker import run_recipe

SETTLED = 20  # runs, after which nothing should be loaded for the first time


class Watched(Console):
    """Where a command prints; every line that ends a run is a reading."""

    def __init__(self) -> None:
        super().__init__(quiet=True)
        self.rss: list[float] = []
        self.pss: list[float] = []

    def print(self, *objects: Any, **options: Any) -> None:
        if objects and str(objects[0]).startswith("done "):
            self.rss.append(resident("VmRSS"))
            self.pss.append(own())


def own() -> float:
    """Mebibytes of this process, what it shares with others divided among them."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return float(next(line for line in lines if line.startswith("Pss:")).split()[1]) / 1024


def recipe(tasks: list[str], seeds: int, few_shot: str, test_rows: int) -> str:
    return f"""
name = "long"
[model]
name = "mini"
[data]
few_shot = {few_shot if few_shot.isdigit() else f'"{few_shot}"'}
limit_validation = 50
limit_test = {test_rows}
[prompt]
length = 16
[train]
steps = 3
batch = 8
[[stage]]
name = "seeds"
tasks = {tasks}
seeds = {list(range(seeds))}
"""


def measure(text: str) -> Watched:
    """Work the recipe off in this process, into a store that is thrown away."""
    console = Watched()
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "long.toml"
        path.write_text(text)
        run_recipe(Plan(load_recipe(path), Store(Path(place) / "store")), console)
    return console


def growth(values: list[float]) -> float:
    """Mebibytes a run, by least squares, once it has settled."""
    later = values[SETTLED:]
    return float(np.polyfit(np.arange(len(later)), later, 1)[0])


def draw(curves: dict[str, list[float]], title: str, path: Path) -> None:
    figure = Figure(figsize=(7, 3.5), layout="constrained")
    axes = figure.add_subplot()
    for (name, values), colour in zip(curves.items(), ("#0072b2", "#d55e00", "#999999"), strict=False):
        axes.plot(np.arange(1, len(values) + 1), values, color=colour, label=name)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("finished runs")
    axes.set_ylabel("MiB")
    axes.set_title(title, fontsize=10)
    axes.legend(frameon=False)
    figure.savefig(path)


def main(
    runs: Annotated[int, typer.Option(min=SETTLED + 2)] = 200,
    task: str = "mini/mood",
    few_shot: Annotated[str, typer.Option(help="Rows per class, or full.")] = "16",
    test_rows: int = 100,
    out: Annotated[Path, typer.Option(help="Where long_run.json and long_run.svg go.")] = Path("build/bench"),
    before: Annotated[Path | None, typer.Option(help="A long_run.json to draw beside.")] = None,
) -> None:
    torch.set_num_threads(1)
    gc.set_threshold(*COLLECT)  # as in the command
    tasks = task.split(",")
    found = measure(recipe(tasks, -(-runs // len(tasks)), few_shot, test_rows))
    out.mkdir(parents=True, exist_ok=True)
    told = {"task": task, "few_shot": few_shot, "test_rows": test_rows, "rss": found.rss, "pss": found.pss}
    (out / "long_run.json").write_text(json.dumps(told))
    curves = {"resident set": found.rss, "its own share": found.pss}
    if before:
        curves["resident set, before"] = json.loads(before.read_text())["rss"]
    draw(curves, f"{len(found.rss)} runs of {task}, few_shot = {few_shot}", out / "long_run.svg")
    for number in sorted({1, 5, SETTLED, *range(50, len(found.rss) + 1, 50), len(found.rss)}):
        print(f"after {number} runs: {found.rss[number - 1]:.0f} MiB resident, {found.pss[number - 1]:.0f} MiB its own")
    print(f"from run {SETTLED} on: {growth(found.rss):+.2f} MiB a run, at most {max(found.rss):.0f} MiB")


if __name__ == "__main__":
    typer.run(main)
