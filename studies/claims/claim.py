"""What a claim is: its wording and place in a paper, and the evidence, each with a function from data to a verdict."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from cpeft.stats.intervals import Interval


class Verdict(StrEnum):
    SUPPORTED = "supported at our size"
    NOT_SHOWN = "not shown"
    REFUTED = "refuted at our size"
    ARTEFACT = "arithmetic or artefact"
    NOT_TESTABLE = "not testable here"


@dataclass(frozen=True)
class Found:
    """What data say of a claim: the figure as it is printed, the verdict, the estimate with its 95% interval, both None where
    there is nothing to estimate; of several planned comparisons those of the first."""

    figure: str
    verdict: Verdict
    estimate: float | None = None
    interval: Interval | None = None


Read, Judge = Callable[[], Any], Callable[[Any], Found]


@dataclass(frozen=True)
class Evidence:
    """One study as a witness. `read` gives its data, None where they are not committed; `judge` turns them into a verdict."""

    study: str  # a folder of studies, a packaged recipe, or a file of the repository
    model: str
    command: str
    read: Read
    judge: Judge

    def found(self) -> Found:
        data = self.read()
        return Found("not run yet", Verdict.NOT_TESTABLE) if data is None else self.judge(data)


@dataclass(frozen=True)
class Claim:
    """A published claim. `quoted`: whether `words` are the paper's own, or ours for what it states."""

    name: str
    words: str
    place: str
    needs: str
    evidence: tuple[Evidence, ...]
    quoted: bool = False
