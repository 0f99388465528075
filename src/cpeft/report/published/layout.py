"""Our scores beside published ones as tables: as the paper lays them out, and cell by cell with their tests."""

from collections.abc import Sequence

from cpeft.report.published.paper_table import Average, PaperCell, Wide, WideRow
from cpeft.report.render.numbers import (
    EMPTY,
    between,
    cell,
    columns,
    decimal,
    fixed,
    header,
    interval,
    muted,
    probability,
    signed,
    summary,
)
from cpeft.report.render.table import CONTINUED, Cell, Part, Row, Table
from cpeft.stats.intervals import Verdict
from cpeft.stats.summaries import Judged

BROAD = 9  # columns of scores, beyond which a table is printed on a page of its own, across
Three = tuple[Cell, Cell, Cell]  # ours, published and their difference


def wide_table(wide: Wide, title: str, number: int, unverified: bool) -> Table:
    """Ours, the published figure and their difference for every cell, methods by tasks."""
    grey = "unverified" if unverified else ""
    heads = ["Published row: ours", "What"]
    for group in wide.groups:
        heads += [f"{column}#" for column in group.shown] + [f"{group.name or 'all'}, average#"] * group.averaged
    caption = (
        "Methods by tasks as in the paper, in per cent: ours with the number of seeds, the published figure, and the difference"
        + ("" if unverified else " with its 95% interval; * significant after Holm’s correction")
        + ". An average is over the tasks that both have in one metric"
    )
    kind = "wide broad" if len(heads) - 2 > BROAD else "wide"
    bodies = [_rows(row, wide, grey) for row in wide.rows]
    return Table(f"published-{number}", caption, columns(*heads), bodies, kind, f"As the paper lays it out: {title}")


def _rows(row: WideRow, wide: Wide, grey: str) -> list[Row]:
    cells: list[Three] = []
    for group in wide.groups:
        cells += [_figures(row.cells.get((group.name, column)), grey) for column in group.shown]
        cells += [_averages(row.averages.get(group.name), grey)] * group.averaged
    ours, published, difference = ([each[place] for each in cells] for place in range(3))
    return [
        Row([header(f"{row.row}: {row.name}"), header("ours"), *ours]),
        Row([CONTINUED, header("published", kind=grey), *published]),
        Row([CONTINUED, header("difference", kind=grey), *difference]),
    ]


def _figures(line: PaperCell | None, grey: str) -> Three:
    """One published cell."""
    if line is None:
        return (EMPTY,) * 3
    metric = [Part(line.own_metric, "small")] if line.why and line.difference is None else []
    ours = cell(fixed(line.own.mean), muted(f"({line.own.runs})"), *metric, kind="mean")
    deviation = [] if line.published.deviation is None else [muted(f"± {line.published.deviation:.1f}")]
    published = cell(fixed(line.published.mean, 1), *deviation, kind=grey)
    if line.difference is None:
        return ours, published, cell(Part(line.why, "small"), kind=grey)
    star = "*" if line.judged and line.judged.verdict is Verdict.SIGNIFICANT else ""
    bounds = [Part(between(line.interval), "small")] if line.interval else []
    return ours, published, cell(signed(line.difference) + star, *bounds, kind=grey)


def _averages(mean: Average | None, grey: str) -> Three:
    kind = f"average {grey}".strip()
    if mean is None:
        return cell(kind="average"), cell(kind=kind), cell(kind=kind)
    tasks = Part(f"{len(mean.tasks)} of {mean.of}", "small", ", ".join(mean.tasks))
    return (
        cell(fixed(mean.own), tasks, kind="average"),
        decimal(mean.published, kind, 1),
        cell(signed(mean.difference), kind=kind),
    )


def line_table(lines: Sequence[PaperCell], title: str, test: str, number: int, unverified: bool) -> Table:
    """Every published cell with our score, the difference and the test."""
    caption = f"{title}, cell by cell"
    if not unverified:
        compared = sum(line.judged is not None for line in lines)
        caption += f": {test}, Holm’s correction over the {compared} cells that were compared"
    heads = (
        "Task",
        "Published row",
        "Published#",
        "Ours",
        "Mean ± sd (runs)#",
        "Metric",
        "Difference#",
        "95% interval#",
        "p, Holm#",
    )
    rows = [Row(_line(line, "unverified" if unverified else "")) for line in lines]
    label = f"Cell by cell: {title}"
    return Table(f"against-{number}", caption, columns(*heads, "Verdict"), [rows], "controls", label)


def _line(line: PaperCell, grey: str) -> list[Cell]:
    published, deviation = line.published, line.published.deviation
    runs = [] if deviation is None else [f"± {deviation:.1f}", muted(f"({published.runs})")]
    difference = "" if line.difference is None else signed(line.difference)
    return [
        header(line.task),
        cell(line.row),
        cell(fixed(published.mean, 1), *runs, kind=grey),
        cell(line.name),
        summary(line.own, "mean"),
        cell(line.own_metric),
        cell(difference, kind=grey),
        interval(line.interval),
        _bounds(line.judged),
        _verdict(line),
    ]


def _bounds(judged: Judged | None) -> Cell:
    """The least and the largest p that rounding allows."""
    if judged is None or judged.range is None:
        return EMPTY
    ends = dict.fromkeys(map(probability, judged.range))
    return cell(" – ".join(ends))._replace(sort=judged.range[1])


def _verdict(line: PaperCell) -> Cell:
    judged = line.judged
    if judged is None:
        return cell(muted(line.why) if line.why else "", kind="verdict")
    return cell(f"{judged.verdict.value}: {judged.reason}" if judged.reason else judged.verdict.value, kind="verdict")
