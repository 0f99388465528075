"""Lines over number of examples and over scales, as inline SVG in the style of `plots.py`.

The axis of examples is logarithmic between its ends; none (the start itself, untrained) stands apart at the left and all rows
("full") at the right, joined by thin lines because the distance to them has no meaning. Bands and, at lone points, bars are
95% t intervals over seeds. A few lines share a panel; more than `MOST` would hide each other, so each gets a small panel of its
own, in which the line of nothing is dashed and the others are grey. All pictures of an experiment have the same axes.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from math import ceil, log10
from textwrap import fill
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from cpeft.report.render.plots import COLOURS, INK, STYLE, Curve, inline, line_style
from cpeft.report.vectors.lines import Shots, rising

MOST = 5  # lines whose bands can be told apart in one panel
GREY = "#8c96a0"  # of the lines behind the one that a small panel is about; seen on white and on black
DASHED = (3.0, 2.0)
COLUMNS, LETTERS = 2, 34  # of small panels side by side; of a line of their titles


class Point(NamedTuple):
    """A mean over seeds; `interval` is None of one seed."""

    shots: Shots
    mean: float
    interval: tuple[float, float] | None


Lines = Mapping[str, Sequence[Point]]  # by name, points in rising order


@dataclass(frozen=True)
class Frame:
    """The axes that pictures share: places of numbers of examples in decades, and the range of scores."""

    places: Mapping[Shots, float]
    scores: tuple[float, float]
    axis: str

    @classmethod
    def of(cls, pictures: Iterable[Lines], axis: str) -> "Frame":
        every = [point for lines in pictures for points in lines.values() for point in points]
        ends = [end for point in every for end in (point.mean, *(point.interval or ()))]
        margin = 0.04 * (max(ends) - min(ends)) or 1.0
        places = _places(rising({point.shots for point in every}))
        return cls(places, (min(ends) - margin, max(ends) + margin), axis)

    @property
    def span(self) -> float:
        return max(self.places.values()) - min(self.places.values())

    def set_on(self, axes: Axes, tick: float) -> None:
        """Limits and ticks; `tick` is the least distance of two in parts of the axis."""
        axes.set_xlim(min(self.places.values()) - 0.07 * self.span, max(self.places.values()) + 0.07 * self.span)
        axes.set_xticks(*zip(*_ticks(self.places, tick * self.span), strict=True))
        axes.set_ylim(*self.scores)
        axes.yaxis.set_major_locator(MaxNLocator(5))


def shot_curves(lines: Lines, styles: Mapping[str, int], frame: Frame, name: str, label: str, metric: str) -> Markup:
    """One panel of a few lines in their `line_style`."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(3.4, 2.3), layout="constrained")
        axes = figure.add_subplot()
        apart = 0.02 * frame.span
        for order, (line, points) in enumerate(lines.items()):
            _line(axes, *line_style(styles[line]), points, frame.places, apart * (order - (len(lines) - 1) / 2))
        frame.set_on(axes, 0.12)
        axes.set_xlabel(frame.axis)
        axes.set_ylabel(metric)
        return inline(figure, name, label)


def shot_panels(lines: Lines, base: str, frame: Frame, name: str, label: str, metric: str) -> Markup:
    """A small panel for every line; `base` is dashed in all but its own."""
    titles = {line: fill(line, LETTERS) for line in lines}
    rows = ceil(len(lines) / COLUMNS)
    high = 1.05 * rows + 0.35 + 0.12 * sum(title.count("\n") for title in titles.values()) / COLUMNS
    with matplotlib.rc_context({**STYLE, "axes.titlesize": 8, "xtick.labelsize": 7.5, "ytick.labelsize": 7.5}):
        figure = Figure(figsize=(4.0, high), layout="constrained")
        grid = figure.subplots(rows, COLUMNS, sharex=True, sharey=True, squeeze=False).ravel()
        for axes, (line, points) in zip(grid, lines.items(), strict=False):
            for other in (others for others in lines if others not in (line, base)):
                axes.plot(*_means(lines[other], frame.places), color=GREY, alpha=0.65, **_thin(lines[other], 0.7))
            if base in lines and line != base:
                axes.plot(*_means(lines[base], frame.places), color=INK, dashes=DASHED, **_thin(lines[base], 1.1))
            _line(axes, COLOURS[0], (), points, frame.places, 0.0)
            frame.set_on(axes, 0.2)
            axes.set_title(titles[line], loc="left", pad=2)
        for axes in grid[len(lines) :]:
            axes.set_axis_off()
        for axes in grid[len(lines) - COLUMNS : len(lines)]:
            axes.tick_params(labelbottom=True)
        figure.supxlabel(frame.axis, fontsize=8.5)
        figure.supylabel(metric, fontsize=8.5)
        return inline(figure, name, label)


def panels_legend(base: str) -> list[tuple[str, str, tuple[float, ...]]]:
    """What the lines of small panels are: name, colour and dashes."""
    of_base = [(base, "currentColor", DASHED)] if base else []
    return [("the line its panel is named after", COLOURS[0], ()), *of_base, ("each of the others", GREY, ())]


def _means(points: Sequence[Point], places: Mapping[Shots, float]) -> tuple[list[float], list[float]]:
    return [places[point.shots] for point in points], [point.mean for point in points]


def _thin(points: Sequence[Point], width: float) -> dict[str, Any]:
    """How a line behind another is drawn; a lone point has no line to be seen by."""
    return {"linewidth": width, "marker": "o" if len(points) == 1 else "", "markersize": 2.5, "markeredgewidth": 0}


def _line(
    axes: Axes, colour: str, dashes: tuple[float, ...], points: Sequence[Point], places: Mapping[Shots, float],
    shift: float,
) -> None:  # fmt: skip
    """Mean and interval; `shift` moves lone points of different lines apart, in decades."""
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
