"""Similarity on the terminal and as a picture: heat maps side by side on one scale, from -1 to 1 for all of them.

The published picture is a triangle of tasks, its cells averages over origins (Task Prompt Vectors, Belanec et al. 2024); where
every task has one prompt the cells are the pairs themselves. Orange is below zero and blue above, which the colour-blind can
tell apart, and every cell says its number. Draws from plain JSON (`Similarity.card`); this room imports no torch.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure

from cpeft.errors import ConfigError
from cpeft.report.render import plots
from cpeft.report.render.plots import LUMINANCE

Panel = tuple[str, Sequence[str], np.ndarray]  # title, names, matrix with nan where there is nothing to show
Rows = list[dict[str, Any]]
Card = Mapping[str, Any]  # of `prompts.similarity.Similarity.card`

TITLES = {
    "flattened": "cosine of the flattened matrices", "token_mean": "cosine of the token means",
    "row_by_row": "mean cosine of row i with row i", "all_rows": "mean cosine of all row pairs (SPoT)",
    "cka": "linear CKA", "cka_debiased": "linear CKA, debiased", "norm_gap": "difference of the norms",
    "distance": "norm of the difference",
}  # fmt: skip
ROWS = {"live": "live rows", "all": "all stored rows"}
PUBLISHED = ("flattened", "token_mean")  # the two definitions in the published code
MOST = 16  # prompts whose pairs still fit a terminal
SCALE = LinearSegmentedColormap.from_list(
    "cosine", ["#a63d00", "#e08a3c", "#f6dcc0", "#f7f7f7", "#bdd7ea", "#4a90c4", "#08467d"]
)
INK, CELL_IN = "#10202e", 0.4
LEAST = 0.75  # of its width, to which a picture may shrink on a narrow page before it scrolls


def tables(card: Card) -> Iterator[tuple[str, Rows]]:
    """Titles and rows for the terminal."""
    about, names = ROWS[card["rows"]], [prompt["name"] for prompt in card["prompts"]]
    listed = [{"#": i + 1, **{k: number(v) for k, v in row.items()}} for i, row in enumerate(card["prompts"])]
    yield f"norms, and distance from the origin ({about})", listed
    if len(names) <= MOST:
        for measure, matrix in card["matrices"].items():
            yield f"{TITLES[measure]} ({about})", _matrix(names, matrix)
    if not repeated(card):
        return
    for measure in PUBLISHED:
        for pairs, what in (("other", "pairs of different origins"), ("published", "as published, origins mixed")):
            yield f"{TITLES[measure]}: {what} ({about})", _matrix(card["tasks"], card["by_task"][measure][pairs])
    gaps = [{"measure": TITLES[m], **{k: number(v) for k, v in gap.items()}} for m, gap in card["gaps"].items()]
    yield f"pairs of tasks, by origin ({about})", gaps


def repeated(card: Card) -> bool:
    """Whether a task stands for several prompts, so that averages over tasks say more than single pairs."""
    return len(card["tasks"]) < len(card["prompts"])


def number(value: Any) -> str:
    """Two decimals, for large numbers one; nothing where there is no number."""
    if not isinstance(value, float):
        return "" if value is None else str(value)
    text = f"{value:.{2 if abs(value) < 100 else 1}f}"
    return text.removeprefix("-") if float(text) == 0 else text


def _matrix(names: Sequence[str], matrix: Sequence[Sequence[float | None]]) -> Rows:
    """Columns are numbered, so that many fit."""
    return [
        {"": f"{i + 1} {name}", **{str(j + 1): number(value) for j, value in enumerate(row)}}
        for i, (name, row) in enumerate(zip(names, matrix, strict=True))
    ]


def panels(card: Card) -> list[list[Panel]]:
    """The published picture under both published definitions; where tasks have several prompts, the averages as published and
    below them those over different origins alone."""
    rows = ROWS[card["rows"]]
    if not repeated(card):
        names = [prompt["name"] for prompt in card["prompts"]]
        return [[(f"{TITLES[m].capitalize()},\n{rows}", names, _array(card["matrices"][m])) for m in PUBLISHED]]
    kinds = (("published", "origins mixed as published"), ("other", "different origins only"))
    return [
        [(f"{TITLES[m].capitalize()},\n{rows}, {what}", card["tasks"], _array(card["by_task"][m][pairs])) for m in PUBLISHED]
        for pairs, what in kinds
    ]  # fmt: skip


def _array(matrix: Sequence[Sequence[float | None]]) -> np.ndarray:
    return np.array(matrix, dtype=float)  # None becomes nan


def draw(grid: Sequence[Sequence[Panel]], path: Path) -> None:
    """Write a grid of heat maps of one scale; raises ConfigError where the suffix of `path` is no format of matplotlib."""
    known = Figure().canvas.get_supported_filetypes()
    if path.suffix.lstrip(".") not in known:
        raise ConfigError(f"cannot draw {path}: use {', '.join(sorted(known))}")
    with matplotlib.rc_context(_style(INK)):
        path.parent.mkdir(parents=True, exist_ok=True)
        _figure(grid, "white").savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None, dpi=150)


def picture(panel: Panel, name: str) -> Markup:
    """One heat map in the colours of a page; `name` tells its ids from those of other pictures."""
    title, names, matrix = panel
    pairs = [(float(matrix[i, j]), f"{names[j]} and {names[i]}") for i in range(len(names)) for j in range(i)]
    told = [f"{pair} {_short(value)}" for value, pair in sorted(pair for pair in pairs if not math.isnan(pair[0]))]
    label = f"Heat map: {' '.join(title.split())}" + (f". From {told[0]} to {told[-1]}" if told else "")
    with matplotlib.rc_context(_style(plots.INK)):
        figure = _figure([[panel]], plots.PAPER)
        svg = plots.inline(figure, name, label, scale=False)
    least = f"{LEAST * figure.get_figwidth():.2f}in"
    return Markup(str(svg).replace("<svg ", f'<svg style="min-width: {least}" ', 1))


def _style(ink: str) -> dict[Any, Any]:
    return {
        "svg.fonttype": "none", "svg.hashsalt": "cpeft", "text.parse_math": False, "font.size": 8.5, "text.color": ink,
        "xtick.color": ink, "ytick.color": ink, "xtick.major.size": 0, "ytick.major.size": 0,
    }  # fmt: skip


def _figure(grid: Sequence[Sequence[Panel]], paper: str) -> Figure:
    size = max(len(names) for line in grid for _, names, _ in line)
    longest = max(len(name) for line in grid for _, names, _ in line for name in names)
    side, margin = max(CELL_IN * size, 2.5), 0.075 * longest
    shape = (len(grid), len(grid[0]))
    figsize = (side * shape[1] + margin + 0.8, (side + margin + 0.3) * shape[0])
    figure = Figure(figsize=figsize, layout="constrained")
    axes = figure.subplots(*shape, squeeze=False)
    for line, places in zip(grid, axes, strict=True):
        for panel, place in zip(line, places, strict=True):
            _triangle(place, *panel, paper)
            place.tick_params(labelleft=place is places[0] or panel[1] != line[0][1])
    scale = ScalarMappable(Normalize(-1, 1), SCALE.resampled(41))  # of 50 colours or more the bar would be a bitmap
    bar = figure.colorbar(scale, ax=axes, shrink=0.6, aspect=25, pad=0.02, ticks=[-1, -0.5, 0, 0.5, 1])
    bar.solids.set_edgecolor("face")  # type: ignore[union-attr]  # no seams
    bar.outline.set_visible(False)  # type: ignore[operator]
    return figure


def _triangle(axes: Axes, title: str, names: Sequence[str], matrix: np.ndarray, paper: str) -> None:
    """The lower triangle with its diagonal: the matrix is symmetric. A cell without pairs is a dash."""
    size = len(names)
    for i in range(size):
        for j in range(i + 1):
            value = float(matrix[i, j])
            place: dict[str, Any] = {"ha": "center", "va": "center_baseline", "fontsize": 7.5}
            if math.isnan(value):
                axes.text(j + 0.5, i + 0.5, "–", **place)
                continue
            shown = SCALE((value + 1) / 2)
            dark = np.dot(np.power(shown[:3], 2.2), LUMINANCE) < 0.25
            axes.fill([j, j + 1, j + 1, j], [i, i, i + 1, i + 1], facecolor=shown, edgecolor=paper, linewidth=1.5)
            axes.text(j + 0.5, i + 0.5, _short(value), color="white" if dark else INK, **place)
    axes.set_xlim(0, size)
    axes.set_ylim(size, 0)
    axes.set_aspect("equal")
    turned = max(map(len, names)) > 5
    axes.set_xticks(np.arange(size) + 0.5, list(names), rotation=40 if turned else 0, ha="right" if turned else "center",
                    rotation_mode="anchor")  # fmt: skip
    axes.set_yticks(np.arange(size) + 0.5, list(names))
    axes.spines[:].set_visible(False)
    axes.set_title(title, fontsize=9, loc="left")


def _short(value: float) -> str:
    """`.94`, `−.02`, `1`."""
    text = f"{abs(value):.2f}"
    sign = "−" if value < 0 and text != "0.00" else ""
    return sign + ("1" if text == "1.00" else text.removeprefix("0"))
