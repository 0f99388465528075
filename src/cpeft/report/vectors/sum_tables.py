"""The section on sums of task vectors: a table of the sums of each stage, and one of what stands in their place."""

from typing import Any

from cpeft.report.published.matching import published_metrics
from cpeft.report.render.numbers import (
    EMPTY,
    cell,
    columns,
    comparison,
    comparison_columns,
    decimal,
    header,
    interval,
    muted,
)
from cpeft.report.render.table import Cell, Part, Row, Table
from cpeft.report.section import Page, section
from cpeft.report.vectors.addition import Addition, Relative, SummedTask, VectorSum, additions


@section("addition", "Sums of task vectors", 80)
def addition(page: Page) -> dict[str, Any] | None:
    """Sums of vectors; beside the figures of task prompt vectors chosen and scored by their metrics."""
    found = additions(page.study, published_metrics("addition")) if page.paper == "tpv" else additions(page.study)
    shown = [
        {
            "stage": each.stage,
            "picture": each.picture,
            "sums": _sums_table(each, number),
            "controls": _controls_table(each, number) if each.controls else None,
        }
        for number, each in enumerate(found, 1)
    ]
    return {"additions": shown, "asked": all(each.asked for each in found)} if found else None


def _sums_table(each: Addition, number: int) -> Table:
    rows = [
        Row(_member_cells(of_sum, member, first=member is of_sum.members[0]))
        for of_sum in each.sums
        for member in of_sum.members
    ]
    mean = header("Mean over tasks")._replace(span=5)
    rows.append(Row([mean, *_relative_cells(each.overall, " tasks"), EMPTY, EMPTY], "total"))
    heads = columns(
        "Sum",
        "Seed: scale",
        "Scored on",
        "Sum’s score#",
        "Own prompt’s#",
        "Relative#",
        "95% interval#",
        "Seeds#",
        "Majority#",
        "Test rows#",
    )
    about = f"stage {each.stage}: test scores in per cent as means over seeds, frozen model in {each.dtype}"
    label = f"Sums of task vectors, stage {each.stage}, {each.dtype}"
    return Table(f"addition-{number}", f"Sums of task vectors, {about}", heads, [rows], region=label)


def _member_cells(of_sum: VectorSum, member: SummedTask, first: bool) -> list[Cell]:
    ends = [","] * (len(of_sum.chosen) - 1) + [""]
    scales = [
        Part(f"{seed}: {scale:g}{end}", "nowrap")
        for (seed, scale), end in zip(of_sum.chosen.items(), ends, strict=True)
    ]
    rows = (
        Part(f"not the same: {' and '.join(map(str, member.rows))}", "wrong")
        if member.shared is None
        else member.shared
    )
    return [
        header(" + ".join(of_sum.tasks), kind="whole")._replace(again=not first),
        cell(*scales, kind="seeds")._replace(again=not first),
        header(member.task, muted(member.metric)),
        decimal(member.sum),
        decimal(member.single),
        *_relative_cells(member.relative),
        decimal(member.majority),
        cell(rows),
    ]


def _relative_cells(found: Relative | None, of: str = "") -> list[Cell]:
    if found is None:
        return [EMPTY] * 3
    return [decimal(found.mean, "mean", places=1), interval(found.interval), cell(f"{found.units}{of}")]


def _controls_table(each: Addition, number: int) -> Table:
    rows = []
    for control in each.controls:
        name = header(control.name, "" if control.same else Part("not on the same test rows", "wrong"))
        means = decimal(control.control.mean, places=1), decimal(control.sums.mean, places=1)
        rows.append(Row([name, cell(control.sets), *means, *comparison(control.tested, why="one task")]))
    heads = [
        *columns("Instead of the sum", "Sets of tasks#", "Relative#", "The sums#"),
        *comparison_columns("Sums\u00a0−\u00a0control", "Tasks"),
    ]
    caption = (
        f"In the place of the sums of stage {each.stage}: relative performance, and that of the same sums, at the best of the "
        "scales that both have"
    )
    label = f"Controls of the sums of stage {each.stage}, {each.dtype}"
    return Table(f"addition-controls-{number}", caption, heads, [rows], "controls", label)
