"""Answers to look through: up to a hundred test rows of every run, wrong ones first, searched in the page.

Runs of a task answer the same rows, so a row's text stands in the page once. An answer counts as right here if it equals a
reference, letter by letter; metrics may be kinder. All rows of a run are in its `predictions.parquet`. Of runs that keep no
texts errors are counted and nothing is shown.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from cpeft.report.render.numbers import cell, columns, header
from cpeft.report.render.table import Cell, Part, Row, Table
from cpeft.report.section import Page, section
from cpeft.report.study import Run

ROWS = 100  # of a run
SHOWN = 700  # characters of an example that the model read
TEXT = 300  # characters of a source, a reference or an answer


@section("predictions", "Browse predictions", 160)
def predictions(page: Page) -> dict[str, Any] | None:
    """`texts`: task -> row -> [source, references]; `runs`: what each is, its rows and errors in all, and [task, row, answer,
    right] of those that are shown. None where no run kept its answers."""
    texts: dict[str, dict[int, list[Any]]] = {}
    runs = []
    for run in page.study.runs:
        if not run.answers:
            continue
        judged = [(row["prediction"] not in row["references"], row) for row in run.answers]
        shown = sorted(judged, key=lambda each: not each[0])[: ROWS if run.keeps_texts else 0]
        for _, row in shown:
            references = [cut(text) for text in row["references"]]
            texts.setdefault(row["task"], {})[row["row"]] = [cut(row["source"]), references]
        rows = [[row["task"], row["row"], cut(answer_text(row)), not wrong] for wrong, row in shown]
        runs.append(
            {**_card(page, run), "total": len(judged), "wrong": sum(wrong for wrong, _ in judged), "rows": rows}
        )
    return {"content": {"texts": texts, "runs": runs}, "errors": _errors(runs)} if runs else None


def _errors(runs: Sequence[dict[str, Any]]) -> Table:
    rows = []
    for run in runs:
        counts = cell(run["seed"]), cell(run["wrong"]), cell(run["total"])
        rows.append(
            Row(
                [cell(run["stage"]), header(run["label"]), *counts, cell(Part(run["path"], "reason", link=run["link"]))]
            )
        )
    heads = columns("Stage", "Method", "Seed#", "Wrong#", "Rows#", "Folder")
    caption = "Test rows answered wrongly (exact match)"
    return Table("errors", caption, heads, [rows], region="Errors of every run")


def _card(page: Page, run: Run) -> dict[str, Any]:
    stage, label = run.group
    path = run.folder.path.relative_to(page.study.store.path).as_posix()
    return {"stage": stage, "label": label, "seed": run.result.seed, "path": path, "link": page.links[run.folder.id]}


def answer_text(row: dict[str, Any]) -> str:
    """An answer as it is shown: the label it was matched with, else its words."""
    return f"{row['answer']} (no label)" if row["prediction"] is None else str(row["prediction"])


def cut(text: str) -> str:
    return text if len(text) <= TEXT else f"{text[:TEXT]} …"


@dataclass(frozen=True)
class ShownAnswer:
    """A test row, what the model read and answered, and the weights behind the answer."""

    task: str
    run: Run
    row: dict[str, Any]
    read: str
    answer: str
    right: bool
    weights: list[tuple[str, float]]


@section("examples", "Example predictions", 150)
def examples(page: Page) -> dict[str, Any] | None:
    """Three test rows, by the rule that the page states: the first rows of the first three tasks, and both outcomes."""
    open_ = [run for run in page.study.runs if run.keeps_texts]
    mixed = [run for run in open_ if next(run.weights(), None)]
    first: dict[str, Run] = {}
    for run in mixed or [run for run in open_ if run.result.prompts]:
        for task in run.result.tasks:
            first.setdefault(task, run)
    tasks = list(first)[:3]
    if not tasks:
        return None
    rows = {task: _examples(task, first[task]) for task in tasks}
    chosen = [rows[tasks[i % len(tasks)]][i // len(tasks) :][:1] for i in range(3)]
    picked = [each for found in chosen for each in found]
    if len({each.right for each in picked}) == 1:
        other = (each for each in rows[picked[-1].task] if each.right != picked[-1].right)
        picked[-1] = next(other, picked[-1])
    tables = [_bars(example, number) for number, example in enumerate(picked, 1)]
    return {"examples": list(zip(picked, tables, strict=True)), "weights": bool(mixed), "shown": SHOWN}


def _bars(example: ShownAnswer, number: int) -> Table | None:
    """The attention weights of an example's row."""
    rows = []
    for name, weight in example.weights:
        bar = Markup('<span class="bar" style="width: {}%"></span>').format(round(100 * weight, 1))
        rows.append(Row([header("own prompt" if name == "target" else name), Cell(drawing=bar), cell(f"{weight:.3f}")]))
    caption, heads = "Attention weights", columns("", "", "#")
    return (
        Table(f"examples-{number}", caption, heads, [rows], "bars", f"{caption} of example {number}") if rows else None
    )


def _examples(task: str, run: Run) -> list[ShownAnswer]:
    table = run.folder.predictions()
    names = run.folder.predictions_metadata().get("attention", "").split("\t")
    return [
        ShownAnswer(task, run, row, row.get("read", row["source"]), answer_text(row), row["prediction"] in row["references"],
                list(zip(names, row["attention"], strict=False)))
        for row in (table.to_pylist() if table is not None else ())
        if row["task"] == task
    ]  # fmt: skip
