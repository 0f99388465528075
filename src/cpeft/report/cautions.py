"""What a reader must know before believing the rest: failures, runs at chance, cut texts, rows that splits share.

Nothing here is judged away: it is what run folders say, at the top of the page.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from cpeft.report.study import Study, distinct
from cpeft.report.tables import summarise

CUT = re.compile(r"(\d+) of (\d+) (\w+) sources were cut to (\d+) tokens")
SHARED = "have the text of a"  # how the notes of a split begin to speak of rows in two of its parts
MANY = 0.05  # of a split's texts, from which on cutting is worth a warning


@dataclass(frozen=True)
class Caution:
    """One kind of trouble: what it is, what it means, and where it is."""

    title: str
    meaning: str
    places: tuple[str, ...]


def cautions(study: Study) -> list[Caution]:
    """All that a store gives reason to be careful about; empty where there is none."""
    found = (
        Caution(
            "Runs without a result", "Nothing of them enters any table or figure; the reasons stand below.",
            tuple(folder.path.relative_to(study.store.path).as_posix() for folder in study.unfinished),
        ),
        Caution(
            "At chance", "The mean over seeds does not beat the best constant answer on the test rows: whatever else these "
            "runs show, it is no knowledge of the task.", tuple(_at_chance(study)),
        ),
        Caution(
            "Cut texts", f"More than {MANY:.0%} of a split's texts lost their end; a score there is one of a shortened task.",
            tuple(_notes(study, _is_cut)),
        ),
        Caution("Texts in several splits", "What was found, and what was done about it.", tuple(_notes(study, _is_shared))),
    )  # fmt: skip
    return [caution for caution in found if caution.places]


def _at_chance(study: Study) -> Iterator[str]:
    """Trained methods that do not beat the best constant answer in the task's first metric."""
    for dtype in distinct(result["model"]["dtype"] for result in study.results):
        cells = summarise([r for r in study.results if r["model"]["dtype"] == dtype and r["steps"] > 0])
        constants = {(cell.task, cell.metric): cell.mean for cell in cells if cell.kind == "fixed"}
        for cell in cells:
            constant = constants.get((cell.task, cell.metric))
            if cell.kind != "fixed" and constant is not None and cell.mean <= constant:
                runs = f"{cell.seeds} run{'s' if cell.seeds > 1 else ''}"
                what = cell.stage if cell.method == cell.stage else f"{cell.stage}, {cell.method}"
                yield f"{what}, {cell.task}: {cell.metric} {cell.mean:.1f} of {runs}, best constant answer {constant:.1f}"


def _notes(study: Study, wanted: Callable[[str], bool]) -> list[str]:
    """The notes on data that are wanted, with their task."""
    return distinct(
        f"{task}: {note}" for result in study.results for task, about in result["data"].items() for note in about["notes"]
        if wanted(note)
    )  # fmt: skip


def _is_cut(note: str) -> bool:
    return any(int(cut) > MANY * int(of) for cut, of, *_ in CUT.findall(note))


def _is_shared(note: str) -> bool:
    return SHARED in note
