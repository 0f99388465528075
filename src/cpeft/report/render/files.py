"""Every table and picture of a report as files of their own, for papers; `index.md` lists them.

Sections give tables and pictures among the values of their templates; whatever can write itself is written, named by its
`name`. Pictures that are still markup are taken from the page: they get the page's light colours and, below them, the legend
that stands above them there.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from html.parser import HTMLParser
from pathlib import Path
from typing import Protocol, runtime_checkable
from xml.etree.ElementTree import Element, TreeBuilder

from cpeft.report.render.table import MARKDOWN

VOID = ("area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr")
PICTURE = re.compile(r'<svg [^>]*class="plot.*?</svg>', re.DOTALL)
SIZE = re.compile(r'width="([\d.]+)pt" height="([\d.]+)pt" viewBox="[^"]*"')
FONT = "font: 8.5px 'DejaVu Sans', sans-serif"  # as matplotlib writes it
XML = '<?xml version="1.0" encoding="UTF-8"?>\n'
SPACES = '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
JOINS = "<style>* { stroke-linejoin: round; stroke-linecap: butt }</style>"
LINE_PT, LETTER_PT, KEY_PT = 13.0, 4.8, 44.0  # of a legend: height of a line, width of a letter, start of the text


@runtime_checkable
class Writable(Protocol):
    """A table or a picture."""

    @property
    def name(self) -> str: ...

    @property
    def label(self) -> str: ...

    def write(self, folder: Path) -> list[Path]: ...


def parts_of(value: object) -> Iterator[Writable]:
    """The tables and pictures among the values of sections, in order."""
    if isinstance(value, Writable):
        yield value
    elif isinstance(value, Mapping | list | tuple):
        for each in value.values() if isinstance(value, Mapping) else value:
            yield from parts_of(each)


def write_files(parts: Sequence[Writable], html: str, folder: Path) -> list[Path]:
    """Write the parts, and the pictures of the page; files of the same names are replaced."""
    folder.mkdir(parents=True, exist_ok=True)
    written = [(part.label, part.write(folder)) for part in parts] + list(_pictures(html, folder))
    links = ((label, ", ".join(f"[{path.name}]({path.name})" for path in paths)) for label, paths in written)
    lines = [f"- {link}: {label.translate(MARKDOWN)}" for label, link in links]
    index = folder / "index.md"
    index.write_text("\n".join(["# Figures and tables", "", *lines, ""]), encoding="utf-8", newline="\n")
    return [*(path for _, paths in written for path in paths), index]


def _pictures(html: str, folder: Path) -> Iterator[tuple[str, list[Path]]]:
    """Write the pictures of a page; the label and the file of each."""
    colours = dict(reversed(re.findall(r"--(\w+): (#\w+)", html)))  # of the first rule that sets them, the light one
    drawn = iter(PICTURE.findall(html))
    for section in _Tree(html).builder.close().iter("section"):
        legend = None
        for element in section.iter():
            kind = element.get("class", "")
            legend = element if kind == "legend" else legend
            if element.tag == "svg" and kind.startswith("plot"):
                path = folder / f"{element.get('id')}.svg"
                path.write_text(_alone(next(drawn), legend, colours), encoding="utf-8", newline="\n")
                yield element.get("aria-label", ""), [path]


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


def text_of(element: Element) -> str:
    """What an element says, white space collapsed."""
    return " ".join("".join(element.itertext()).split())
