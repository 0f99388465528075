"""The table of a store: mean, standard deviation, interval and number of seeds per task and method.

The interval is Student's t over seeds where there are at least two (it holds the spread of training), else the bootstrap
over test rows of the one run (it does not, and is marked `rows`). Standard deviations have n - 1 in the denominator.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from rich.markup import escape
from rich.table import Table
from scipy import stats

LEVEL = 0.95
BOUNDS = dict.fromkeys(("matthews", "pearson", "spearman"), -100.0)  # lowest value where it is not 0


@dataclass(frozen=True)
class Cell:
    """One task and method: `deviation` and t interval over `seeds`; `kind` says where the interval comes from."""

    task: str
    method: str
    metric: str
    mean: float
    deviation: float | None
    low: float
    high: float
    values: tuple[float, ...]
    kind: str
    trainable: int | None

    @property
    def seeds(self) -> int:
        return len(self.values)


def summarise(results: Sequence[dict[str, Any]], metric: str | None = None) -> list[Cell]:
    """One cell per task, metric and method, with a `majority class` row per task; `metric` None means each headline."""
    groups: dict[tuple[str, str, str], list[tuple[dict[str, Any], dict[str, float]]]] = {}
    majority: dict[tuple[str, str], float] = {}
    for result in results:
        for task, about in result["data"].items():
            name = metric or about["headline"]
            if name not in result["scores"][task]:
                continue
            groups.setdefault((task, name, _method(result)), []).append((result, result["scores"][task][name]))
            if about["majority"] is not None and metric is None:
                majority[(task, name)] = about["majority"]
    cells = [_cell(*key, runs) for key, runs in groups.items()]
    cells += [
        Cell(task, "majority class", name, value, None, value, value, (value,), "fixed", 0)
        for (task, name), value in majority.items()
    ]
    order = {task: i for i, task in enumerate(dict.fromkeys(cell.task for cell in cells))}
    return sorted(cells, key=lambda c: (order[c.task], c.method != "majority class"))


def _method(result: dict[str, Any]) -> str:
    return str(result["label"])


def _cell(task: str, metric: str, method: str, runs: Sequence[tuple[dict[str, Any], dict[str, float]]]) -> Cell:
    values = np.array([score["value"] for _, score in runs])
    trainable = runs[0][0].get("trainable")
    if len(values) < 2:
        score = runs[0][1]
        return Cell(
            task,
            method,
            metric,
            float(values[0]),
            None,
            score["low"],
            score["high"],
            (float(values[0]),),
            "rows",
            trainable,
        )
    mean, deviation = float(values.mean()), float(values.std(ddof=1))
    half = float(stats.t.ppf((1 + LEVEL) / 2, len(values) - 1)) * deviation / np.sqrt(len(values))
    low, high = max(mean - half, BOUNDS.get(metric, 0.0)), min(mean + half, 100.0)
    return Cell(task, method, metric, mean, deviation, low, high, tuple(map(float, values)), "seeds", trainable)


HEAD = ("task", "method", "metric", "mean", "sd", "95% interval", "seeds", "trained")


def _fields(cell: Cell) -> tuple[str, ...]:
    deviation = "" if cell.deviation is None else f"{cell.deviation:.2f}"
    interval = (
        "" if cell.kind == "fixed" else f"[{cell.low:.1f}, {cell.high:.1f}]{' rows' if cell.kind == 'rows' else ''}"
    )
    seeds = "" if cell.kind == "fixed" else str(cell.seeds)
    trained = "" if cell.trainable is None else f"{cell.trainable:,}"
    return (cell.task, cell.method, cell.metric, f"{cell.mean:.2f}", deviation, interval, seeds, trained)


def rich_table(cells: Sequence[Cell], title: str) -> Table:
    """The table for a terminal."""
    caption = "95% interval: Student's t over seeds; marked `rows`: bootstrap over the test rows of one run"
    table = Table(title=title, caption=caption)
    for i, name in enumerate(HEAD):
        table.add_column(name, justify="left" if i < 3 else "right", overflow="fold")
    for i, cell in enumerate(cells):
        last = i + 1 == len(cells) or cells[i + 1].task != cell.task
        table.add_row(*map(escape, _fields(cell)), end_section=last)
    return table


def markdown_table(cells: Sequence[Cell]) -> str:
    """The table as Markdown, every seed's score in the last column."""
    lines = ["| " + " | ".join((*HEAD, "every seed")) + " |", "|" + "---|" * (len(HEAD) + 1)]
    for cell in cells:
        every = "" if cell.kind == "fixed" else " ".join(f"{value:.2f}" for value in cell.values)
        lines.append("| " + " | ".join((*_fields(cell), every)) + " |")
    return "\n".join(lines) + "\n"
