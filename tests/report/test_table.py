"""One table in four forms: HTML, Markdown, LaTeX and the terminal."""

from html.parser import HTMLParser

import pytest
from markupsafe import Markup
from rich.console import Console

from cpeft.report.render.numbers import (
    between,
    cell,
    columns,
    decimal,
    header,
    interval,
    muted,
    p_value,
    signed,
    summary,
)
from cpeft.report.render.table import CONTINUED, Cell, Part, Row, Table
from cpeft.stats.summaries import Summary

BAR = Markup('<span class="bar"></span>')


@pytest.fixture
def table() -> Table:
    """Two groups of rows with a head that spans all columns, a cell over two rows, a repeated one and a column of drawings."""
    first = [
        Row([header("rte", muted("accuracy"))._replace(span=4)], "task"),
        Row([header("a | <b>"), cell("x"), Cell(drawing=BAR), decimal(50.0, "mean")]),
        Row([CONTINUED, cell("x")._replace(again=True), Cell(drawing=BAR), p_value(0.0001)]),
    ]
    second = [
        Row(
            [header("[c] 50% & $_x$"), cell(Part("k = 1", "code"), Part("j = 2", "code")), Cell(drawing=BAR), cell()],
            "total",
        )
    ]
    return Table(
        "demo-1",
        "Scores & more",
        columns("Method", "Set", "", "Score#"),
        [first, second],
        "scores",
        "A region",
        ["A note."],
    )


class Rows(HTMLParser):
    """The attributes and the text of every cell, by row."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.rows: list[list[tuple[dict, str]]] = []
        self.tags: list[tuple[str, dict]] = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append((dict(attrs), ""))

    def handle_data(self, data):
        if self.rows and self.rows[-1] and data.strip():
            attributes, text = self.rows[-1][-1]
            self.rows[-1][-1] = (attributes, text + data)


def test_html_has_spans_classes_and_what_to_sort_by(table):
    html = table.__html__()
    page = Rows(html)
    assert ("div", {"class": "scroll", "role": "region", "aria-label": "A region", "tabindex": "0"}) in page.tags
    assert ("table", {"id": "demo-1", "class": "scores"}) in page.tags
    assert "<span>Scores &amp; more</span>" in html
    head, task, first, second, total = page.rows
    assert [attributes.get("class") for attributes, _ in head] == [None, None, None, "n"]
    assert [attributes["scope"] for attributes, _ in head] == ["col"] * 4
    assert task == [({"scope": "rowgroup", "colspan": "4"}, "rte accuracy")]
    assert first[0] == ({"scope": "rowgroup", "rowspan": "2"}, "a | <b>")
    assert first[3] == ({"class": "n mean"}, "50.00")
    assert len(second) == 3  # the first cell of the row above reaches down
    assert second[0] == ({"class": "again"}, "x")
    assert second[2] == ({"class": "n", "data-sort": "0.0001"}, "< 0.001")
    assert html.count(str(BAR)) == 3
    assert '<tr class="total">' in html
    assert total[1][1] == "k = 1j = 2"  # each in an element of its own
    assert html.endswith("<p>A note.</p>\n")
    assert html.count("<tbody>") == 2


def test_markdown_leaves_drawings_out_and_says_what_repeats_once(table):
    assert table.markdown().splitlines() == [
        "Scores & more",
        "",
        "| Method | Set | Score |",
        "|---|---|---:|",
        "| rte accuracy |  |  |",
        r"| a \| \<b> | x | 50.00 |",
        r"|  |  | \< 0.001 |",
        "| [c] 50% & $_x$ | k = 1; j = 2 |  |",
        "",
        "A note.",
    ]


def test_latex_is_escaped_and_has_as_many_columns_in_every_row(table):
    lines = table.latex().splitlines()
    assert r"\caption{Scores \& more}" in lines
    assert r"\label{tab:demo-1}" in lines
    assert r"\begin{tabular}{llr}" in lines
    assert r"Method & Set & Score \\" in lines
    assert r"\multicolumn{3}{l}{rte accuracy} \\" in lines
    assert r"{}[c] 50\% \& \$\_x\$ & k = 1; j = 2 &  \\" in lines


def test_the_terminal_shows_texts_as_they_are(table):
    console = Console(width=100, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(table.rich())
    text = console.export_text()
    assert "[c] 50% & $_x$" in text
    assert "Scores & more" in text
    assert "A note." in text


def test_files_are_named_by_the_table(table, tmp_path):
    paths = table.write(tmp_path)
    assert [path.name for path in paths] == ["demo-1.md", "demo-1.tex"]
    assert paths[0].read_text(encoding="utf-8") == table.markdown()


def test_numbers_as_cells():
    assert decimal(None) == cell() == interval(None)
    assert decimal(1.005, places=1).text == "1.0"
    assert signed(-1.5) == "−1.50"
    assert between((-1.25, 3.0)) == "[−1.2, 3.0]"
    assert interval((-1.25, 3.0)).sort == -1.25
    assert summary(Summary(82.0, 2.0, 3)).text == "82.00 ± 2.00 (3)"
    assert summary(Summary(82.0, None, 1)).text == "82.00 (1)"
