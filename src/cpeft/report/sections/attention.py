"""Where the attention of a mixture goes: mean weights over test rows and seeds as heat maps, targets by sources."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.colors import LinearSegmentedColormap

from cpeft.report.render.drawing import Panel, Picture
from cpeft.report.render.heat_map import HeatMap
from cpeft.report.render.numbers import cell, columns, header
from cpeft.report.render.table import Row, Table
from cpeft.report.section import Page, section

OWN = "target"  # the target's own prompt among the candidates of a mixture
OWN_SHOWN = "own prompt"
APART = 0.25  # of the own prompt's column from the others, in cells
BLUES = LinearSegmentedColormap.from_list("weights", ["#f3f7fb", "#a9cbe6", "#3f86bf", "#084a7d"])
STEADY = 0.01  # a standard deviation over rows below which a weight does not depend on the input to speak of

Line = tuple[
    str, str, str, str, str, int
]  # target, largest candidate, its weight, prompts used, spread over rows, seeds


@dataclass(frozen=True)
class Weights:
    """Attention weights of one run and task over its test rows: their mean, and how many prompts a row really uses."""

    mean: dict[str, float]
    used: float  # the mean of exp(entropy) over rows: 1 is one prompt, the number of candidates is all alike
    spread: float  # standard deviation over rows of the weight that varies most: 0 is a mixture that ignores its input

    @classmethod
    def of(cls, weights: np.ndarray, candidates: Sequence[str]) -> "Weights":
        """From weights [rows, candidates]."""
        entropy = -np.sum(weights * np.log(np.clip(weights, 1e-30, None)), axis=1)
        means = dict(zip(candidates, weights.mean(axis=0).tolist(), strict=True))
        return cls(means, float(np.exp(entropy).mean()), round(float(weights.std(axis=0).max()), 9))


@section("attention", "Attention over source prompts", 110)
def attention(page: Page) -> dict[str, Any] | None:
    """Mean attention weights over test rows and seeds, targets by sources, per stage and method."""
    found: dict[tuple[str, str], dict[str, list[Weights]]] = {}
    for key, runs in page.study.groups.items():
        for run in runs:
            for task, weights, candidates in run.weights():
                found.setdefault(key, {}).setdefault(task, []).append(Weights.of(weights, candidates))
    maps = [
        {**each, "table": _concentration(each["group"], each["lines"], number)}
        for number, each in enumerate(maps_of(found), 1)
    ]
    return {"maps": maps, "steady": _steady(maps)} if maps else None


def _steady(maps: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """How many targets have weights that hardly depend on the input, and in which maps."""
    named = [f"{each['group'][1]}: {', '.join(each['steady'])}" for each in maps if each["steady"]]
    tasks, every = (sum(len(each[what]) for each in maps) for what in ("steady", "lines"))
    return {"maps": named, "tasks": tasks, "all": every}


def _concentration(group: tuple[str, str], lines: Sequence[Line], number: int) -> Table:
    stage, method = group
    rows = [
        Row([header(task), cell("own prompt" if largest == OWN else largest), *map(cell, numbers)])
        for task, largest, *numbers, _ in lines
    ]
    what, seeds = f"{method}, stage {stage}", lines[0][-1]
    caption = f"Concentration of attention: {what}, {seeds} seed{'s' * (seeds > 1)}"
    heads = columns("Target", "Largest", "Its weight#", "Effective prompts#", "sd over rows#")
    return Table(f"attention-{number}", caption, heads, [rows], region=f"Concentration of attention, {what}")


def maps_of(groups: Mapping[tuple[str, str], Mapping[str, Sequence[Weights]]]) -> list[dict[str, Any]]:
    """A heat map and a line per target for every stage and method (targets with the weights of each seed); columns and rows
    are in one order in all of them, the target's own prompt last. `steady` are targets whose weights hardly depend on the
    input in any run."""
    every = list(groups.values())
    names = dict.fromkeys(name for tasks in every for runs in tasks.values() for each in runs for name in each.mean)
    columns = sorted(names, key=lambda name: name == OWN)
    targets = list(dict.fromkeys(task for tasks in every for task in tasks))
    maps = []
    for i, (group, found) in enumerate(groups.items()):
        tasks = {task: found[task] for task in targets if task in found}
        values = {
            (task, column): float(np.mean(means))
            for task, runs in tasks.items()
            for column in columns
            if (means := [each.mean[column] for each in runs if column in each.mean])
        }
        lines = []
        for task, runs in tasks.items():
            largest = max((column for column in columns if (task, column) in values), key=lambda c: values[task, c])
            used, spread = np.mean([(each.used, each.spread) for each in runs], axis=0).tolist()
            weight = weight_text(values[task, largest])
            lines.append((task, largest, weight, f"{used:.1f}", weight_text(spread), len(runs)))
        steady = [task for task, runs in tasks.items() if max(each.spread for each in runs) < STEADY]
        picture = heat_map(list(tasks), columns, values, f"map-{i}", f"{group[1]}, stage {group[0]}: targets × sources")
        maps.append({"group": group, "picture": picture, "lines": lines, "steady": steady})
    return maps


def heat_map(rows: Sequence[str], columns: Sequence[str], values: Mapping[tuple[str, str], float],
             name: str, title: str) -> Picture:  # fmt: skip
    """Weights by (row, column), printed in their cells; the target's own prompt stands apart at the right. The scale is
    always 0 to 1, so that maps can be compared."""
    cells = {(rows.index(row), columns.index(column)): value for (row, column), value in values.items()}
    own = columns[-1] == OWN
    shown = [OWN_SHOWN if column == OWN else column for column in columns]
    drawn = HeatMap(
        rows, shown, cells, BLUES, lambda weight: weight, weight_text, APART if own and len(shown) > 1 else 0.0
    )
    best = {row: max((values.get((row, c), -1.0), c) for c in columns)[1] for row in rows}
    largest = "; ".join(f"{row}: {best[row]} {weight_text(values[row, best[row]])}" for row in rows)
    label = f"Heat map of attention weights. Largest of each target: {largest}"
    panel = Panel(title, label, drawn.draw)
    return Picture(name, "Attention weights", [panel], size=drawn.size, margins=drawn.margins, grows=False)


def weight_text(value: float) -> str:
    """A weight with two decimals, small ones as such instead of 0.00."""
    return "<.01" if 0 < value < 0.005 else f"{value:.2f}".removeprefix("0")
