"""Pictures: what a page needs of them, and that their files are complete without it."""

import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import matplotlib
import pytest
from matplotlib.axes import Axes
from test_page import HOSTILE

from cpeft.report.render.drawing import INK, PAPER, RULE, STYLE, Key, Panel, Picture
from cpeft.report.render.heat_map import HeatMap
from cpeft.report.sections.attention import BLUES


def line(axes: Axes) -> None:
    axes.plot([0, 1, 2], [50.0, 51.0, 49.0], marker="o", color=INK)
    axes.set_xlabel(HOSTILE)


def picture(name: str = "curve", panels: int = 1, **more) -> Picture:
    keys = [Key("plain", "#0072b2"), Key("a mixture", INK, (5, 2)), Key("rte", "#d55e00", marker="s")]
    return Picture(name, "Score", [Panel(f"task {i}", f"{HOSTILE} {i}", line) for i in range(panels)], keys, **more)


class Elements(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.all: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.all.append((tag, dict(attrs)))

    def attributes(self, name: str) -> list[str]:
        return [attributes[name] for _, attributes in self.all if name in attributes]


def test_a_page_gets_every_panel_with_its_title_and_label():
    elements = Elements(picture(panels=3).__html__())
    pictures = [attributes for tag, attributes in elements.all if tag == "svg"]
    assert [each["id"] for each in pictures] == ["curve-0", "curve-1", "curve-2"]
    assert [each["aria-label"] for each in pictures] == [f"{HOSTILE} {i}" for i in range(3)]
    assert {each["role"] for each in pictures} == {"img"}
    assert re.findall("<figcaption>(.*?)</figcaption>", picture(panels=3).__html__()) == ["task 0", "task 1", "task 2"]


def test_ids_are_used_and_shared_by_no_two_pictures():
    html = picture("a", panels=2).__html__() + picture("b").__html__()
    elements = Elements(html)
    ids = elements.attributes("id")
    referred = {name.removeprefix("#") for name in elements.attributes("href")}
    referred |= set(re.findall(r"url\(#([^)]+)\)", html))
    assert len(ids) == len(set(ids))
    assert referred
    assert referred == set(ids) - {"a-0", "a-1", "b"}


def test_the_colours_in_a_page_are_its_own():
    html = picture().__html__()
    assert not any(colour in html for colour in (INK, RULE, PAPER))
    assert {"currentColor", "var(--rule)"} <= set(re.findall(r"currentColor|var\(--\w+\)", html))
    assert "xmlns" not in html
    assert "http" not in html


def test_words_stay_text():
    markup = picture().__html__()
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; \"quoted\" 'text' {{ 7 * 7 }} $x_1$</text>" in markup
    assert "<script>" not in markup


@pytest.mark.parametrize("panels", [1, 5])
def test_a_file_holds_all_panels_their_titles_and_the_legend(tmp_path, panels):
    svg, pdf = picture(panels=panels).write(tmp_path)
    text = svg.read_text(encoding="utf-8")
    root = ElementTree.fromstring(text)
    words = ["".join(each.itertext()).strip() for each in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"plain", "a mixture", "rte", *(f"task {i}" for i in range(panels))} <= set(words)
    assert words.count("49.0") == panels
    assert "var(" not in text
    assert "currentColor" not in text
    assert INK in text
    assert pdf.read_bytes().startswith(b"%PDF")
    assert b"/Subtype /Type3" not in pdf.read_bytes()  # letters as pictures, which journals refuse


def visible_labels(axis):
    """The labels of the ticks within the limits of an axis; matplotlib keeps others beyond them and does not draw these."""
    low, high = sorted(axis.get_view_interval())
    return [tick.label1 for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]


def test_nothing_in_a_file_is_cut_off():
    """Titles, tick labels and the legend lie within the figure, long ones too."""
    long = "a method with a very long label lr=0.00001 length=100"
    keys = [Key(f"{long} {i}", "#0072b2") for i in range(7)]
    found = Picture("long", "Score", [Panel(long, long, line) for _ in range(4)], keys)
    heat = HeatMap([long, "b"], [long, "b"], {(0, 0): 0.5, (1, 1): 1.0}, BLUES, float, str)
    maps = Picture("heat", "Map", [Panel(long, long, heat.draw)], size=heat.size, margins=heat.margins, grows=False)
    for each in (found, maps):
        with matplotlib.rc_context(STYLE):
            figure = each.figure()
            figure.draw_without_rendering()
        inside = figure.bbox
        shown = [text for axes in figure.axes for text in (*axes.texts, axes._left_title)]
        shown += [label for axes in figure.axes for axis in (axes.xaxis, axes.yaxis) for label in visible_labels(axis)]
        shown += [text for legend in figure.legends for text in legend.get_texts()]
        for text in shown:
            box = text.get_window_extent()
            assert (box.x0 >= -1, box.x1 <= inside.x1 + 1, box.y0 >= -1, box.y1 <= inside.y1 + 1) == (True,) * 4, text


def test_the_same_picture_gives_the_same_bytes(tmp_path):
    first, second = (picture(panels=2).write(tmp_path / name) for name in "ab")
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    assert picture().__html__() == picture().__html__()
