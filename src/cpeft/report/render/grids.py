"""A table of the page as cells of text, and as Markdown and LaTeX (booktabs).

Columns that hold only pictures are left out; a cell over several rows, or said again in each of them, stands in the first.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple
from xml.etree.ElementTree import Element

TEX = str.maketrans({
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "_": r"\_", "%": r"\%",
    "^": r"\textasciicircum{}", "~": r"\textasciitilde{}", "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}",
    "−": "$-$", "±": r"$\pm$", "×": r"$\times$", "★": r"$\star$", "λ": r"$\lambda$", "–": "--", "’": "'", "…": r"\dots{}",
})  # fmt: skip
MARKDOWN = str.maketrans({mark: f"\\{mark}" for mark in "\\|<*`"})
UNSAID = ("svg", "title")


class Cell(NamedTuple):
    text: str
    span: int = 1  # columns
    right: bool = False


@dataclass(frozen=True)
class Grid:
    """Rows of cells whose spans add up to the same number of columns; `right` are the columns of numbers."""

    caption: str
    head: Sequence[Sequence[Cell]]
    body: Sequence[Sequence[Cell]]
    right: Sequence[bool]

    @classmethod
    def of(cls, table: Element) -> "Grid":
        """A `<table>` with its caption."""
        head = list(_rows(table.findall("thead/tr")))
        body = list(_rows([*table.findall("tbody/tr"), *table.findall("tr")]))
        used = sorted({column for row in body for column, cell in _placed(row) if cell.text})
        head, body = ([_narrowed(row, used) for row in rows] for rows in (head, body))
        numbers = {column for row in body for column, cell in _placed(row) if cell.right}
        caption = table.find("caption")
        return cls("" if caption is None else text_of(caption), head, body, [i in numbers for i in range(len(used))])

    def markdown(self) -> str:
        """A pipe table under its caption."""
        head = self.head[0] if self.head else [Cell("")] * len(self.right)
        rule = "|" + "".join("---:|" if right else "---|" for right in self.right)
        lines = [self._pipes(head), rule, *map(self._pipes, self.body)]
        return "\n".join([self.caption.translate(MARKDOWN), "", *lines, ""])

    def _pipes(self, row: Sequence[Cell]) -> str:
        texts = [text for cell in row for text in (cell.text.translate(MARKDOWN), *[""] * (cell.span - 1))]
        return f"| {' | '.join(texts)} |"

    def latex(self, name: str) -> str:
        """A float for `\\input`, with `\\label{tab:name}`; it needs the package booktabs."""
        columns = "".join("r" if right else "l" for right in self.right)
        lines = [r"\toprule", *map(self._ampersands, self.head), r"\midrule" if self.head else ""]
        for number, row in enumerate(self.body):
            whole = row[0].span == len(self.right) > 1
            lines += [r"\midrule" if whole and number else "", self._ampersands(row)]
        return "\n".join([
            "% needs \\usepackage{booktabs}", r"\begin{table}", r"\centering", rf"\caption{{{self.caption.translate(TEX)}}}",
            rf"\label{{tab:{name}}}", rf"\begin{{tabular}}{{{columns}}}", *filter(None, lines), r"\bottomrule",
            r"\end{tabular}", r"\end{table}", "",
        ])  # fmt: skip

    def _ampersands(self, row: Sequence[Cell]) -> str:
        texts = [cell.text.translate(TEX) for cell in row]
        spans = [rf"\multicolumn{{{cell.span}}}{{l}}{{{text}}}" if cell.span > 1 else text
                 for cell, text in zip(row, texts, strict=True)]  # fmt: skip
        start = "{}" if texts[0][:1] in ("[", "*") else ""  # the end of the row above would take these for its own
        return start + " & ".join(spans) + r" \\"


def text_of(element: Element) -> str:
    """What an element says, white space collapsed: no pictures, nothing hidden, items of lists apart."""
    return " ".join("".join(_words(element)).split()).strip("; ")


def _words(element: Element) -> Iterator[str]:
    if element.tag in UNSAID or element.get("class") == "hidden":
        return
    yield element.text or ""
    for child in element:
        yield from _words(child)
        yield {"li": "; ", "br": " ", "div": " "}.get(child.tag, "") + (child.tail or "")


def _rows(rows: Sequence[Element]) -> Iterator[list[Cell]]:
    """The cells of every row, empty ones where a cell above reaches down or is said again."""
    below: dict[int, int] = {}  # column: how many more rows
    for row in rows:
        cells: list[Cell] = []
        column = 0
        for element in row:
            while below.get(column):
                below[column] -= 1
                cells.append(Cell(""))
                column += 1
            below[column] = int(element.get("rowspan", "1")) - 1
            kinds = (element.get("class") or "").split()
            said = "" if "again" in kinds else text_of(element)
            cell = Cell(said, int(element.get("colspan", "1")), "n" in kinds)
            cells.append(cell)
            column += cell.span
        yield cells


def _placed(row: Sequence[Cell]) -> Iterator[tuple[int, Cell]]:
    """Cells with the number of their first column."""
    column = 0
    for cell in row:
        yield column, cell
        column += cell.span


def _narrowed(row: Sequence[Cell], used: Sequence[int]) -> list[Cell]:
    """The row without the columns that are not used."""
    placed = ((cell, sum(column <= kept < column + cell.span for kept in used)) for column, cell in _placed(row))
    return [cell._replace(span=span) for cell, span in placed if span]
