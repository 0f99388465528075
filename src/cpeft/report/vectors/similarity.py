"""Similarity on the terminal and as a picture: heat maps side by side on one scale, from -1 to 1 for all of them.

The published picture is a triangle of tasks, its cells averages over origins (Task Prompt Vectors, Belanec et al. 2024); where
every task has one prompt the cells are the pairs themselves. Orange is below zero and blue above, which the colour-blind can
tell apart, and every cell says its number. Draws from `store/similarity.py`; this room imports no torch.
"""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from cpeft.errors import ConfigError
from cpeft.report.render.drawing import Margins, Panel, Picture
from cpeft.report.render.heat_map import HeatMap
from cpeft.store.similarity import SimilarityTables

Matrix = tuple[str, Sequence[str], np.ndarray]  # title, names, matrix with nan where there is nothing to show
Rows = list[dict[str, Any]]

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


def tables(card: SimilarityTables) -> Iterator[tuple[str, Rows]]:
    """Titles and rows for the terminal."""
    about, names = ROWS[card.rows], [prompt.name for prompt in card.prompts]
    prompts = [prompt.model_dump(by_alias=True) for prompt in card.prompts]
    listed = [{"#": i + 1, **{k: number(v) for k, v in row.items()}} for i, row in enumerate(prompts)]
    yield f"norms, and distance from the origin ({about})", listed
    if len(names) <= MOST:
        for measure, matrix in card.matrices.items():
            yield f"{TITLES[measure]} ({about})", _matrix(names, matrix)
    if not card.repeated:
        return
    for measure in PUBLISHED:
        for pairs, what in (("other", "pairs of different origins"), ("published", "as published, origins mixed")):
            yield f"{TITLES[measure]}: {what} ({about})", _matrix(card.tasks, card.by_task[measure][pairs])
    gaps = [{"measure": TITLES[m], **{k: number(v) for k, v in gap.items()}} for m, gap in card.gaps.items()]
    yield f"pairs of tasks, by origin ({about})", gaps


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


def panels(card: SimilarityTables) -> list[list[Matrix]]:
    """The published picture under both published definitions; where tasks have several prompts, the averages as published and
    below them those over different origins alone."""
    rows = ROWS[card.rows]
    if not card.repeated:
        names = [prompt.name for prompt in card.prompts]
        return [[(f"{TITLES[m].capitalize()}, {rows}", names, _array(card.matrices[m])) for m in PUBLISHED]]
    kinds = (("published", "origins mixed as published"), ("other", "different origins only"))
    return [
        [(f"{TITLES[m].capitalize()}, {rows}, {what}", card.tasks, _array(card.by_task[m][pairs])) for m in PUBLISHED]
        for pairs, what in kinds
    ]  # fmt: skip


def _array(matrix: Sequence[Sequence[float | None]]) -> np.ndarray:
    return np.array(matrix, dtype=float)  # None becomes nan


def picture(grid: Sequence[Sequence[Matrix]], name: str, about: str = "Similarity") -> Picture:
    """Lower triangles with their diagonals, for the matrices are symmetric, in rows; `about` says of what."""
    drawn = [(each, _triangle(each)) for line in grid for each in line]
    found = [Panel(each[0], _label(each), triangle.draw) for each, triangle in drawn]
    size = tuple(max(triangle.size[i] for _, triangle in drawn) for i in (0, 1))
    margins = Margins(*(max(edges) for edges in zip(*(triangle.margins for _, triangle in drawn), strict=True)))
    return Picture(name, about, found, size=(size[0], size[1]), margins=margins, columns=len(grid[0]), grows=False)


def draw(grid: Sequence[Sequence[Matrix]], path: Path) -> None:
    """Write a grid of heat maps of one scale; raises ConfigError where the suffix of `path` is no format of matplotlib."""
    known = Figure().canvas.get_supported_filetypes()
    if path.suffix.lstrip(".") not in known:
        raise ConfigError(f"cannot draw {path}: use {', '.join(sorted(known))}")
    picture(grid, path.stem).save(path)


def _triangle(matrix: Matrix) -> HeatMap:
    """A cell without pairs is nan."""
    _, names, values = matrix
    cells = {(i, j): float(values[i, j]) for i in range(len(names)) for j in range(i + 1)}
    return HeatMap(names, names, cells, SCALE, lambda value: (value + 1) / 2, _short)


def _label(matrix: Matrix) -> str:
    title, names, values = matrix
    pairs = [(float(values[i, j]), f"{names[j]} and {names[i]}") for i in range(len(names)) for j in range(i)]
    ends = [f"{pair} {_short(value)}" for value, pair in sorted(pair for pair in pairs if not math.isnan(pair[0]))]
    return f"Heat map: {title}" + (f". From {ends[0]} to {ends[-1]}" if ends else "")


def _short(value: float) -> str:
    """`.94`, `−.02`, `1`."""
    text = f"{abs(value):.2f}"
    sign = "−" if value < 0 and text != "0.00" else ""
    return sign + ("1" if text == "1.00" else text.removeprefix("0"))
