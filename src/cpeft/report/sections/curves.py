"""Learning curves: loss on training batches and score on validation rows over steps, one panel per task or set of tasks
and number of training examples.

Thin lines are runs, thick ones their mean at the steps that every run logged. Where no run has a second point there is no
panel. Long curves keep the lowest and highest of every few points.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import groupby
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.ticker import MaxNLocator

from cpeft.report.render.drawing import Curve, Key, Panel, Picture, Tick, draw_grid, line_style
from cpeft.report.section import Page, section
from cpeft.store.result import RunResult

Logged = tuple[int, RunResult, list[dict[str, Any]]]  # number of the method, result, lines of the log
Scale = Callable[[float], float]
Groups = Mapping[int, Sequence[Curve]]  # the curves of runs by number of the method

LOSS, SCORE = "Training loss, nats per target token (log scale)", "Validation score"
MARGIN = 0.05  # of the range of values and steps, left free at the ends
LOG_TICKS = ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 4, 5, 7))
MOST = 100  # stretches of a long curve, of two points each
MARKED = 12  # points of a mean that are marked one by one


@section("curves", "Learning curves", 100)
def curves(page: Page) -> dict[str, Any] | None:
    """Loss and validation score over steps; per stage, one panel per task and number of examples. Whether a validation chose
    the checkpoint of any run decides what the page says of it."""
    stages: list[tuple[str, list[tuple[str, Picture]]]] = []
    study, chosen = page.study, False
    for stage, members in groupby(study.runs, key=lambda run: run.result.stage):
        runs = [(study.numbers[run.method], run.result, run.folder.log()) for run in members]
        chosen = chosen or any(validations(records) > 1 for *_, records in runs)
        if pictures := curve_pictures(runs, f"curve-{len(stages)}", list(study.numbers), stage):
            stages.append((stage, pictures))
    return {"stages": stages, "chosen": chosen} if stages else None


def validations(records: Sequence[Mapping[str, Any]]) -> int:
    """How many checkpoints of a run were scored on validation rows: of two or more the best one counts."""
    return sum("headline" in record for record in records)


def curve_pictures(runs: Sequence[Logged], name: str, methods: Sequence[str], stage: str) -> list[tuple[str, Picture]]:
    """Heading and picture of losses, a panel per set of tasks and number of examples, and of scores, a panel per task and
    number of examples; `methods` by their numbers."""
    loss: dict[str, dict[int, list[Curve]]] = {}
    scores: dict[str, dict[int, list[Curve]]] = {}
    for index, result, records in runs:
        tasks, few = result.tasks, "" if result.few_shot == "full" else f", {result.few_shot} examples"
        _add(loss, ", ".join(tasks) + " together" * (len(tasks) > 1) + few, index, records, "loss")
        for task in tasks:
            metric = result.data[task].headline
            _add(scores, f"{task}{few} ({metric})", index, records, f"validation/{task}/{metric}")
    loss, scores = (
        {
            title: curves
            for title, curves in panels.items()
            if any(len(run) > 1 for runs in curves.values() for run in runs)
        }
        for panels in (loss, scores)
    )  # a point is no curve
    used = sorted({index for panels in (loss, scores) for curves in panels.values() for index in curves})
    keys = [Key(methods[index], *line_style(index)) for index in used]
    drawn = (
        (LOSS, f"{name}-loss", _panels(loss, "Training loss", log=True)),
        (SCORE, f"{name}-score", _panels(scores, "Validation score")),
    )
    return [(about, Picture(file, f"{about}, stage {stage}", panels, keys)) for about, file, panels in drawn if panels]


def _add(
    panels: dict[str, dict[int, list[Curve]]], title: str, index: int, records: list[dict[str, Any]], key: str
) -> None:
    curve = [(r["step"], r[key]) for r in records if isinstance(r.get(key), int | float) and math.isfinite(r[key])]
    if curve:
        panels.setdefault(title, {}).setdefault(index, []).append(curve)


def _panels(panels: Mapping[str, Groups], about: str, log: bool = False) -> list[Panel]:
    return [
        Panel(title, f"{about} over steps, {title}, {sum(map(len, curves.values()))} runs",
              partial(draw_curves, curves=curves, log=log))
        for title, curves in panels.items()
    ]  # fmt: skip


def draw_curves(axes: Axes, curves: Groups, log: bool = False) -> None:
    """One panel of a few methods. With `log` the value axis holds logarithms to base 10, if all values have one."""
    points = [point for runs in curves.values() for run in runs for point in run]
    log = log and all(value > 0 for _, value in points)
    scale: Scale = math.log10 if log else float
    values, last = [scale(value) for _, value in points], max(step for step, _ in points)
    free = MARGIN * (max(values) - min(values)) or (0.1 if log else 1.0)
    axes.set_ylim(min(values) - free, max(values) + free)
    axes.set_xlim(0, last * (1 + MARGIN))
    draw_grid(axes, _steps(last), (_log_ticks if log else _ticks)(*axes.get_ylim()), "step")
    for index, runs in curves.items():
        _lines(axes, index, runs, scale)


def _steps(last: float) -> list[Tick]:
    ticks = MaxNLocator(4, integer=True).tick_values(0, last)
    return [(tick, f"{tick:,.0f}") for tick in ticks if 0 <= tick <= last * (1 + MARGIN)]


def _ticks(low: float, high: float) -> list[Tick]:
    return [(tick, _number(tick)) for tick in MaxNLocator(5).tick_values(low, high) if low <= tick <= high]


def _log_ticks(low: float, high: float) -> list[Tick]:
    """The sparsest round values that are three."""
    ticks: list[Tick] = []
    for digits in LOG_TICKS:
        every = [digit * 10.0**power for power in range(-9, 10) for digit in digits]
        ticks = [(math.log10(tick), _number(tick)) for tick in every if low <= math.log10(tick) <= high]
        if len(ticks) >= 3:
            break
    return ticks


def _number(value: float) -> str:
    return f"{value:.6g}".replace("-", "−")


def _lines(axes: Axes, index: int, runs: Sequence[Curve], scale: Scale) -> None:
    colour, dashes = line_style(index)
    pattern = (0, dashes) if dashes else "-"
    *thin, mean = ([(x, scale(y)) for x, y in _thinned(curve)] for curve in (*runs, _mean(runs)))
    runs_drawn = LineCollection(thin, colors=colour, linewidths=0.7, linestyles=[pattern], alpha=0.5)
    axes.add_collection(runs_drawn, autolim=False)
    if mean:
        marker = "o" if len(mean) <= MARKED else ""
        axes.plot(*zip(*mean, strict=True), color=colour, linewidth=1.8, linestyle=pattern, marker=marker, markersize=3)


def _thinned(curve: Curve) -> Curve:
    """A long curve by the lowest and the highest point of every stretch, in their order."""
    if len(curve) <= 2 * MOST:
        return curve
    stretches = (curve[part[0] : part[-1] + 1] for part in np.array_split(np.arange(len(curve)), MOST))
    ends = ({min(stretch, key=lambda p: p[1]), max(stretch, key=lambda p: p[1])} for stretch in stretches)
    return [point for pair in ends for point in sorted(pair)]


def _mean(runs: Sequence[Curve]) -> Curve:
    """At the steps that all runs have."""
    tables = [dict(run) for run in runs]
    steps = sorted(set.intersection(*(set(table) for table in tables)))
    means = np.mean([[table[step] for step in steps] for table in tables], axis=0).tolist()
    return list(zip(steps, means, strict=True))
