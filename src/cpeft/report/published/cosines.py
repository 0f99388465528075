"""Our cosines of task prompts beside the published heat map of T5 (Task Prompt Vectors, supplement, figure 1).

As published: of token means, over all stored rows, of which T5 read half. Where no row is dead all rows are live ones.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from cpeft.report.render.numbers import EMPTY, cell, columns, header
from cpeft.report.render.table import Row, Table
from cpeft.report.study import SavedComparison, Study, distinct

KINDS = {"same_origin": "same", "different_origin": "other"}  # of pairs: published, and in similarity.json


class CosinePair(NamedTuple):
    """Two tasks, or one with itself; (published, ours) over pairs of one origin and of different ones, None where there is
    none."""

    tasks: tuple[str, str]
    same: tuple[float | None, float | None]
    other: tuple[float | None, float | None]


class Cosines(NamedTuple):
    source: str
    caution: str
    pairs: tuple[CosinePair, ...]


def cosine_table(found: Cosines) -> Table:
    """The pairs as a table."""
    rows = []
    for tasks, same, other in found.pairs:
        values = (EMPTY if value is None else cell(f"{value:.2f}".replace("-", "−")) for value in (*same, *other))
        rows.append(Row([header(", ".join(distinct(tasks))), *values]))
    figure = "all stored rows, T5 in the supplement (figure 1)"
    caption = f"Cosines of the token means of task prompts, {figure}: means over pairs of prompts"
    heads = columns("Tasks", "Same origin, published#", "ours#", "Other origin, published#", "ours#")
    return Table("against-cosines", caption, heads, [rows], region="Cosines beside published ones")


def cosines(study: Study, figures: Mapping[str, Any], plain: Callable[[str], str]) -> Cosines | None:
    """Of the first comparison with tasks of the map, if there is one; `plain` makes their names comparable."""
    found = (tuple(_pairs(comparison, figures["cells"]["t5_prompts"], plain)) for comparison in study.comparisons)
    pairs = next(filter(None, found), ())
    return Cosines(figures["source"], figures["caution"], pairs) if pairs else None


def _pairs(comparison: SavedComparison, cells: Mapping[str, Any], plain: Callable[[str], str]) -> list[CosinePair]:
    cards = {card.rows: card for card in comparison.found.cards if card.what == "prompts"}
    card = cards.get("all", cards["live"])
    places = {plain(task): place for place, task in enumerate(card.tasks)}
    pairs = []
    for names, published in cells.items():
        known = [places[name] for task in names.split("|") if (name := plain(task)) in places]
        if len(known) == 2:
            one, two = known
            values = [(published.get(kind), card.by_task["token_mean"][pair][one][two]) for kind, pair in KINDS.items()]
            same, other = ((theirs, ours if theirs is not None else None) for theirs, ours in values)
            if same[1] is not None or other[1] is not None:
                pairs.append(CosinePair((card.tasks[one], card.tasks[two]), same, other))
    return pairs
