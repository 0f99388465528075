"""Learning curves: loss on training batches and score on validation rows over steps, one panel per task or set of tasks.

Thin lines are runs, thick ones their mean at the steps that every run logged. Where no run has a second point a panel sets the
groups side by side instead. Long curves keep the lowest and highest of every few points.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib.ticker import MaxNLocator

from cpeft.report.render.plots import Curve, line_style
from cpeft.report.render.svg import LETTER, Drawing
from cpeft.report.section import Page, section
from cpeft.store.result import RunResult

Panel = tuple[str, Markup]  # title, picture
Logged = tuple[int, RunResult, list[dict[str, Any]]]  # line style, result, lines of the log
Groups = Mapping[int, Sequence[Curve]]  # the curves of runs by `line_style` number

WIDTH, HEIGHT = 216.0, 133.0
TOP, RIGHT, BOTTOM = 6.0, 9.0, 29.0
MARGIN = 0.05  # of the range of values, left free at both ends
LOG_TICKS = ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 4, 5, 7))
MOST = 100  # stretches of a long curve, of two points each
MARKED = 12  # points of a mean that are marked one by one


@section("curves", "Learning curves", 100)
def curves(page: Page) -> dict[str, Any] | None:
    """Loss and validation score over steps; per stage, one panel per task. Whether a validation chose the checkpoint of any run
    decides what the page says of it."""
    stages: list[Any] = []
    study = page.study
    chosen = False
    for stage, members in groupby(study.runs, key=lambda run: run.result.stage):
        runs = [(study.labels.index(run.label), run.result, run.folder.log()) for run in members]
        loss, scores, used = curve_panels(runs, f"curve-{len(stages)}")
        chosen = chosen or any(validations(records) > 1 for *_, records in runs)
        if loss or scores:
            legend = [(study.labels[index], *line_style(index)) for index in used]
            rows = [("Training loss, nats per target token (log scale)", loss), ("Validation score", scores)]
            stages.append((stage, legend, rows))
    return {"stages": stages, "chosen": chosen} if stages else None


def validations(records: Sequence[Mapping[str, Any]]) -> int:
    """How many checkpoints of a run were scored on validation rows: of two or more the best one counts."""
    return sum("headline" in record for record in records)


def curve_panels(runs: Sequence[Logged], name: str) -> tuple[list[Panel], list[Panel], list[int]]:
    """Loss panels per set of tasks, score panels per task, and the line styles in use."""
    loss: dict[str, dict[int, list[Curve]]] = {}
    scores: dict[str, dict[int, list[Curve]]] = {}
    for index, result, records in runs:
        tasks = result.tasks
        _add(loss, ", ".join(tasks) + " together" * (len(tasks) > 1), index, records, "loss")
        for task in tasks:
            metric = result.data[task].headline
            _add(scores, f"{task} ({metric})", index, records, f"validation/{task}/{metric}")
    used = sorted({index for panels in (loss, scores) for curves in panels.values() for index in curves})
    return _panels(loss, f"{name}-loss", "Training loss"), _panels(scores, f"{name}-score", "Validation score"), used


def _add(
    panels: dict[str, dict[int, list[Curve]]], title: str, index: int, records: list[dict[str, Any]], key: str
) -> None:
    curve = [(r["step"], r[key]) for r in records if isinstance(r.get(key), int | float) and math.isfinite(r[key])]
    if curve:
        panels.setdefault(title, {}).setdefault(index, []).append(curve)


def _panels(panels: dict[str, dict[int, list[Curve]]], name: str, about: str) -> list[Panel]:
    drawn = []
    for i, (title, curves) in enumerate(panels.items()):
        log = about == "Training loss" and all(y > 0 for runs in curves.values() for run in runs for _, y in run)
        label = f"{about} over steps, {title}, {sum(map(len, curves.values()))} runs"
        drawn.append((title, panel(curves, f"{name}-{i}", label, log)))
    return drawn


@dataclass(frozen=True)
class Axes:
    """Where steps and values stand in a panel; ends of the value axis are logarithms where `log` says so."""

    steps: tuple[float, float]
    values: tuple[float, float]
    log: bool
    left: float

    @classmethod
    def of(cls, points: Curve, steps: tuple[float, float], log: bool) -> "Axes":
        """For all points of a panel; the margin at the left is as wide as the longest number beside it."""
        values = [math.log10(y) if log else y for _, y in points]
        free = MARGIN * (max(values) - min(values)) or (0.1 if log else 1.0)
        axes = cls(steps, (min(values) - free, max(values) + free), log, 0.0)
        longest = max((len(_number(tick)) for tick in axes.ticks()), default=1)
        return cls(steps, axes.values, log, 7 + LETTER * longest)

    def x(self, step: float) -> float:
        low, high = self.steps
        return self.left + (step - low) / (high - low) * (WIDTH - RIGHT - self.left)

    def y(self, value: float) -> float:
        low, high = self.values
        share = ((math.log10(value) if self.log else value) - low) / (high - low)
        return HEIGHT - BOTTOM - share * (HEIGHT - BOTTOM - TOP)

    def ticks(self) -> list[float]:
        """Few and round values; on a logarithmic axis the sparsest that are three."""
        low, high = self.values
        if not self.log:
            return [float(tick) for tick in MaxNLocator(5).tick_values(low, high) if low <= tick <= high]
        ticks: list[float] = []
        for digits in LOG_TICKS:
            every = [digit * 10.0**power for power in range(-9, 10) for digit in digits]
            ticks = [tick for tick in every if low <= math.log10(tick) <= high]
            if len(ticks) >= 3:
                break
        return ticks


def _number(value: float) -> str:
    return f"{value:.6g}".replace("-", "−")


def panel(curves: Groups, name: str, label: str, log: bool = False) -> Markup:
    """One panel of a few groups of runs."""
    points = [point for runs in curves.values() for run in runs for point in run]
    flat = all(len(run) == 1 for runs in curves.values() for run in runs)
    last = max(step for step, _ in points)
    steps = (-0.75, len(curves) - 0.25) if flat else (0.0, last * (1 + MARGIN) or 1.0)
    axes, drawing = Axes.of(points, steps, log), Drawing(WIDTH, HEIGHT)
    _grid(drawing, axes, [] if flat else _steps(last))
    for place, (index, runs) in enumerate(curves.items()):
        if flat:
            _group(drawing, axes, place, index, [run[0][1] for run in runs])
        else:
            _lines(drawing, axes, index, runs)
    ends = sorted({f"{step:,}" for step, _ in points})
    said = "step" if not flat else f"at step {ends[0]}" if len(ends) == 1 else "at the last step"
    drawing.text((axes.left + WIDTH - RIGHT) / 2, HEIGHT - 5, said)
    return drawing.markup(name, label)


def _steps(last: float) -> list[float]:
    ticks = MaxNLocator(4, integer=True).tick_values(0, last)
    return [float(tick) for tick in ticks if 0 <= tick <= last * (1 + MARGIN)]


def _grid(drawing: Drawing, axes: Axes, steps: Sequence[float]) -> None:
    top, bottom, right = TOP, HEIGHT - BOTTOM, WIDTH - RIGHT
    for tick in axes.ticks():
        drawing.rule((axes.left, axes.y(tick)), (right, axes.y(tick)))
        drawing.text(axes.left - 3.5, axes.y(tick) + 3, _number(tick), "end")
    for step in steps:
        drawing.rule((axes.x(step), top), (axes.x(step), bottom))
        drawing.text(axes.x(step), bottom + 11, f"{step:,.0f}")
    drawing.rule((axes.left, top), (axes.left, bottom), 0.8)
    drawing.rule((axes.left, bottom), (right, bottom), 0.8)


def _group(drawing: Drawing, axes: Axes, place: int, index: int, values: Sequence[float]) -> None:
    """Dots for runs and a bar for their mean."""
    colour, mean = line_style(index)[0], float(np.mean(values))
    drawing.dots([(axes.x(place), axes.y(value)) for value in values], colour, 2, 0.6)
    drawing.line([(axes.x(place + side), axes.y(mean)) for side in (-0.25, 0.25)], colour, 1.8)


def _lines(drawing: Drawing, axes: Axes, index: int, runs: Sequence[Curve]) -> None:
    colour, dashes = line_style(index)
    mean = _mean(runs)
    for run in runs:
        drawing.line([(axes.x(x), axes.y(y)) for x, y in _thinned(run)], colour, 0.7, dashes, 0.5)
    if mean:
        line = [(axes.x(x), axes.y(y)) for x, y in _thinned(mean)]
        drawing.line(line, colour, 1.8, dashes)
        drawing.dots(line if len(line) <= MARKED else [], colour, 1.5)


def _thinned(curve: Curve) -> Curve:
    """A long curve by the lowest and the highest point of every stretch, in their order."""
    if len(curve) <= 2 * MOST:
        return curve
    stretches = (curve[part[0] : part[-1] + 1] for part in np.array_split(np.arange(len(curve)), MOST))
    ends = ({min(stretch, key=lambda p: p[1]), max(stretch, key=lambda p: p[1])} for stretch in stretches)
    return [point for pair in ends for point in sorted(pair)]


def _mean(runs: Sequence[Curve]) -> Curve:
    tables = [dict(run) for run in runs]
    steps = sorted(set.intersection(*(set(table) for table in tables))) if tables else []
    return [(step, float(np.mean([table[step] for table in tables]))) for step in steps]
