"""How the report writes numbers and comparisons: texts, and the cells of tables made of them."""

from collections.abc import Sequence

from cpeft.report.render.table import Cell, Column, Part
from cpeft.stats.corrected_tests import Tested
from cpeft.stats.summaries import Summary

EMPTY = Cell()


def fixed(value: float, places: int = 2) -> str:
    return f"{value:.{places}f}"


def signed(value: float, places: int = 2) -> str:
    """With its sign, minus as the page writes it."""
    return f"{value:+.{places}f}".replace("-", "−")


def between(interval: Sequence[float]) -> str:
    """The bounds of an interval."""
    return f"[{interval[0]:.1f}, {interval[1]:.1f}]".replace("-", "−")


def probability(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def muted(text: str) -> Part:
    return Part(text, "muted")


def cell(*parts: object, kind: str = "") -> Cell:
    """Texts and numbers as they are."""
    return Cell(tuple(part if isinstance(part, Part) else str(part) for part in parts if part != ""), kind)


def header(*parts: str | Part, kind: str = "") -> Cell:
    """The head of a row."""
    return Cell(tuple(part for part in parts if part), kind, header=True)


def decimal(value: float | None, kind: str = "", places: int = 2) -> Cell:
    """A number in fixed places; empty where there is none."""
    return EMPTY if value is None else cell(fixed(value, places), kind=kind)


def interval(found: Sequence[float] | None) -> Cell:
    return EMPTY if found is None else cell(between(found))._replace(sort=found[0])


def p_value(p: float | None) -> Cell:
    return EMPTY if p is None else cell(probability(p))._replace(sort=p)


def summary(found: Summary | None, kind: str = "") -> Cell:
    """Mean ± standard deviation (number of values)."""
    if found is None:
        return EMPTY
    spread = "" if found.deviation is None else f" ± {fixed(found.deviation)}"
    return cell(fixed(found.mean) + spread, muted(f"({found.runs})"), kind=kind)


def columns(*titles: str) -> list[Column]:
    """Columns of text, and of numbers where the title ends in `#`."""
    return [Column(title.removesuffix("#"), number=title.endswith("#")) for title in titles]


def comparison_columns(what: str, units: str, published: bool = False) -> list[Column]:
    """The heads of `comparison`."""
    numbers = columns(*(f"{title}#" for title in (what, "95% interval", "g", units, "p", "p, Holm")))
    return [*numbers, Column("Verdict"), *[Column("As published")] * published]


def comparison(each: Tested | None, published: bool = False, why: str = "") -> list[Cell]:
    """A comparison: difference, interval, Hedges' g, units, p, corrected p and verdict; `why` where there is none."""
    if each is None:
        return [*[EMPTY] * 6, cell(why, kind="muted"), *[EMPTY] * published]
    paired, verdict = each.paired, ""
    if each.published:
        p = each.published.p
        verdict = each.published.verdict.value + ("" if p is None else f", p {probability(p)}")
    effect = EMPTY if paired.hedges_g is None else cell(signed(paired.hedges_g))
    numbers = [cell(signed(paired.mean), kind="mean"), interval(paired.t_interval), effect, cell(paired.units)]
    verdicts = [cell(each.shown, kind="verdict"), *[cell(verdict, kind="verdict")] * published]
    return [*numbers, p_value(paired.p), p_value(each.p), *verdicts]
