"""Pictures written straight as SVG: a report has hundreds of panels, and matplotlib takes a tenth of a second for each.

They look and behave as those of `plots.py`: letters stay text in the page's own font, ink and background are the page's CSS
colours, and the same content gives the same bytes. Lengths are points.
"""

from collections.abc import Sequence

from markupsafe import Markup, escape

from cpeft.report.render.plots import PAGE, RULE

LETTER = 4.9  # mean width
FONT = "font: 8.5px 'DejaVu Sans', sans-serif"  # as matplotlib writes it; a page sets its own family
Points = Sequence[tuple[float, float]]


class Drawing:
    """A picture of a size, to which shapes are added one upon another."""

    def __init__(self, width: float, height: float) -> None:
        self.width, self.height = width, height
        self._shapes: list[str] = []
        self._letters: list[str] = []

    def rule(self, start: tuple[float, float], end: tuple[float, float], width: float = 0.5) -> None:
        """A line of a grid."""
        self._shapes.append(f'<path d="{_path((start, end))}" style="stroke: {PAGE[RULE]}" stroke-width="{width:g}"/>')

    def line(
        self, points: Points, colour: str, width: float, dashes: Sequence[float] = (), opacity: float = 1.0
    ) -> None:
        pattern = f' stroke-dasharray="{" ".join(f"{dash * width:.2g}" for dash in dashes)}"' if dashes else ""
        pale = f' opacity="{opacity:g}"' if opacity < 1 else ""
        self._shapes.append(
            f'<path d="{_path(points)}" fill="none" stroke="{colour}" stroke-width="{width:g}"{pattern}{pale}/>'
        )

    def dots(self, points: Points, colour: str, radius: float, opacity: float = 1.0) -> None:
        pale = f' opacity="{opacity:g}"' if opacity < 1 else ""
        for x, y in points:
            self._shapes.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:g}" fill="{colour}"{pale}/>')

    def cell(self, x: float, y: float, width: float, height: float, colour: str) -> None:
        """A filled rectangle, parted from its neighbours by the page's background."""
        inner = f'width="{width - 1.5:.1f}" height="{height - 1.5:.1f}"'
        self._shapes.append(f'<rect x="{x + 0.75:.1f}" y="{y + 0.75:.1f}" {inner} fill="{colour}"/>')

    def text(self, x: float, y: float, words: str, anchor: str = "middle", colour: str = "", turn: float = 0) -> None:
        """Words whose base line is at `y`; `turn` in degrees, upwards."""
        place = f'x="{x:.1f}" y="{y:.1f}"' if anchor == "start" else f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
        filled = f' fill="{colour}"' if colour else ""
        turned = f' transform="rotate({-turn:g} {x:.1f} {y:.1f})"' if turn else ""
        self._letters.append(f"<text {place}{filled}{turned}>{escape(words)}</text>")

    def markup(self, name: str, label: str, scale: bool = True) -> Markup:
        """An `<svg>` element; `scale` lets it fill its column."""
        size = f'width="{self.width:g}pt" height="{self.height:g}pt" viewBox="0 0 {self.width:g} {self.height:g}"'
        kind = "plot fill" if scale else "plot"
        opening = f'<svg class="{kind}" role="img" aria-label="{escape(label)}" id="{name}" {size}>'
        letters = f'<g fill="currentColor" style="{FONT}">{"".join(self._letters)}</g>'
        return Markup(f"{opening}{''.join(self._shapes)}{letters}</svg>")


def _path(points: Points) -> str:
    return "M" + "L".join(f"{x:.1f},{y:.1f}" for x, y in points)
