"""The pictures of the report: learning curves and heat maps as inline SVG, drawn by matplotlib without a display.

A picture is part of the page, not a file beside it: letters stay text in the page's own font, ink and background are the
page's CSS colours (so light, dark and print need one drawing), ids carry the picture's name (so pictures do not share them),
and nothing in it depends on the clock. Colours are Okabe and Ito's, safe for the colour-blind; dashes tell lines apart where
colour cannot.
"""

import io
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator

OWN = "target"  # the target's own prompt among the candidates of a mixture
Panel = tuple[str, Markup]  # title, picture
Curve = Sequence[tuple[float, float]]  # (step, value) of one run
Point = tuple[float, float, tuple[float, float] | None]  # x, y, interval of y

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")
DASHES: tuple[tuple[float, ...], ...] = ((), (5, 2), (1.5, 1.5), (7, 2, 1.5, 2))
MARKERS = (("o", "●"), ("s", "■"), ("^", "▲"), ("D", "◆"), ("v", "▼"), ("P", "✚"), ("X", "✖"))
# Colours that stand for the page's own; they are swapped for CSS once a picture is drawn.
INK, RULE, PAPER = "#010203", "#040506", "#070809"
PAGE = {INK: "currentColor", RULE: "var(--rule)", PAPER: "var(--paper)"}
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none", "svg.hashsalt": "cpeft", "text.parse_math": False, "font.size": 8.5,
    "text.color": INK, "axes.labelcolor": INK, "xtick.color": INK, "ytick.color": INK, "axes.edgecolor": RULE,
    "axes.linewidth": 0.8, "axes.grid": True, "axes.spines.top": False, "axes.spines.right": False, "grid.color": RULE,
    "grid.linewidth": 0.5, "xtick.major.size": 0, "ytick.major.size": 0, "figure.facecolor": "none", "axes.facecolor": "none",
}  # fmt: skip
BLUES = LinearSegmentedColormap.from_list("weights", ["#f3f7fb", "#a9cbe6", "#3f86bf", "#084a7d"])
LUMINANCE = (0.2126, 0.7152, 0.0722)
LOG_TICKS = ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 4, 5, 7))
CELL_IN = 0.56  # width of a heat map's cell; heights are 0.34 inch


def line_style(index: int) -> tuple[str, tuple[float, ...]]:
    """Colour and dashes of the line number `index`; 24 differ."""
    return COLOURS[index % len(COLOURS)], DASHES[index // len(COLOURS) % len(DASHES)]


def point_style(index: int) -> tuple[str, str, str]:
    """Colour, marker, and the marker as a letter for the points number `index`; 42 differ."""
    return COLOURS[index % len(COLOURS)], *MARKERS[index % len(MARKERS)]


def learning_curves(curves: Mapping[int, Sequence[Curve]], name: str, label: str, log: bool = False) -> Markup:
    """One panel: thin lines are runs, thick ones their mean at the steps that every run has; keys are `line_style` numbers.
    Where no run has a second point the panel sets the groups side by side instead."""
    points = [point for runs in curves.values() for run in runs for point in run]
    flat = all(len(run) == 1 for runs in curves.values() for run in runs)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(3.0, 1.85), layout="constrained")
        axes = figure.add_subplot()
        for place, (index, runs) in enumerate(curves.items()):
            colour, dashes = line_style(index)
            if flat:
                values = [run[0][1] for run in runs]
                axes.plot([place] * len(values), values, "o", color=colour, markersize=4, alpha=0.6, markeredgewidth=0)
                axes.plot([place - 0.25, place + 0.25], [np.mean(values)] * 2, color=colour, linewidth=1.8)
                continue
            pattern = (0, dashes) if dashes else "-"
            for run in runs:
                axes.plot(*_columns(run), color=colour, linewidth=0.7, alpha=0.5, linestyle=pattern)
            mean = _mean(runs)
            marker = "o" if len(mean) <= 12 else ""
            axes.plot(*_columns(mean), color=colour, linewidth=1.8, linestyle=pattern, marker=marker, markersize=3)
        _scales(axes, points, log)
        if flat:
            axes.set_xlim(-0.75, len(curves) - 0.25)
            axes.set_xticks([])
        steps = sorted({f"{step:,}" for step, _ in points})
        axes.set_xlabel("step" if not flat else f"at step {steps[0]}" if len(steps) == 1 else "at the last step")
        return inline(figure, name, label)


def _scales(axes: Axes, points: Sequence[tuple[float, float]], log: bool) -> None:
    """Few and round ticks; steps count from 0."""
    axes.set_xlim(left=0)
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(5))
    if log:
        low, high = min(y for _, y in points), max(y for _, y in points)
        axes.set_yscale("log")
        for digits in LOG_TICKS:  # the sparsest that gives three ticks
            ticks = [digit * 10.0**power for power in range(-9, 10) for digit in digits]
            ticks = [tick for tick in ticks if low / 1.1 <= tick <= high * 1.1]
            if len(ticks) >= 3:
                break
        axes.yaxis.set_major_locator(FixedLocator(ticks))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter("{x:g}")


def scatter(groups: Mapping[int, Sequence[Point]], name: str, axes_of: tuple[str, str]) -> Markup:
    """Points with their intervals, the zero line among them; keys are `point_style` numbers, `axes_of` titles of x and y."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(4.2, 2.8), layout="constrained")
        axes = figure.add_subplot()
        axes.axhline(0, color=INK, linewidth=0.8, dashes=(2, 2))
        for index, points in groups.items():
            colour, marker, _ = point_style(index)
            for x, y, interval in points:
                if interval:
                    axes.plot([x, x], interval, color=colour, linewidth=1.6, alpha=0.35)
                axes.plot([x], [y], marker, color=colour, markersize=5.5, markeredgewidth=0)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.set_xlabel(axes_of[0])
        axes.set_ylabel(axes_of[1])
        label = f"{axes_of[1]} over {axes_of[0]}, {sum(map(len, groups.values()))} pairs"
        return inline(figure, name, label)


def heat_map(rows: Sequence[str], columns: Sequence[str], values: Mapping[tuple[str, str], float],
             name: str) -> Markup:  # fmt: skip
    """Weights by (row, column), printed in their cells; the target's own prompt stands apart at the right. The scale is
    always 0 to 1, so that maps can be compared."""
    places = {column: i + (0.25 if column == OWN else 0.0) for i, column in enumerate(columns)}
    longest = max(len(row) for row in rows)
    titles = ["own\nprompt" if column == OWN else column for column in columns]
    turned = max(len(title) for title in titles) > 10
    head = 0.2 + 0.045 * max(len(title) for title in titles) if turned else 0.45  # inches
    with matplotlib.rc_context({**STYLE, "axes.grid": False}):
        size = (0.075 * longest + CELL_IN * (len(columns) + 0.5), 0.34 * len(rows) + head)
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.add_subplot()
        for (row, column), value in values.items():
            x, y = places[column], rows.index(row)
            colour = BLUES(float(np.clip(value, 0, 1)))
            dark = np.dot(np.power(colour[:3], 2.2), LUMINANCE) < 0.2
            axes.fill([x, x + 1, x + 1, x], [y, y, y + 1, y + 1], facecolor=colour, edgecolor=PAPER, linewidth=2)
            axes.text(x + 0.5, y + 0.5, weight_text(value), ha="center", va="center_baseline",
                      color="#ffffff" if dark else "#10202e")  # fmt: skip
        axes.set_xlim(0, max(places.values()) + 1)
        axes.set_ylim(len(rows), 0)
        axes.set_xticks([place + 0.5 for place in places.values()], titles, rotation=35 if turned else 0,
                        ha="left" if turned else "center", rotation_mode="anchor")  # fmt: skip
        axes.set_yticks(np.arange(len(rows)) + 0.5, list(rows))
        axes.tick_params(top=False, labeltop=True, bottom=False, labelbottom=False)
        axes.spines[:].set_visible(False)
        best = {row: max((values.get((row, c), -1.0), c) for c in columns)[1] for row in rows}
        told = "; ".join(f"{row}: {best[row]} {weight_text(values[row, best[row]])}" for row in rows)
        return inline(figure, name, f"Heat map of attention weights. Largest of each target: {told}", scale=False)


def weight_text(value: float) -> str:
    """A weight with two decimals, small ones as such instead of a nought."""
    return "<.01" if 0 < value < 0.005 else f"{value:.2f}".removeprefix("0")


def curve_panels(runs: Sequence[tuple[int, dict[str, Any], list[dict[str, Any]]]], name: str
                 ) -> tuple[list[Panel], list[Panel], list[int]]:  # fmt: skip
    """Loss panels per set of tasks, score panels per task, and the line styles in use, of runs given as (line style, result,
    lines of metrics.jsonl)."""
    loss: dict[str, dict[int, list[Curve]]] = {}
    scores: dict[str, dict[int, list[Curve]]] = {}
    for index, result, records in runs:
        tasks = result["tasks"]
        _add(loss, ", ".join(tasks) + " together" * (len(tasks) > 1), index, records, "loss")
        for task in tasks:
            metric = result["data"][task]["headline"]
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
        drawn.append((title, learning_curves(curves, f"{name}-{i}", label, log)))
    return drawn


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


def attention_maps(groups: Sequence[Mapping[str, Sequence[Weights]]]) -> list[dict[str, Any]]:
    """A heat map and a line per target for every group of runs (targets with the weights of each seed); columns and rows
    stand in one order in all of them, the target's own prompt last."""
    names = dict.fromkeys(name for tasks in groups for runs in tasks.values() for each in runs for name in each.mean)
    columns = sorted(names, key=lambda name: name == OWN)
    targets = list(dict.fromkeys(task for tasks in groups for task in tasks))
    maps = []
    for i, found in enumerate(groups):
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
        picture = heat_map(list(tasks), columns, values, f"map-{i}")
        maps.append({"picture": picture, "lines": lines, "candidates": len(columns)})
    return maps


def _columns(curve: Curve) -> tuple[list[float], list[float]]:
    return [step for step, _ in curve], [value for _, value in curve]


def _mean(runs: Sequence[Curve]) -> Curve:
    tables = [dict(run) for run in runs]
    steps = sorted(set.intersection(*(set(table) for table in tables))) if tables else []
    return [(step, float(np.mean([table[step] for table in tables]))) for step in steps]


def inline(figure: Figure, name: str, label: str, scale: bool = True) -> Markup:
    """The figure as an `<svg>` element for a page; `scale` lets it fill its column."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>\s*|<defs>\s*<style.*?</defs>\s*|<!--.*?-->\s*", "", text, flags=re.S)
    used = set(re.findall(r'(?:url\(#|href="#)([\w-]+)', text))
    text = re.sub(r"<[^>]*>", lambda tag: _tag(tag[0], name, used), text)
    for drawn, page in PAGE.items():
        text = text.replace(drawn, page)
    kind = "plot fill" if scale else "plot"
    opening = f'<svg class="{kind}" role="img" aria-label="{escape(label)}" id="{name}" '
    return Markup(text.replace("<svg ", opening, 1).strip())


def _tag(tag: str, name: str, used: set[str]) -> str:
    """One tag as it stands in a page: no namespaces, ids only where they are used, hundredths of a point."""
    tag = re.sub(r' (xmlns(:\w+)?|version)="[^"]*"', "", tag).replace("xlink:href", "href")
    tag = re.sub(r' id="([^"]+)"', lambda m: f' id="{name}-{m[1]}"' if m[1] in used else "", tag)
    tag = re.sub(r'(url\(#|href="#)', rf"\1{name}-", tag)
    return re.sub(r"(\d\.\d\d)\d+", r"\1", tag)
