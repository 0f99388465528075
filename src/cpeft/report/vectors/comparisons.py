"""The report's section on comparisons of prompts: heat maps, averages by origin, norms, from `similarity.json` alone."""

from collections.abc import Iterator
from itertools import count
from typing import Any

import numpy as np

from cpeft.report.render.numbers import cell, columns, header
from cpeft.report.render.table import Row, Table
from cpeft.report.section import Page, section
from cpeft.report.study import SavedComparison, distinct
from cpeft.report.vectors.similarity import TITLES, number, panels, picture
from cpeft.store.similarity import PromptNorms, SimilarityTables

KINDS = {
    ("prompts", "live"): "Prompts",
    ("prompts", "all"): "Prompts, all stored rows",
    ("vectors", "live"): "Task vectors",
}
NORM_TITLES = ("|p|#", "|v|#", "|v| / |origin|#")


@section("similarity", "Prompt similarity", 120)
def similarity(page: Page) -> dict[str, Any] | None:
    """Every comparison of the store."""
    numbers = count(1)
    found = [_content(each, f"alike-{i}", numbers) for i, each in enumerate(page.study.comparisons)]
    return {"comparisons": found} if found else None


def _content(comparison: SavedComparison, name: str, numbers: Iterator[int]) -> dict[str, Any]:
    """`numbers` are those of the tables."""
    cards = comparison.found.cards
    whole = next(card for card in cards if (card.what, card.rows) == ("prompts", "live"))
    title = f"{comparison.folder.path.parent.name}: {', '.join(comparison.found.compare)}"
    return {
        "title": title,
        "groups": [_group(card, f"{name}-{i}", title, numbers) for i, card in enumerate(cards)],
        "by_task": _mean_norms(whole, title, next(numbers)) if whole.repeated else None,
        "norms": _norms(whole, title, next(numbers)),
    }


def _group(card: SimilarityTables, name: str, title: str, numbers: Iterator[int]) -> dict[str, Any]:
    """One kind of rows: for each published measure the published averages and beside them those over different origins."""
    kind, grid = KINDS[card.what, card.rows], panels(card)
    drawn = [list(measure) for measure in zip(*grid, strict=True)] if card.repeated else grid
    return {
        "title": kind,
        "count": len(card.prompts),
        "origins": len(distinct(each.origin for each in card.prompts if each.origin)),
        "picture": picture(drawn, name, f"{title}, {kind}"),
        "gaps": _gaps(card, kind, title, next(numbers)) if card.repeated else None,
    }


def _gaps(card: SimilarityTables, kind: str, title: str, place: int) -> Table:
    keys = ("same origin", "other origin", "gap", "same task, other origin", "pairs of tasks")
    rows = [
        Row([header(TITLES[measure]), *(cell(number(gap[key]) or "–") for key in keys)])
        for measure, gap in card.gaps.items()
    ]
    caption = (
        f"{kind} of two different tasks: means over pairs of one origin and of different origins, over those pairs of tasks "
        "that have both; beside them one task from different origins"
    )
    heads = columns(
        "Measure", "Same origin#", "Other origin#", "Difference#", "Same task, other origin#", "Pairs of tasks#"
    )
    return Table(f"similarity-{place}", caption, heads, [rows], region=f"Averages by origin: {title}, {kind}")


def _mean_norms(card: SimilarityTables, title: str, place: int) -> Table:
    rows = []
    for task in card.tasks:
        own = [_sizes(each) for each in card.prompts if each.task == task]
        known = [[size for size in sizes if size is not None] for sizes in zip(*own, strict=True)]
        means = [_norm(float(np.mean(values)) if values else None) for values in known]
        rows.append(Row([header(task), cell(len(own)), *map(cell, means)]))
    caption = (
        "Means over the prompts of a task, live rows: |p| of the prompt, |v| of its task vector, and |v| over the norm of the "
        "origin"
    )
    heads = columns("Task", "Prompts#", *NORM_TITLES)
    return Table(f"similarity-{place}", caption, heads, [rows], region=f"Norms by task: {title}")


def _norms(card: SimilarityTables, title: str, place: int) -> Table:
    rows = [Row([header(each.name), *(cell(_norm(size)) for size in _sizes(each))]) for each in card.prompts]
    caption, heads = "Norms of live rows; a name is a prompt and its seed", columns("Prompt", *NORM_TITLES)
    return Table(f"similarity-{place}", caption, heads, [rows], region=f"Norms of every prompt: {title}")


def _sizes(prompt: PromptNorms) -> tuple[float | None, ...]:
    """|p|, |v| and |v| / |origin|."""
    return prompt.norm, prompt.travelled, prompt.share


def _norm(value: float | None) -> str:
    """Three digits."""
    return "–" if value is None else f"{value:#.3g}" if abs(value) < 1000 else f"{value:,.0f}"
