"""Pictures of a report, drawn by matplotlib without a display: as SVG inside the page, and as SVG and PDF files.

Letters stay text, and the same store gives the same bytes. Inside the page ink, rules and background are the page's CSS
colours, so that light mode, dark mode and print need one drawing, and ids start with the name of the picture, so that no two
share one. A page has the panels of a picture one by one, to let them flow into its width, with the legend in HTML above them;
a file has all panels and the legend in one figure. Axes are placed by fixed margins: a layout engine would draw each twice.
Lengths are points. Colours are Okabe and Ito's, safe for the colour-blind; dashes tell lines apart where colour cannot.
"""

import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from textwrap import wrap
from typing import Any, NamedTuple
from xml.etree import ElementTree

import matplotlib
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

Curve = Sequence[tuple[float, float]]  # (step, value) of one run

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#6a51a3", "#8c564b")
DASHES: tuple[tuple[float, ...], ...] = ((), (5, 2), (1.5, 1.5), (7, 2, 1.5, 2))
MARKERS = {"o": "●", "s": "■", "^": "▲", "D": "◆", "v": "▼", "P": "✚", "X": "✖"}  # with the letter that looks like each
# Ink, rules and background of the light page; in pictures of the page itself they become its CSS colours.
INK, RULE, PAPER = "#1b2128", "#d8dde3", "#fefefe"
PAGE = {INK: "currentColor", RULE: "var(--rule)", PAPER: "var(--paper)"}
STYLE: dict[Any, Any] = {
    "font.sans-serif": ["DejaVu Sans"],
    "svg.fonttype": "none", "svg.hashsalt": "cpeft", "pdf.fonttype": 42, "text.parse_math": False, "font.size": 8.5,
    "text.color": INK, "axes.labelcolor": INK, "xtick.color": INK, "ytick.color": INK, "axes.edgecolor": RULE,
    "axes.linewidth": 0.8, "axes.grid": True, "axes.spines.top": False, "axes.spines.right": False, "grid.color": RULE,
    "grid.linewidth": 0.5, "xtick.major.size": 0, "ytick.major.size": 0, "figure.facecolor": "none",
    "axes.facecolor": "none", "axes.labelsize": 8.5, "axes.titlesize": 8.5, "axes.titlelocation": "left",
    "axes.titlepad": 4, "legend.fontsize": 8.5, "legend.frameon": False, "legend.borderaxespad": 0.2,
    "legend.labelspacing": 0.3,
}  # fmt: skip
BEYOND = re.compile(r"(?<=\.\d\d)\d+")  # hundredths of a point
SVG, XLINK = "{http://www.w3.org/2000/svg}", "{http://www.w3.org/1999/xlink}"
LETTER, LINE = 5.4, 12.5  # width of a letter in a line of wide ones, and height of a line of text
SAMPLE = 40.0  # width of the sample of a line before a legend's text


Tick = tuple[float, str]  # place and name


class Margins(NamedTuple):
    """What a panel leaves free around its axes."""

    left: float = 44
    bottom: float = 32
    right: float = 9
    top: float = 7


MARGINS = Margins()


class Key(NamedTuple):
    """An entry of a legend: a line, or points where it has a marker."""

    label: str
    colour: str
    dashes: tuple[float, ...] = ()
    marker: str = ""

    @property
    def css_colour(self) -> str:
        return PAGE.get(self.colour, self.colour)

    @property
    def letter(self) -> str:
        return MARKERS.get(self.marker, "")

    def sample(self) -> Line2D:
        pattern: Any = "" if self.marker else (0, self.dashes) if self.dashes else "-"
        return Line2D([], [], color=self.colour, linestyle=pattern, marker=self.marker, linewidth=2)


class Panel(NamedTuple):
    """One pair of axes with the title above it; `label` is read out in its place."""

    title: str
    label: str
    draw: Callable[[Axes], object]


@dataclass(frozen=True)
class Picture:
    """Panels of one size that share a legend; where a picture `grows`, its panels fill the columns of a page."""

    name: str
    label: str
    panels: Sequence[Panel]
    keys: Sequence[Key] = ()
    size: tuple[float, float] = (216, 133)  # of a panel with its margins
    margins: Margins = MARGINS
    columns: int = 3  # panels side by side in a file
    grows: bool = True

    def __html__(self) -> Markup:
        """The panels for a page, each a `<figure>`; the legend is not among them."""
        names = [f"{self.name}-{i}" if len(self.panels) > 1 else self.name for i in range(len(self.panels))]
        figures = Markup("").join(self._panel(*each) for each in zip(self.panels, names, strict=True))
        if len(self.panels) == 1:
            return figures
        return Markup('<div class="{}">{}</div>').format("panels" if self.grows else "pictures", figures)

    def _panel(self, panel: Panel, name: str) -> Markup:
        with matplotlib.rc_context(STYLE):
            figure = Figure(figsize=(self.size[0] / 72, self.size[1] / 72))
            panel.draw(self._axes(figure, 0, 0))
            picture = _inline(figure, name, panel.label, self.grows)
        if not self.grows:
            box = Markup('<div class="scroll" role="region" aria-label="{}" tabindex="0">{}</div>')
            picture = box.format(f"{self.label}: {panel.title}", picture)
        title = Markup("<figcaption>{}</figcaption>").format(panel.title) if panel.title else ""
        return Markup("<figure>{}{}</figure>\n").format(title, picture)

    def _axes(self, figure: Figure, x: float, y: float) -> Axes:
        """Axes inside the panel whose lower left corner is at (x, y)."""
        (width, height), edge = self.size, self.margins
        inside = x + edge.left, y + edge.bottom, width - edge.left - edge.right, height - edge.bottom - edge.top
        across, high = figure.get_size_inches() * 72
        return figure.add_axes((inside[0] / across, inside[1] / high, inside[2] / across, inside[3] / high))

    def write(self, folder: Path) -> list[Path]:
        """Write the picture as SVG and as PDF; their paths."""
        return [self.save(folder / f"{self.name}.{kind}") for kind in ("svg", "pdf")]

    def save(self, path: Path) -> Path:
        """Write all panels and the legend as a file of a format that matplotlib knows by its suffix."""
        undated = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}
        with matplotlib.rc_context(STYLE):
            path.parent.mkdir(parents=True, exist_ok=True)
            self.figure().savefig(path, metadata=undated.get(path.suffix), facecolor="white", dpi=150)
        return path

    def figure(self) -> Figure:
        """Titled panels in rows, and the legend below them."""
        (width, height), columns = self.size, min(self.columns, len(self.panels))
        titles = [wrap(panel.title, int((width - self.margins.left) / LETTER)) for panel in self.panels]
        head = LINE * max(map(len, titles))
        key = SAMPLE + LETTER * max((len(each.label) for each in self.keys), default=0)
        beside = max(1, int(columns * width // key))
        foot = LINE * ceil(len(self.keys) / beside) + 8 if self.keys else 0
        rows = ceil(len(self.panels) / columns)
        across, high = max(columns * width, key), rows * (head + height) + foot
        figure = Figure(figsize=(across / 72, high / 72))
        for place, (panel, title) in enumerate(zip(self.panels, titles, strict=True)):
            row, column = divmod(place, columns)
            axes = self._axes(figure, column * width, high - (row + 1) * (head + height))
            panel.draw(axes)
            axes.set_title("\n".join(title))
        if self.keys:
            labels = [each.label for each in self.keys]
            figure.legend([each.sample() for each in self.keys], labels, loc="lower left", ncols=beside)
        return figure


def swatch(method: int) -> Markup:
    """The colour of a method, to stand before its name in a table."""
    return Markup('<i class="swatch" style="background: {}"></i>').format(line_style(method)[0])


def line_style(method: int, line: int = 0) -> tuple[str, tuple[float, ...]]:
    """Colour and dashes of the line number `line` of a method in one panel; those of 24 methods differ."""
    return COLOURS[method % len(COLOURS)], DASHES[(method // len(COLOURS) + line) % len(DASHES)]


def point_style(index: int) -> tuple[str, str]:
    """Colour and marker of the points number `index`; 42 differ."""
    return COLOURS[index % len(COLOURS)], list(MARKERS)[index % len(MARKERS)]


def draw_grid(axes: Axes, x_ticks: Sequence[Tick], y_ticks: Sequence[Tick], name: str) -> None:
    """The grid of a panel of which there may be hundreds, with the name of its x axis: one artist for all lines, and plain
    text, because matplotlib's own axes of ticks take as long as all else in a panel. Limits must be set before."""
    axes.set_axis_off()
    (left, right), (low, high) = axes.get_xlim(), axes.get_ylim()
    edges = [[(left, high), (left, low), (right, low)]]
    rules = [[(left, y), (right, y)] for y, _ in y_ticks] + [[(x, low), (x, high)] for x, _ in x_ticks]
    widths = [0.5] * len(rules) + [0.8]
    axes.add_collection(LineCollection([*rules, *edges], colors=RULE, linewidths=widths, zorder=0.5), autolim=False)
    point = axes.figure.get_dpi() / 72  # in pixels
    across, down = 3.5 * point / axes.bbox.width, point / axes.bbox.height
    for y, words in y_ticks:
        axes.text(-across, y, words, ha="right", va="center_baseline", transform=axes.get_yaxis_transform())
    for x, words in x_ticks:
        axes.text(x, -3.5 * down, words, ha="center", va="top", transform=axes.get_xaxis_transform())
    axes.text(0.5, (-16 if x_ticks else -4) * down, name, ha="center", va="top", transform=axes.transAxes)


def _inline(figure: Figure, name: str, label: str, grows: bool) -> Markup:
    """The figure as an `<svg>` element of a page; ids that nothing refers to are left out, as is what the page's CSS says."""
    written = io.StringIO()
    figure.savefig(written, format="svg", metadata={"Date": None})
    root = ElementTree.fromstring(written.getvalue())
    for unused in [*root.findall(f"{SVG}metadata"), *root.findall(f"{SVG}defs[{SVG}style]")]:
        root.remove(unused)
    references = {element.get(f"{XLINK}href") or element.get("clip-path") or "" for element in root.iter()}
    used = {found[1] for reference in references if (found := re.search(r"#([\w-]+)", reference))}
    for element in root.iter():
        element.tag = element.tag.removeprefix(SVG)
        known = {key.removeprefix(XLINK): value for key, value in element.attrib.items()}
        if known.get("id") not in used:
            known.pop("id", None)
        element.attrib = {key: _of_page(key, value, name) for key, value in known.items()}
    shown = {key: root.attrib[key] for key in ("width", "height", "viewBox")}
    root.attrib = {"class": "plot fill" if grows else "plot", "role": "img", "aria-label": label, "id": name, **shown}
    return Markup(ElementTree.tostring(root, encoding="unicode").strip())


def _of_page(key: str, value: str, name: str) -> str:
    """An attribute with ids under the name of the picture, colours of the page, and hundredths of a point."""
    if key == "id":
        return f"{name}-{value}"
    if key in ("href", "clip-path"):
        return value.replace("#", f"#{name}-")
    for drawn, css in PAGE.items():
        value = value.replace(drawn, css)
    return BEYOND.sub("", value)
