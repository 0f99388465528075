"""Heat maps. Every coloured cell says its number, so that no picture needs a scale of colours beside it."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Colormap

from cpeft.report.render.drawing import LETTER, LINE, PAPER, Margins

CELL = 29.0  # height and width of a cell, in points as all lengths here
TITLE = 190.0  # the least width of a picture, into which a title breaks
TURN = 40  # degrees by which long names of columns are turned
LUMINANCE = (0.2126, 0.7152, 0.0722)
GREY = (0.84, 0.84, 0.84, 1.0)
CELL_INK = "#10202e"  # of numbers in pale cells, which are pale on a dark page too


@dataclass(frozen=True)
class HeatMap:
    """Values by the numbers of their row and column, nan for a dash. `share` is where on the scale a value lies, from 0 to 1;
    cells that have a value in `shown` are coloured by that, and grey where it is nan. The last column is `apart` from the
    others by so many cells."""

    rows: Sequence[str]
    columns: Sequence[str]
    values: Mapping[tuple[int, int], float]
    scale: Colormap
    share: Callable[[float], float]
    words: Callable[[float], str]
    apart: float = 0.0
    shown: Mapping[tuple[int, int], float] = field(default_factory=dict)

    @property
    def turned(self) -> bool:
        return LETTER * max(map(len, self.columns)) > CELL

    @property
    def margins(self) -> Margins:
        """Room for the names, of which a turned one reaches down and to the left."""
        names, turn = [LETTER * len(name) for name in self.columns], math.radians(TURN)
        beyond = max(long * math.cos(turn) - CELL * (i + 0.5) for i, long in enumerate(names)) if self.turned else 0.0
        left = max(LETTER * max(map(len, self.rows)), beyond) + 8
        return Margins(left, max(names) * math.sin(turn) + 12 if self.turned else LINE + 4, 2, 4)

    @property
    def size(self) -> tuple[float, float]:
        edge = self.margins
        width = edge.left + CELL * (len(self.columns) + self.apart) + edge.right
        return max(width, TITLE), edge.bottom + CELL * len(self.rows) + edge.top

    def draw(self, axes: Axes) -> None:
        """Cells, parted from their neighbours by the background, and the names of rows and columns."""
        places = [float(i) for i in range(len(self.columns))]
        places[-1] += self.apart
        for (row, column), value in self.values.items():
            share = self.share(self.shown.get((row, column), value))
            self._cell(axes, places[column], row, value, share)
        axes.set_xlim(0, len(places) + self.apart)
        axes.set_ylim(len(self.rows), 0)
        axes.set_aspect("equal", anchor="NW")
        axes.grid(visible=False)
        axes.spines[:].set_visible(False)
        how: dict[str, Any] = {"rotation": TURN, "ha": "right", "rotation_mode": "anchor"} if self.turned else {}
        axes.set_xticks(np.array(places) + 0.5, list(self.columns), **how)
        axes.set_yticks(np.arange(len(self.rows)) + 0.5, list(self.rows))

    def _cell(self, axes: Axes, x: float, y: float, value: float, share: float) -> None:
        if math.isnan(value):
            axes.text(x + 0.5, y + 0.5, "–", ha="center", va="center_baseline")
            return
        colour = GREY if math.isnan(share) else self.scale(share)
        dark = np.dot(np.power(colour[:3], 2.2), LUMINANCE) < 0.25
        axes.fill([x, x + 1, x + 1, x], [y, y, y + 1, y + 1], facecolor=colour, edgecolor=PAPER, linewidth=1.5)
        ink = "white" if dark else CELL_INK
        axes.text(x + 0.5, y + 0.5, self.words(value), ha="center", va="center_baseline", fontsize=7.5, color=ink)
