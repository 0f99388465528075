"""docs/claims.md from the claims."""

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from studies.claims import arithmetic, attempt, significance, vectors
from studies.claims.claim import Claim, Evidence, Found, Verdict
from studies.claims.frames import STUDIES, table_with
from studies.claims.rules import FEWEST, MOST_PLANNED

PAGE = STUDIES.parent / "docs" / "claims.md"
GROUPS = (
    ("ATTEMPT and its replication", "Asai et al. (2022) and the replication study of Belanec et al.", attempt.CLAIMS),
    ("Task prompt vectors", "Belanec et al. (2024).", vectors.CLAIMS),
    ("Arithmetic", "Claims that need no run.", arithmetic.CLAIMS),
    (
        "Artefacts",
        "Faults of published code that make a published figure, with what demonstrates each.",
        arithmetic.ARTEFACTS,
    ),
    (
        "Published significance",
        "Pairs of figures that the published test finds significant, tested again from what was printed "
        "([tpv-rejudged](../studies/tpv-rejudged/README.md)).",
        tuple(significance.significance()),
    ),
)
GATES = ("smollm2-gate", "minilm-gate")
CLAIMS = tuple(claim for _, _, claims in GROUPS for claim in claims)


def written() -> str:
    """The page."""
    groups = [(title, text, [Judged.of(claim) for claim in claims]) for title, text, claims in GROUPS]
    counts = Counter(each.verdict for *_, judged in groups for each in judged)
    place = FileSystemLoader(Path(__file__).parent)
    page = Environment(loader=place, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    page.filters |= {"cell": lambda text: str(text).replace("|", "\\|"), "anchor": _anchor}
    text = page.get_template("page.jinja").render(
        counts={each: counts[each] for each in Verdict},
        groups=groups,
        tasks=FEWEST["tasks"],
        seeds=FEWEST["seeds"],
        planned=MOST_PLANNED,
        gates=[(study, *admitted(study)) for study in GATES],
    )
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def admitted(study: str) -> tuple[int, int]:
    """How many tasks a gate admits, and how many it tuned a prompt for."""
    head, rows = table_with(study, "gate")
    return sum("admitted" in row[head.index("gate")] for row in rows), len(rows)


@dataclass(frozen=True)
class Judged:
    """A claim, its verdict, what gave it (without a verdict the first study with an estimate), and what every study found."""

    claim: Claim
    verdict: Verdict
    decisive: tuple[Evidence, Found]
    found: list[tuple[Evidence, Found]]

    @classmethod
    def of(cls, claim: Claim) -> "Judged":
        found = [(each, each.found()) for each in claim.evidence]
        tested = [pair for pair in found if pair[1].verdict is not Verdict.NOT_TESTABLE]
        known = [pair for pair in found if pair[1].estimate is not None]
        decisive = [*tested, *known, *found][0]
        return cls(claim, decisive[1].verdict, decisive, found)


def _anchor(name: str) -> str:
    return re.sub(r"[^\w\- ]", "", name.lower()).replace(" ", "-")
