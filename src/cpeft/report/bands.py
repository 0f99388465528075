"""Lines over number of examples and over scales, as inline SVG in the style of `plots.py`.

The axis of examples is logarithmic between its ends; none (the start itself, untrained) stands apart at the left and all rows
("full") at the right, joined by thin lines because the distance to them has no meaning. Bands and, at lone points, bars are
95% t intervals over seeds.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from math import log10
from typing import NamedTuple

import matplotlib
import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from cpeft.report.lines import Shots, rising
from cpeft.report.plots import COLOURS, STYLE, Curve, inline, line_style


class Point(NamedTuple):
    """A mean over seeds; `interval` is None of one seed."""

    shots: Shots
    mean: float
    interval: tuple[float, float] | None


def shot_curves(lines: Mapping[int, Sequence[Point]], name: str, label: str, axis: str, metric: str) -> Markup:
    """One panel; keys of `lines` are `line_style` numbers, points stand in rising order."""
    places = _places(rising({point.shots for points in lines.values() for point in points}))
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(3.4, 2.3), layout="constrained")
        axes = figure.add_subplot()
        span = max(places.values()) - min(places.values())
        apart = min(0.02, 0.11 / len(lines)) * span  # many lines stand closer, so that all are inside the axes
        for order, (index, points) in enumerate(lines.items()):
            _line(axes, index, points, places, apart * (order - (len(lines) - 1) / 2))
        axes.set_xlim(min(places.values()) - 0.07 * span, max(places.values()) + 0.07 * span)
        axes.set_xticks(*zip(*_ticks(places, 0.12 * span), strict=True))
        axes.yaxis.set_major_locator(MaxNLocator(5))
        axes.set_xlabel(axis)
        axes.set_ylabel(metric)
        return inline(figure, name, label)


def _line(axes: Axes, index: int, points: Sequence[Point], places: Mapping[Shots, float], shift: float) -> None:
    """Mean and interval; `shift` moves lone points of different lines apart, in decades."""
    colour, dashes = line_style(index)
    pattern = (0, dashes) if dashes else "-"
    whole: list[tuple[float, float]] = []
    for _, members in groupby(points, key=lambda point: point.shots if point.shots in (0, "full") else "few"):
        part = list(members)
        lone = len(part) == 1
        x, means = [places[p.shots] + shift * lone for p in part], [p.mean for p in part]
        low, high = zip(*(p.interval or (p.mean, p.mean) for p in part), strict=True)
        if lone:
            axes.plot(x * 2, [*low, *high], color=colour, linewidth=3.5, alpha=0.35)
        else:
            axes.fill_between(x, low, high, color=colour, alpha=0.14, linewidth=0)
        axes.plot(x, means, color=colour, linewidth=1.8, linestyle=pattern, marker="o", markersize=3.5)
        whole += zip(x, means, strict=True)
    axes.plot(*zip(*whole, strict=True), color=colour, linewidth=0.7, linestyle=pattern)


def _places(every: Iterable[Shots]) -> dict[Shots, float]:
    """Decades on the axis; the ends stand half a decade or a fifth of the others' span away."""
    places: dict[Shots, float] = {k: log10(k) for k in every if k != "full" and k > 0}
    low, high = min(places.values()), max(places.values())
    gap = max(0.5, 0.2 * (high - low))
    ends: dict[Shots, float] = {0: low - gap, "full": high + gap}
    return {k: places[k] if k in places else ends[k] for k in every}


def _ticks(places: Mapping[Shots, float], least: float) -> list[tuple[float, str]]:
    """Places and their names, without those that would run into the one before."""
    ticks: list[tuple[float, str]] = []
    for k, place in places.items():
        if not ticks or place - ticks[-1][0] >= least:
            ticks.append((place, str(k)))
    return ticks


def scale_curves(curves: Sequence[Curve], name: str, label: str) -> Markup:
    """One panel of (scale, score): thin lines are sums, the thick one their mean at the scales that all have."""
    tables = [dict(curve) for curve in curves]
    common = sorted(set.intersection(*(set(table) for table in tables)))
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(3.4, 2.1), layout="constrained")
        axes = figure.add_subplot()
        for table in tables:
            axes.plot(list(table), list(table.values()), color=COLOURS[0], linewidth=0.7, alpha=0.5)
        means = [np.mean([table[scale] for table in tables]) for scale in common]
        axes.plot(
            common, means, color=COLOURS[0], linewidth=1.8, marker="o" if len(common) <= 12 else "", markersize=3.5
        )
        axes.yaxis.set_major_locator(MaxNLocator(5))
        if len(common) <= 6:
            axes.set_xticks(common)
        axes.set_xlabel("scale of the summed vectors")
        axes.set_ylabel("mean validation score")
        return inline(figure, name, label)
