"""Score over number of training examples, drawn as lines with their intervals.

The axis of examples is logarithmic between its ends; none (the start itself, untrained) is apart at the left and all rows
("full") at the right, joined by thin lines because the distance to them has no meaning. Bands and, at lone points, bars are
95% t intervals over seeds; those of more than `MOST` lines would hide each other and are left out. All pictures of an
experiment have the same axis of examples.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from math import log10
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from cpeft.report.render.drawing import Key, Panel, Picture
from cpeft.report.vectors.lines import Shots, rising

MOST = 5  # lines whose bands can be told apart in one panel


class Point(NamedTuple):
    """A mean over seeds; `interval` is None of one seed."""

    shots: Shots
    mean: float
    interval: tuple[float, float] | None


Lines = Mapping[str, Sequence[Point]]  # by name, points in rising order


@dataclass(frozen=True)
class Frame:
    """The axes of a task: places of numbers of examples in decades, which all tasks share, and the range of its scores."""

    places: Mapping[Shots, float]
    scores: tuple[float, float]
    axis: str

    @classmethod
    def of(cls, pictures: Iterable[Lines], own: Lines, axis: str) -> "Frame":
        ends = [end for points in own.values() for point in points for end in (point.mean, *(point.interval or ()))]
        margin = 0.04 * (max(ends) - min(ends)) or 1.0
        places = _places(rising({point.shots for lines in pictures for points in lines.values() for point in points}))
        return cls(places, (min(ends) - margin, max(ends) + margin), axis)

    @property
    def span(self) -> float:
        return max(self.places.values()) - min(self.places.values())

    def set_on(self, axes: Axes, metric: str) -> None:
        """Limits, ticks and names."""
        axes.set_xlim(min(self.places.values()) - 0.07 * self.span, max(self.places.values()) + 0.07 * self.span)
        axes.set_xticks(*zip(*_ticks(self.places, 0.12 * self.span), strict=True))
        axes.set_ylim(*self.scores)
        axes.yaxis.set_major_locator(MaxNLocator(5))
        axes.set_xlabel(self.axis)
        axes.set_ylabel(metric)


@dataclass(frozen=True)
class ShotCurves:
    """The lines of one task; `styles` are those of `line_style`."""

    lines: Lines
    styles: Mapping[str, tuple[str, tuple[float, ...]]]
    frame: Frame
    metric: str

    def picture(self, name: str, label: str) -> Picture:
        """All lines in one panel."""
        keys = [Key(line, *self.styles[line]) for line in self.lines]
        return Picture(name, label, [Panel("", label, self._draw)], keys, size=(245, 166))

    def _draw(self, axes: Axes) -> None:
        apart = 0.02 * self.frame.span
        for order, (line, points) in enumerate(self.lines.items()):
            shift = apart * (order - (len(self.lines) - 1) / 2)
            _line(axes, *self.styles[line], points, self.frame.places, shift)
        self.frame.set_on(axes, self.metric)


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
        elif any(p.interval for p in part):
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
