"""Our cosines of task prompts beside the published heat map of T5 (Task Prompt Vectors, supplement, figure 1).

As published: of token means, over all stored rows, of which T5 read half. Where no row is dead all rows are live ones.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from cpeft.report.study import Comparison, Study

KINDS = {"same_origin": "same", "different_origin": "other"}  # of pairs: published, and in similarity.json


class Pair(NamedTuple):
    """Two tasks, or one with itself; (published, ours) over pairs of one origin and of different ones, None where there is
    none."""

    tasks: tuple[str, str]
    same: tuple[float | None, float | None]
    other: tuple[float | None, float | None]


class Cosines(NamedTuple):
    source: str
    caution: str
    pairs: tuple[Pair, ...]


def cosines(study: Study, figures: Mapping[str, Any], plain: Callable[[str], str]) -> Cosines | None:
    """Of the first comparison with tasks of the map, if there is one; `plain` makes their names comparable."""
    found = (tuple(_pairs(comparison, figures["cells"]["t5_prompts"], plain)) for comparison in study.comparisons)
    pairs = next(filter(None, found), ())
    return Cosines(figures["source"], figures["caution"], pairs) if pairs else None


def _pairs(comparison: Comparison, cells: Mapping[str, Any], plain: Callable[[str], str]) -> list[Pair]:
    cards = {card["rows"]: card for card in comparison.found["cards"] if card["what"] == "prompts"}
    card = cards.get("all", cards["live"])
    places = {plain(task): place for place, task in enumerate(card["tasks"])}
    pairs = []
    for names, cell in cells.items():
        known = [places[name] for task in names.split("|") if (name := plain(task)) in places]
        if len(known) == 2:
            one, two = known
            told = [(cell.get(kind), card["by_task"]["token_mean"][pair][one][two]) for kind, pair in KINDS.items()]
            same, other = ((theirs, ours if theirs is not None else None) for theirs, ours in told)
            if same[1] is not None or other[1] is not None:
                pairs.append(Pair((card["tasks"][one], card["tasks"][two]), same, other))
    return pairs
