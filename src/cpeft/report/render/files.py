"""Every figure and table of a report, but confusion matrices, as a file of its own, for papers: SVG, Markdown and LaTeX.

They are taken from the finished page, so they cannot say anything else than it does, and a new section needs nothing for its
pictures and tables to be among them. A file is named by the element's id, else by its section and number. Pictures get the
page's light colours and, below them, the legend that stands above them in the page. `index.md` lists what there is.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from html import escape
from html.parser import HTMLParser
from pathlib import Path
from typing import NamedTuple
from xml.etree.ElementTree import Element, TreeBuilder

from cpeft.report.render.grids import MARKDOWN, Grid, text_of

VOID = ("area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr")
PICTURE = re.compile(r'<svg [^>]*class="plot.*?</svg>', re.DOTALL)
SIZE = re.compile(r'width="([\d.]+)pt" height="([\d.]+)pt" viewBox="[^"]*"')
FONT = "font: 8.5px 'DejaVu Sans', sans-serif"  # as matplotlib writes it
XML = '<?xml version="1.0" encoding="UTF-8"?>\n'
SPACES = '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
JOINS = "<style>* { stroke-linejoin: round; stroke-linecap: butt }</style>"
LINE_PT, LETTER_PT, KEY_PT = 13.0, 4.8, 44.0  # of a legend: height of a line, width of a letter, start of the text


class Part(NamedTuple):
    """A picture or a table of the page, under the last legend of its section."""

    name: str
    element: Element
    legend: Element | None


class _Tree(HTMLParser):
    """The page as a tree of elements; it is well-formed, because the page's own templates made it."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.builder = TreeBuilder()
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.builder.start(tag, {name: value or "" for name, value in attrs})
        if tag in VOID:
            self.builder.end(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            self.builder.end(tag)

    def handle_data(self, data: str) -> None:
        self.builder.data(data)


def write_files(html: str, folder: Path) -> list[Path]:
    """Write the figures and tables of a page that `write_report` made; files of the same names are replaced."""
    folder.mkdir(parents=True, exist_ok=True)
    colours = dict(reversed(re.findall(r"--(\w+): (#\w+)", html)))  # of the first rule that sets them, the light one
    drawn = iter(PICTURE.findall(html))
    texts: dict[str, str] = {}
    index = ["# Figures and tables", ""]
    for part in _parts(_Tree(html).builder.close()):
        if part.element.tag == "svg":
            files = {f"{part.name}.svg": _alone(next(drawn), part.legend, colours)}
            about = part.element.get("aria-label", "")
        else:
            grid = Grid.of(part.element)
            if not grid.body:  # the page's script fills it
                continue
            files = {f"{part.name}.md": grid.markdown(), f"{part.name}.tex": grid.latex(part.name)}
            about = grid.caption
        texts |= files
        links = ", ".join(f"[{file}]({file})" for file in files)
        index.append(f"- {links}: {about.translate(MARKDOWN)}")
    texts["index.md"] = "\n".join([*index, ""])
    for file, text in texts.items():
        (folder / file).write_text(text, encoding="utf-8", newline="\n")
    return [folder / file for file in texts]


def _parts(page: Element) -> Iterator[Part]:
    """Pictures and tables in the order of the page."""
    for section in page.iter("section"):
        legend, counts = None, Counter[str]()
        for element in section.iter():
            kind = element.get("class", "")
            if kind == "legend":
                legend = element
            table = element.tag == "table" and kind != "matrix"  # there may be hundreds of confusion matrices
            if table or (element.tag == "svg" and kind.startswith("plot")):
                counts[element.tag] += 1
                name = element.get("id", f"{section.get('id')}-{counts[element.tag]}")
                yield Part(name, element, legend)


def _alone(svg: str, legend: Element | None, colours: Mapping[str, str]) -> str:
    """A picture of the page as a file, with its legend below."""
    match = SIZE.search(svg)
    assert match  # matplotlib writes all three
    width, height = map(float, match.groups())
    lines = [] if legend is None else list(legend)
    keys = [_key(line, height + LINE_PT * (number + 0.5)) for number, line in enumerate(lines)]
    width = max([width, *(KEY_PT + LETTER_PT * len(text_of(line)) for line in lines)])
    height += LINE_PT * len(lines)
    size = f'width="{width:g}pt" height="{height:g}pt" viewBox="0 0 {width:g} {height:g}"'
    svg = SIZE.sub(size, svg, count=1).replace("<svg ", SPACES, 1).replace(' href="#', ' xlink:href="#')
    svg = svg.replace(">", f">{JOINS}", 1).removesuffix("</svg>") + "".join(keys) + "</svg>\n"
    svg = re.sub(r"var\(--(\w+)\)", lambda found: colours[found[1]], svg)
    return XML + svg.replace("currentColor", colours["ink"])


def _key(line: Element, y: float) -> str:
    """A sample of a line, or the mark of points, and its name; `y` in points."""
    name = text_of(line)
    if (sample := next(line.iter("line"), None)) is not None:
        dashes = sample.get("stroke-dasharray")
        pattern = f' stroke-dasharray="{dashes}"' if dashes else ""
        stroke = sample.get("stroke")
        mark = f'<line x1="8" x2="36" y1="{y:g}" y2="{y:g}" stroke="{stroke}" stroke-width="2"{pattern}/>'
    else:
        (letter,) = line.iter("span")
        colour = (letter.get("style") or "").removeprefix("color: ")
        mark = f'<text x="22" y="{y + 3:g}" style="{FONT}; font-weight: bold" fill="{colour}">{escape(text_of(letter))}</text>'
        name = name.removeprefix(text_of(letter)).strip()
    return f'{mark}<text x="{KEY_PT:g}" y="{y + 3:g}" style="{FONT}" fill="currentColor">{escape(name)}</text>'
