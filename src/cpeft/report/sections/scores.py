"""The tables of scores: every task and metric by method, with intervals and every seed, a table per dtype.

Where runs differ in their number of training examples, each number is a column; else the seeds and the interval are drawn, on
an axis fitted to the task.
"""

import math
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from markupsafe import Markup

from cpeft.report.render.drawing import line_style, swatch
from cpeft.report.render.numbers import EMPTY, between, cell, columns, decimal, fixed, header, muted
from cpeft.report.render.table import Cell, Column, Part, Row, Table
from cpeft.report.section import Page, section
from cpeft.report.study import Run
from cpeft.report.summary import MethodScore, scale_of, summarise
from cpeft.report.vectors.lines import Shots, Trial, examples, rising

ROOM = 0.08  # of the range of seeds and constant answer, left free at both ends of an axis
Kinds = Mapping[tuple[str, str], tuple[str, Shots]]  # method and number of examples by stage and label


@section("scores", "Results by task", 20)
def scores(page: Page) -> dict[str, Any] | None:
    """One table of means per dtype, because a table mixes none, and one of every seed with links to the runs."""
    runs: dict[str, list[Run]] = {}
    for run in page.study.runs:
        runs.setdefault(run.result.model.dtype, []).append(run)
    tables = [_tables(page, of_dtype, dtype, 2 * number) for number, (dtype, of_dtype) in enumerate(runs.items())]
    return {"tables": tables} if tables else None


def _tables(page: Page, runs: Sequence[Run], dtype: str, number: int) -> dict[str, Table]:
    """The table of means, and that of every seed."""
    found = summarise(runs)
    rows = [
        Row([cell(each.task), cell(each.stage), header(each.method), cell(each.metric), *_seeds(page, each)])
        for each in found
        if each.kind != "fixed"
    ]
    titles = columns("Task", "Stage", "Method", "Metric", "sd#", "Seed: score, with a link to the run")
    caption = f"Test score of every run in per cent and standard deviation over seeds, frozen model in {dtype}"
    seeds = Table(f"scores-{number + 2}", caption, titles, [rows], region=f"Every seed’s score, {dtype}")
    return {"means": _means(page, found, runs, dtype, f"scores-{number + 1}"), "seeds": seeds}


def _seeds(page: Page, each: MethodScore) -> list[Cell]:
    parts = (Part(f"{seed}: {fixed(value)}", "nowrap", link=page.links[run]) for seed, value, run in each.by_seed)
    return [decimal(each.deviation), cell(*parts, kind="seeds")]


def _means(page: Page, found: Sequence[MethodScore], runs: Sequence[Run], dtype: str, name: str) -> Table:
    """A group of rows for each task and metric: its head, the constant answer, and methods by stage."""
    kinds = {run.group: (run.method, Trial.of(run, run.result.tasks[0]).shots) for run in runs}
    settings = rising({shots for _, shots in kinds.values()})
    if drawn := len([shots for shots in settings if shots != 0]) < 2:
        kinds = {group: (method, "full") for group, (method, _) in kinds.items()}
        settings = ["full"]
    numbers, bodies = page.study.numbers, []
    for _, group in groupby(found, key=lambda each: (each.task, each.metric)):
        rivals = list(group)
        axis, constants = _axis(rivals), [each for each in rivals if each.kind == "fixed"]
        title = header(rivals[0].task, muted(rivals[0].metric))._replace(span=2 + len(settings))
        rows = [Row([title, *[Cell(kind="plotted", drawing=_ends(axis))] * drawn, EMPTY], "task")]
        for each in constants:
            means = [cell(fixed(each.mean))] * len(settings)
            plot = [Cell(kind="plotted", drawing=_strip(each, axis))] * drawn
            rows.append(Row([EMPTY, header(each.method), *means, *plot, EMPTY], "fixed"))
        last = ""
        for (stage, method), line in _lines(rivals, kinds).items():
            first = next(iter(line.values()))
            number = numbers[kinds[stage, first.method][0]]
            means = [_mean(line[shots]) if shots in line else EMPTY for shots in settings]
            plot = [Cell(kind="plotted", drawing=_strip(first, axis, constants, number))] * drawn
            where = cell(stage, kind="stage")._replace(again=stage == last)
            named = header(method, Part(stage, "narrow") if stage != method else "")._replace(drawing=swatch(number))
            trained = EMPTY if first.trainable is None else cell(f"{first.trainable:,}")
            rows.append(Row([where, named, *means, *plot, trained]))
            last = stage
        bodies.append(rows)
    titles = ["Mean and 95% interval#"] if drawn else [f"{examples(shots).capitalize()}#" for shots in settings]
    plotted = [Column("Seeds, mean and interval", kind="plotted")] * drawn
    heads = [
        Column("Stage", kind="stage"),
        Column("Method"),
        *columns(*titles),
        *plotted,
        Column("Trained", number=True),
    ]
    caption = f"Test scores in per cent by task, metric and method, frozen model in {dtype}"
    return Table(name, caption, heads, bodies, "scores", f"Scores, {dtype}")


def _lines(rivals: Sequence[MethodScore], kinds: Kinds) -> dict[tuple[str, str], dict[Shots, MethodScore]]:
    """The methods of one task and metric by stage and name, each with its numbers of examples."""
    found: dict[tuple[str, str], dict[Shots, MethodScore]] = {}
    for each in rivals:
        if each.kind != "fixed":
            method, shots = kinds[each.stage, each.method]
            taken = shots in found.get((each.stage, method), {})
            found.setdefault((each.stage, each.method if taken else method), {})[shots] = each
    return found


def _mean(each: MethodScore) -> Cell:
    bounds = (
        f"{each.seeds} seeds alike" if each.same else between((each.low, each.high)) + " rows" * (each.kind == "rows")
    )
    return cell(Part(fixed(each.mean), "mean"), Part(bounds, "small", each.seeds_text))._replace(sort=each.mean)


def _ends(axis: tuple[float, float]) -> Markup:
    return Markup('<div class="ends"><span>{:.1f}</span><span>{:.1f}</span></div>').format(*axis)


def _axis(rivals: Sequence[MethodScore]) -> tuple[float, float]:
    """From below the lowest seed, constant answer or interval over rows to above the highest. Intervals over a few seeds are
    often as wide as the metric, and go on beyond the ends."""
    ends = [end for each in rivals for end in (*each.values, *((each.low, each.high) if each.kind == "rows" else ()))]
    values = [end for end in ends if math.isfinite(end)] or [0.0]
    room, scale = ROOM * (max(values) - min(values)) or 1.0, scale_of(rivals[0].metric)
    return max(min(values) - room, scale.low), min(max(values) + room, scale.high)


def _place(value: float, axis: tuple[float, float]) -> float:
    """Where on an axis a value lies, in per cent; ends for values beyond it."""
    low, high = axis
    return round(100 * min(max((value - low) / (high - low), 0.0), 1.0), 1)


def _strip(
    each: MethodScore, axis: tuple[float, float], constants: Sequence[MethodScore] = (), number: int = 0
) -> Markup:
    """Every seed as a dot, their mean, the interval and the best constant answer on a line; of a constant this alone."""
    if each.kind == "fixed":
        return Markup('<div class="strip">{}</div>').format(_mark("bar", _place(each.mean, axis)))
    low, high = _place(each.low, axis), _place(each.high, axis)
    cut = " below" * (each.low < axis[0]) + " above" * (each.high > axis[1])
    kind = "interval rows" if each.kind == "rows" else "interval"
    marks = [
        *(_mark("bar", _place(constant.mean, axis)) for constant in constants[:1]),
        _mark(kind + cut, low, f"; right: {round(100 - high, 1)}%"),
        *(_mark("dot", _place(value, axis)) for _, value, _ in each.by_seed),
        _mark("mean", _place(each.mean, axis)),
    ]
    plot = Markup('<div class="strip" style="--dot: {0}" title="{1}"><span class="hidden">{1}</span>{2}</div>')
    return plot.format(line_style(number)[0], each.seeds_text, Markup("").join(marks))


def _mark(kind: str, place: float, more: str = "") -> Markup:
    """`place` in per cent of the width."""
    return Markup('<i class="{}" style="left: {}%{}"></i>').format(kind, place, more)
