"""The style of the report's pictures, and those that matplotlib draws as inline SVG, without a display; `svg.py` draws others.

A picture is part of the page, not a file beside it: letters stay text in the page's own font, ink and background are the
page's CSS colours (so light, dark and print need one drawing), ids carry the picture's name (so pictures do not share them),
and nothing in it depends on the clock. Colours are Okabe and Ito's, safe for the colour-blind; dashes tell lines apart where
colour cannot.
"""

import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
from markupsafe import Markup, escape
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

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


def line_style(index: int) -> tuple[str, tuple[float, ...]]:
    """Colour and dashes of the line number `index`; 24 differ."""
    return COLOURS[index % len(COLOURS)], DASHES[index // len(COLOURS) % len(DASHES)]


def point_style(index: int) -> tuple[str, str, str]:
    """Colour, marker, and the marker as a letter for the points number `index`; 42 differ."""
    return COLOURS[index % len(COLOURS)], *MARKERS[index % len(MARKERS)]


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
