"""A table as data, and its renderers: HTML for the page, Markdown and LaTeX (booktabs) for papers, rich for a terminal.

A cell holds parts of text; a part may have a kind, which the page's style sheet knows (`muted`, `small`, ...). Markdown, LaTeX
and the terminal show the text alone, and leave out columns of drawings.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple

from markupsafe import Markup, escape
from rich import table as rich_table
from rich.box import SIMPLE_HEAD
from rich.markup import escape as escape_rich

TEX = str.maketrans(
    {mark: f"\\{mark}" for mark in "{}$&#_%"}
    | {"\\": r"\textbackslash{}", "^": r"\textasciicircum{}", "~": r"\textasciitilde{}", "|": r"\textbar{}"}
    | {"<": r"\textless{}", ">": r"\textgreater{}", "−": "$-$", "±": r"$\pm$", "×": r"$\times$"}
    | {"λ": r"$\lambda$", "–": "--", "’": "'", "…": r"\dots{}"}
)
MARKDOWN = str.maketrans({mark: f"\\{mark}" for mark in "\\|<*`"})
ELEMENTS = {"small": "small", "code": "code"}  # kinds that are HTML elements of their own; the others are classes
HIDDEN = ("hidden", "narrow")  # what screen readers alone read, and what narrow screens alone show
ITEMS = ("code", "item")  # kinds that a cell has several of; semicolons divide them where there is one line


class Part(NamedTuple):
    """Text of a cell with a kind, a tooltip and an address to link to."""

    text: str
    kind: str
    title: str = ""
    link: str = ""

    def __html__(self) -> str:
        element = "a" if self.link else ELEMENTS.get(self.kind, "span")
        given = _attributes(_class=self.kind, title=self.title, href=self.link)
        return f"<{element}{given}>{escape(self.text)}</{element}>"


class Cell(NamedTuple):
    """One cell: `kind` is a class of the page, `sort` what the page sorts by where the text is no number, `span` the number of
    columns it takes, `again` whether its text repeats that of the cell above, and `drawing` what the page alone shows, before
    the text."""

    parts: tuple[str | Part, ...] = ()
    kind: str = ""
    header: bool = False
    sort: float | None = None
    span: int = 1
    again: bool = False
    drawing: Markup | None = None

    @property
    def text(self) -> str:
        """Its text on one line, without what is hidden on the page or repeated from above."""
        parts = [part if isinstance(part, Part) else Part(part, "") for part in self.parts if not self.again]
        between = "; " if any(part.kind in ITEMS for part in parts) else " "
        return " ".join(between.join(part.text for part in parts if part.kind not in HIDDEN).split())


CONTINUED = Cell(kind="continued")  # the cell above reaches down to here


class Row(NamedTuple):
    """Cells that together take all columns; `kind` is a class of the page, such as `total`."""

    cells: Sequence[Cell]
    kind: str = ""


class Column(NamedTuple):
    """The head of a column; numbers are set to the right. The page shows the drawing, if any, in the place of the title."""

    title: str = ""
    number: bool = False
    kind: str = ""
    drawing: Markup | None = None


@dataclass(frozen=True)
class Table:
    """A table. `name` is its id on the page and the name of its files; `bodies` are groups of rows, each sorted by itself;
    `kind` is a class of the page; `region` describes its place to screen readers, by default the caption does."""

    name: str
    caption: str
    columns: Sequence[Column]
    bodies: Sequence[Sequence[Row]]
    kind: str = ""
    region: str = ""
    notes: Sequence[str] = ()

    @property
    def label(self) -> str:
        return self.caption

    def write(self, folder: Path) -> list[Path]:
        """Write `NAME.md` and `NAME.tex`; the paths."""
        texts = {folder / f"{self.name}.md": self.markdown(), folder / f"{self.name}.tex": self.latex()}
        for path, text in texts.items():
            path.write_text(text, encoding="utf-8", newline="\n")
        return list(texts)

    def __html__(self) -> str:
        """The table in a region that scrolls sideways, and its notes below."""
        heads = "".join(_head(column) for column in self.columns)
        head = f"<thead><tr>{heads}</tr></thead>\n" if any(column.title for column in self.columns) else ""
        bodies = "".join(f"<tbody>\n{_body(rows, self.columns)}</tbody>\n" for rows in self.bodies)
        notes = "".join(f"<p>{escape(note)}</p>\n" for note in self.notes)
        region = {"role": "region", "aria-label": self.region or self.caption, "tabindex": "0"}
        return (
            f"<div{_attributes(_class='scroll', **region)}>\n<table{_attributes(id=self.name, _class=self.kind)}>\n"
            f"<caption><span>{escape(self.caption)}</span></caption>\n{head}{bodies}</table>\n</div>\n{notes}"
        )

    def markdown(self) -> str:
        """A pipe table below its caption and above its notes, where it has these."""
        columns, bodies = self._as_text()
        rows = [[(column.title, 1) for column in columns], *(row for body in bodies for row in body)]
        padded = [
            [text for cell, span in row for text in (cell.translate(MARKDOWN), *[""] * (span - 1))] for row in rows
        ]
        head, *lines = (f"| {' | '.join(texts)} |" for texts in padded)
        rule = "|" + "".join("---:|" if column.number else "---|" for column in columns)
        caption = [self.caption.translate(MARKDOWN), ""] if self.caption else []
        notes = [line for note in self.notes for line in ("", note)]
        return "\n".join([*caption, head, rule, *lines, *notes, ""])

    def latex(self) -> str:
        """A float for `\\input`, with `\\label{tab:NAME}`; it needs the package booktabs."""
        columns, bodies = self._as_text()
        heads = [column.title.translate(TEX) for column in columns]
        lines = [" & ".join(heads) + r" \\", r"\midrule"] if any(heads) else []
        for number, row in enumerate(row for body in bodies for row in body):
            whole = row[0][1] == len(columns) > 1
            lines += [r"\midrule"] * (whole and number > 0) + [_ampersands(row)]
        start = ["% needs \\usepackage{booktabs}", r"\begin{table}", r"\centering"]
        about = [rf"\caption{{{self.caption.translate(TEX)}}}", rf"\label{{tab:{self.name}}}"]
        letters = "".join("r" if column.number else "l" for column in columns)
        begin, end = (
            [rf"\begin{{tabular}}{{{letters}}}", r"\toprule"],
            [r"\bottomrule", r"\end{tabular}", r"\end{table}", ""],
        )
        return "\n".join([*start, *about, *begin, *lines, *end])

    def rich(self) -> rich_table.Table:
        """The table for a terminal, its groups of rows divided by lines."""
        columns, bodies = self._as_text()
        notes = "\n".join(self.notes)
        table = rich_table.Table(
            title=escape_rich(self.caption), caption=notes, title_justify="left", caption_justify="left", box=SIMPLE_HEAD,
            show_edge=False, padding=(0, 1, 0, 0),
        )  # fmt: skip
        for column in columns:
            table.add_column(column.title, justify="right" if column.number else "left", overflow="fold")
        for body in bodies:
            for row in body:
                table.add_row(*(escape_rich(text) for cell, span in row for text in (cell, *[""] * (span - 1))))
            table.add_section()
        return table

    def _as_text(self) -> tuple[list[Column], list[list[list[tuple[str, int]]]]]:
        """The columns that hold more than drawings, and the rows of each body as (text, number of these columns) by cell."""
        placed = [each for rows in self.bodies for row in rows for each in _placed(row)]
        drawn = {place for place, cell in placed if cell.drawing} - {place for place, cell in placed if cell.text}
        kept = [place for place in range(len(self.columns)) if place not in drawn]
        return [self.columns[place] for place in kept], [[_narrowed(row, kept) for row in rows] for rows in self.bodies]


def _placed(row: Row) -> Iterator[tuple[int, Cell]]:
    """Cells with the number of their first column."""
    place = 0
    for cell in row.cells:
        yield place, cell
        place += cell.span


def _narrowed(row: Row, kept: Sequence[int]) -> list[tuple[str, int]]:
    """The cells of a row without the columns that are not kept."""
    spans = ((cell.text, sum(place <= column < place + cell.span for column in kept)) for place, cell in _placed(row))
    return [(text, span) for text, span in spans if span]


def _ampersands(row: Sequence[tuple[str, int]]) -> str:
    texts = [text.translate(TEX) for text, _ in row]
    spanned = [
        rf"\multicolumn{{{span}}}{{l}}{{{text}}}" if span > 1 else text
        for text, (_, span) in zip(texts, row, strict=True)
    ]
    start = "{}" if texts[0][:1] in ("[", "*") else ""  # the end of the row above would take these for its own
    return start + " & ".join(spanned) + r" \\"


def _body(rows: Sequence[Row], columns: Sequence[Column]) -> str:
    lines = []
    for number, row in enumerate(rows):
        cells = ""
        for order, (place, cell) in enumerate(_placed(row)):
            if cell is not CONTINUED:
                below = (CONTINUED in other.cells[order : order + 1] for other in rows[number + 1 :])
                cells += _cell(cell, columns[place].number and cell.span == 1, 1 + sum(takewhile(bool, below)))
        lines.append(f"<tr{_attributes(_class=row.kind)}>{cells}</tr>\n")
    return "".join(lines)


def _cell(cell: Cell, number: bool, rows: int) -> str:
    kinds = " ".join(filter(None, ["n" * number, cell.kind, "again" * cell.again]))
    scope = "rowgroup" if rows > 1 or cell.span > 1 else "row"
    spans = {"rowspan": str(rows) * (rows > 1), "colspan": str(cell.span) * (cell.span > 1)}
    sort = "" if cell.sort is None else str(cell.sort)
    given = _attributes(scope=scope * cell.header, **spans, _class=kinds, data_sort=sort)
    element = "th" if cell.header else "td"
    return f"<{element}{given}>{cell.drawing or ''}{' '.join(map(escape, cell.parts))}</{element}>"


def _head(column: Column) -> str:
    kinds = " ".join(filter(None, ["n" * column.number, column.kind]))
    fixed = " data-fixed" if column.drawing else ""
    return f'<th scope="col"{_attributes(_class=kinds)}{fixed}>{column.drawing or escape(column.title)}</th>'


def _attributes(**values: str) -> str:
    """HTML attributes that have a value, with a space before each; `_class` is `class`, and other underscores are dashes."""
    named = ((name.lstrip("_").replace("_", "-"), value) for name, value in values.items())
    return "".join(f' {name}="{escape(value)}"' for name, value in named if value)
