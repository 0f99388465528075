"""The report's section on comparisons of prompts: heat maps, averages by origin, norms, from `similarity.json` alone."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from cpeft.report.study import Comparison, Section, Study, distinct
from cpeft.report.vectors.similarity import TITLES, Card, number, panels, picture, repeated

KINDS = {
    ("prompts", "live"): "Prompts",
    ("prompts", "all"): "Prompts, all stored rows",
    ("vectors", "live"): "Task vectors",
}
NORMS = ("norm", "travelled", "travelled/origin")  # |p|, |v|, |v| / |origin|


def similarity_maps(study: Study) -> Section | None:
    """Every comparison of the store."""
    found = [_content(comparison, f"alike-{i}") for i, comparison in enumerate(study.comparisons)]
    return Section("similarity", "How alike the prompts are", found) if found else None


def _content(comparison: Comparison, name: str) -> dict[str, Any]:
    cards = comparison.found["cards"]
    whole = next(card for card in cards if (card["what"], card["rows"]) == ("prompts", "live"))
    return {
        "title": f"{comparison.folder.path.parent.name}: {', '.join(comparison.found['compare'])}",
        "groups": [_group(card, f"{name}-{i}") for i, card in enumerate(cards)],
        "by_task": [(task, *_mean_norms(whole, task)) for task in whole["tasks"]] if repeated(whole) else [],
        "norms": [(each["name"], *(_norm(each[key]) for key in NORMS)) for each in whole["prompts"]],
    }


def _group(card: Card, name: str) -> dict[str, Any]:
    """One kind of rows: for each published measure the published averages and beside them those over different origins."""
    drawn = [panel for measure in zip(*panels(card), strict=True) for panel in measure]
    return {
        "title": KINDS[card["what"], card["rows"]], "count": len(card["prompts"]),
        "origins": len(distinct(each["origin"] for each in card["prompts"] if each["origin"])),
        "pictures": [(panel[0], picture(panel, f"{name}-{i}")) for i, panel in enumerate(drawn)],
        "gaps": list(_gaps(card)) if repeated(card) else [],
    }  # fmt: skip


def _gaps(card: Card) -> Iterator[tuple[str, ...]]:
    keys = ("same origin", "other origin", "gap", "same task, other origin", "pairs of tasks")
    for measure, gap in card["gaps"].items():
        yield TITLES[measure], *(number(gap[key]) or "–" for key in keys)


def _mean_norms(card: Card, task: str) -> list[str]:
    """Number of prompts, and the means of their norms."""
    own = [each for each in card["prompts"] if each["task"] == task]
    known = [[each[key] for each in own if each[key] is not None] for key in NORMS]
    return [str(len(own)), *(_norm(float(np.mean(values)) if values else None) for values in known)]


def _norm(value: float | None) -> str:
    """Three digits."""
    return "–" if value is None else f"{value:#.3g}" if abs(value) < 1000 else f"{value:,.0f}"
