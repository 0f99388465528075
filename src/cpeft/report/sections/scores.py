"""The tables of scores: mean, deviation, interval and every seed of each task, metric and method, a table per dtype."""

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import Any

from markupsafe import Markup

from cpeft.report.render.numbers import EMPTY, cell, columns, decimal, fixed, header, muted
from cpeft.report.render.table import Cell, Column, Part, Row, Table
from cpeft.report.section import Page, section
from cpeft.report.study import Run, distinct
from cpeft.report.summary import MethodScore, scale_of, summarise

Place = Callable[[float], float]  # of a score in an interval plot, in per cent of its width
STAR = (Part("★", "star", "best mean of this task"), Part("best mean of this task", "hidden"))


@section("scores", "Scores", 20)
def scores(page: Page) -> dict[str, Any] | None:
    """Mean, deviation and interval per task, metric and method; one table per dtype, because a table mixes none."""
    runs: dict[str, list[Run]] = {}
    for run in page.study.runs:
        runs.setdefault(run.result.model.dtype, []).append(run)
    tables = [_tables(summarise(of_dtype), dtype, number) for number, (dtype, of_dtype) in enumerate(runs.items())]
    return {"tables": tables} if tables else None


def _tables(found: Sequence[MethodScore], dtype: str, number: int) -> dict[str, Table]:
    """The table of means with its plots, and that of every seed."""
    low = 10 * math.floor(min(min(each.low, *each.values) for each in found) / 10)
    high = max(low + 10, 10 * math.ceil(max(max(each.high, *each.values) for each in found) / 10))
    ends = Markup('<div class="ends"><span>{}</span><span>seeds and interval</span><span>{}</span></div>').format(
        low, high
    )
    stage, method, mean, *others = columns("Stage", "Method", "Mean#", "sd#", "95% interval#", "Seeds#", "Trained#")
    heads = [stage._replace(kind="stage"), method, mean, Column(kind="plotted", drawing=ends), *others]
    by_metric = [list(of_metric) for _, of_metric in groupby(found, key=lambda each: (each.task, each.metric))]
    bodies = [
        list(_rows(of_metric, lambda value: round(100 * (value - low) / (high - low), 1))) for of_metric in by_metric
    ]
    caption = f"Test scores in per cent, frozen model in {dtype}; sd is the standard deviation over seeds"
    means = Table(f"scores-{2 * number + 1}", caption, heads, bodies, "scores", f"Scores, {dtype}")
    rows = [
        Row([cell(each.task), cell(each.stage), header(each.method), cell(each.metric), _seeds(each)])
        for each in found
        if each.kind != "fixed"
    ]
    titles = columns("Task", "Stage", "Method", "Metric", "Seed: score")
    caption, label = f"Test score of every run, frozen model in {dtype}", f"Every seed’s score, {dtype}"
    return {"means": means, "seeds": Table(f"scores-{2 * number + 2}", caption, titles, [rows], region=label)}


def _seeds(each: MethodScore) -> Cell:
    return cell(*(Part(f"{seed}: {fixed(value)}", "nowrap") for seed, value in each.by_seed), kind="seeds")


def _rows(rivals: Sequence[MethodScore], place: Place) -> Iterator[Row]:
    """The rows of one task and metric: its head, the constant answer, and methods by stage."""
    constants = [each for each in rivals if each.kind == "fixed"]
    methods = [each for each in rivals if each.kind != "fixed"]
    best = scale_of(methods[0].metric).best(each.mean for each in methods) if len(methods) > 1 else math.inf
    yield Row([header(rivals[0].task, muted(rivals[0].metric))._replace(span=8)], "task")
    for each in constants:
        bar = Markup('<div class="strip">{}</div>').format(_mark("bar", place(each.mean)))
        plot = Cell(kind="plotted", drawing=bar)
        cells = [cell(kind="stage"), header(each.method), decimal(each.mean, "mean"), plot, EMPTY._replace(span=4)]
        yield Row(cells, "fixed")
    for stage in distinct(each.stage for each in methods):
        for number, each in enumerate(each for each in methods if each.stage == stage):
            first = cell(stage, kind="stage")._replace(again=number > 0)
            yield Row([first, *_cells(each, each.mean == best, constants, place)], "best" * (each.mean == best))


def _cells(each: MethodScore, best: bool, constants: Sequence[MethodScore], place: Place) -> list[Cell]:
    stage = Part(each.stage, "narrow") if each.stage != each.method else ""
    rows = [muted("rows")] if each.kind == "rows" else []
    bounds = cell(each.interval) if each.same else cell(f"{each.low:.1f} – {each.high:.1f}", *rows)
    return [
        header(each.method, *(STAR if best else ()), stage),
        decimal(each.mean, "mean"),
        Cell(kind="plotted", drawing=_strip(each, constants, place)),
        decimal(each.deviation),
        bounds._replace(sort=each.low),
        cell(each.seeds),
        EMPTY if each.trainable is None else cell(f"{each.trainable:,}"),
    ]


def _strip(each: MethodScore, constants: Sequence[MethodScore], place: Place) -> Markup:
    """Every seed as a dot, their mean, the interval and the best constant answer on a line."""
    values = "".join(f"seed {seed}: {fixed(value)}, " for seed, value in each.by_seed)
    label = values + ("one and the same value" if each.same else f"interval {each.low:.1f} to {each.high:.1f}")
    kind = "interval rows" if each.kind == "rows" else "interval"
    marks = [
        *(_mark("bar", place(constant.mean)) for constant in constants[:1]),
        _mark(kind, place(each.low), f"; right: {round(100 - place(each.high), 1)}%"),
        *(_mark("dot", place(value)) for _, value in each.by_seed),
        _mark("mean", place(each.mean)),
    ]
    plot = Markup('<div class="strip" title="{0}"><span class="hidden">{0}</span>{1}</div>')
    return plot.format(label, Markup("").join(marks))


def _mark(kind: str, place: float, more: str = "") -> Markup:
    """`place` in per cent of the width."""
    return Markup('<i class="{}" style="left: {}%{}"></i>').format(kind, place, more)
