"""Similarity on the terminal, as JSON and as a picture: heat maps side by side on one scale, from -1 to 1 for all of them.

The published picture is a triangle of tasks, its cells averages over origins (Task Prompt Vectors, Belanec et al. 2024); where
every task has one prompt the cells are the pairs themselves. Orange is below nought and blue above, which the colour-blind can
tell apart, and every cell says its number. Draws from plain arrays; this room imports no torch.
"""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure

from cpeft.errors import ConfigError
from cpeft.report.plots import LUMINANCE

if TYPE_CHECKING:
    from cpeft.prompts.similarity import Similarity

Panel = tuple[str, Sequence[str], np.ndarray]  # title, names, matrix with nan where there is nothing to show
Rows = list[dict[str, Any]]

TITLES = {
    "flattened": "cosine of the flattened matrices", "token_mean": "cosine of the token means",
    "row_by_row": "mean cosine of row i with row i", "all_rows": "mean cosine of all row pairs (SPoT)",
    "cka": "linear CKA", "cka_debiased": "linear CKA, debiased", "norm_gap": "difference of the norms",
    "distance": "norm of the difference",
}  # fmt: skip
PUBLISHED = ("flattened", "token_mean")  # the two definitions in the published code
MOST = 16  # prompts whose pairs still fit a terminal
SCALE = LinearSegmentedColormap.from_list(
    "cosine", ["#a63d00", "#e08a3c", "#f6dcc0", "#f7f7f7", "#bdd7ea", "#4a90c4", "#08467d"]
)
INK, CELL_IN = "#10202e", 0.4
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none", "svg.hashsalt": "cpeft", "text.parse_math": False, "font.size": 8.5, "text.color": INK,
    "xtick.color": INK, "ytick.color": INK, "xtick.major.size": 0, "ytick.major.size": 0,
}  # fmt: skip


def card(found: "Similarity") -> dict[str, Any]:
    """Everything that was found, for `--json`: pairs, averages by task under each definition, gaps between origins."""
    by_task = {
        measure: {pairs: found.by_task(measure, pairs).tolist() for pairs in ("published", "other", "same")}
        for measure in found.matrices
    }
    told = {"rows": found.rows, "prompts": _items(found), "pairs": list(found.table()), "tasks": found.tasks,
            "by_task": by_task, "gaps": {measure: found.gap(measure) for measure in found.matrices}}  # fmt: skip
    return _plain(told)  # type: ignore[no-any-return]


def _plain(value: Any) -> Any:
    """nan has no JSON."""
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def _items(found: "Similarity") -> Rows:
    rows = []
    for item in found.items:
        matrix_ND = item.matrix(found.rows)
        moved, share = item.travelled() or (float("nan"), float("nan"))
        rows.append({"name": item.name, "task": item.task, "origin": item.origin, "rows": len(matrix_ND),
                     "norm": float(np.linalg.norm(matrix_ND)), "travelled": moved, "travelled/origin": share})  # fmt: skip
    return rows


def tables(found: "Similarity") -> Iterator[tuple[str, Rows]]:
    """Titles and rows for the terminal."""
    about = "all stored rows" if found.rows == "all" else "live rows"
    listed = [{"#": i + 1, **{key: number(value) for key, value in row.items()}} for i, row in enumerate(_items(found))]
    yield f"norms, and distance from the origin ({about})", listed
    if len(found.items) <= MOST:
        for measure, matrix in found.matrices.items():
            yield f"{TITLES[measure]} ({about})", _matrix([item.name for item in found.items], matrix)
    if not found.repeated:
        return
    for measure in PUBLISHED:
        for pairs, what in (("other", "pairs of different origins"), ("published", "as published, origins mixed")):
            yield f"{TITLES[measure]}: {what} ({about})", _matrix(found.tasks, found.by_task(measure, pairs))
    gaps = [{"measure": TITLES[m], **{k: number(v) for k, v in found.gap(m).items()}} for m in found.matrices]
    yield f"pairs of tasks, by origin ({about})", gaps


def number(value: Any) -> str:
    """Two decimals, for large numbers one; nothing for nan."""
    if not isinstance(value, float):
        return str(value)
    return "" if math.isnan(value) else f"{value + 0.0:.{2 if abs(value) < 100 else 1}f}"


def _matrix(names: Sequence[str], matrix: np.ndarray) -> Rows:
    """Columns are numbered, so that many fit."""
    return [
        {"": f"{i + 1} {name}", **{str(j + 1): number(float(value)) for j, value in enumerate(row)}}
        for i, (name, row) in enumerate(zip(names, matrix, strict=True))
    ]


def panels(found: "Similarity") -> list[list[Panel]]:
    """The published picture under both published definitions; where tasks have several prompts, the averages as published and
    below them those over different origins alone."""
    rows = "all stored rows" if found.rows == "all" else "live rows"
    if not found.repeated:
        names = [item.name for item in found.items]
        return [[(f"{TITLES[m].capitalize()},\n{rows}", names, found.matrices[m]) for m in PUBLISHED]]
    kinds = (("published", "origins mixed as published"), ("other", "different origins only"))
    return [
        [(f"{TITLES[m].capitalize()},\n{rows}, {what}", found.tasks, found.by_task(m, pairs)) for m in PUBLISHED]
        for pairs, what in kinds
    ]


def draw(grid: Sequence[Sequence[Panel]], path: Path) -> None:
    """Write a grid of heat maps of one scale; raises ConfigError where the suffix of `path` is no format of matplotlib."""
    known = Figure().canvas.get_supported_filetypes()
    if path.suffix.lstrip(".") not in known:
        raise ConfigError(f"cannot draw {path}: use {', '.join(sorted(known))}")
    size = max(len(names) for line in grid for _, names, _ in line)
    longest = max(len(name) for line in grid for _, names, _ in line for name in names)
    side, margin = max(CELL_IN * size, 2.5), 0.075 * longest
    with matplotlib.rc_context(STYLE):
        shape = (len(grid), len(grid[0]))
        figure = Figure(
            figsize=(side * shape[1] + margin + 0.8, (side + margin + 0.3) * shape[0]), layout="constrained"
        )
        axes = figure.subplots(*shape, squeeze=False)
        for line, places in zip(grid, axes, strict=True):
            for panel, place in zip(line, places, strict=True):
                _triangle(place, *panel)
                place.tick_params(labelleft=place is places[0] or panel[1] != line[0][1])
        scale = ScalarMappable(Normalize(-1, 1), SCALE)
        bar = figure.colorbar(scale, ax=axes, shrink=0.6, aspect=25, pad=0.02, ticks=[-1, -0.5, 0, 0.5, 1])
        bar.outline.set_visible(False)  # type: ignore[operator]
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None, dpi=150)


def _triangle(axes: Axes, title: str, names: Sequence[str], matrix: np.ndarray) -> None:
    """The lower triangle with its diagonal: the matrix is symmetric. A cell without pairs is a dash."""
    size = len(names)
    for i in range(size):
        for j in range(i + 1):
            value = float(matrix[i, j])
            shown = SCALE((value + 1) / 2) if not math.isnan(value) else (1.0, 1.0, 1.0, 1.0)
            dark = np.dot(np.power(shown[:3], 2.2), LUMINANCE) < 0.25
            axes.fill([j, j + 1, j + 1, j], [i, i, i + 1, i + 1], facecolor=shown, edgecolor="white", linewidth=1.5)
            axes.text(j + 0.5, i + 0.5, _short(value), ha="center", va="center_baseline", fontsize=7.5,
                      color="white" if dark else INK)  # fmt: skip
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
    if math.isnan(value):
        return "–"
    text = f"{abs(value):.2f}"
    sign = "−" if value < 0 and text != "0.00" else ""
    return sign + ("1" if text == "1.00" else text.removeprefix("0"))
