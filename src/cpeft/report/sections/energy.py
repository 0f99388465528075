"""Electricity and emissions of a store by stage, from `energy` in its results, and a published estimate to hold them against.

What killed and failed runs spent is counted too: it stands in their folders. The published estimate is
hours x watts x kg per kWh; the figure printed with it is not the product of its own inputs, so both are shown.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from cpeft.report.render.numbers import cell, columns, decimal, header
from cpeft.report.render.table import Row, Table
from cpeft.report.section import Page, section
from cpeft.report.study import Study, distinct
from cpeft.store.result import Energy, RunResult, SearchResult, Spent
from cpeft.store.run_folder import RunFolder

MISSING = "Not measured"
Measured = RunResult | SearchResult
PUBLISHED = Path(__file__).parents[1] / "published" / "published.json"


@dataclass(frozen=True)
class StageEnergy:
    """A stage: its finished runs, how many of them were measured, and what these and its unfinished runs spent."""

    stage: str
    runs: int
    measured: int
    hours: float
    kwh: float
    kg: float


@dataclass(frozen=True)
class PublishedEstimate:
    """A published estimate: its inputs, and the figure printed with them."""

    source: str
    caution: str
    hours: float
    watts: float
    intensity: float
    printed: float

    @property
    def product(self) -> float:
        """kg of CO2e that follow from the inputs."""
        return self.hours * self.watts / 1000 * self.intensity

    @property
    def watts_needed(self) -> float:
        """The power at which the other inputs would give the figure that was printed."""
        return 1000 * self.printed / (self.hours * self.intensity)


@dataclass(frozen=True)
class Bill:
    """What a store spent; `notes` hold how it was measured, as texts by heading, and why it was not."""

    lines: tuple[StageEnergy, ...]
    notes: dict[str, list[str]]
    published: PublishedEstimate

    @property
    def measured(self) -> bool:
        return any(line.measured or line.kwh for line in self.lines)

    @property
    def summary(self) -> str:
        """In a few words."""
        missing = "; ".join(self.notes.get(MISSING, []))
        if not self.measured:
            return f"not measured ({missing})"
        units = ("Wh", "g") if self.small else ("kWh", "kg")
        spent = f"{self.figure(self.total.kwh)} {units[0]}, {self.figure(self.total.kg)} {units[1]} CO₂e"
        return f"{spent} of {self.total.measured} runs" + (f"; not measured: {missing}" if missing else "")

    @cached_property
    def total(self) -> StageEnergy:
        return StageEnergy(
            "all", sum(line.runs for line in self.lines), sum(line.measured for line in self.lines),
            *(math.fsum(getattr(line, what) for line in self.lines) for what in ("hours", "kwh", "kg")),
        )  # fmt: skip

    @property
    def small(self) -> bool:
        """Whether Wh and g are the readable units."""
        return self.total.kwh < 1

    def figure(self, value: float) -> str:
        """kWh or kg in the readable unit: three significant digits, never an exponent."""
        shown = 1000 * value if self.small else value
        places = max(0, 2 - math.floor(math.log10(shown))) if shown > 0 else 0
        return f"{shown:,.{places}f}"


@section("energy", "Electricity", 170)
def energy(page: Page) -> dict[str, Any] | None:
    """What was measured; beside a paper's figures, its estimate in any case."""
    found = bill(page.study)
    shown = {"bill": found, "table": _table(found), "published": found.published if page.paper else None}
    return shown if found.measured or page.paper else None


def _table(found: Bill) -> Table:
    units = ("Wh#", "g CO₂e#") if found.small else ("kWh#", "kg CO₂e#")
    rows = [
        Row(
            [
                header(line.stage),
                cell(line.runs),
                cell(line.measured),
                decimal(line.hours),
                cell(found.figure(line.kwh)),
                cell(found.figure(line.kg)),
            ],
            "total" if line is found.total else "",
        )
        for line in (*found.lines, found.total)
    ]
    heads = columns("Stage", "Runs#", "Measured#", "Hours#", *units)
    return Table("energy-1", "Electricity and emissions by stage", heads, [rows], region="Electricity by stage")


def bill(study: Study) -> Bill:
    """What the store spent as far as it was measured."""
    unfinished = {
        folder: spent for folder in study.store.runs() if not folder.done and (spent := folder.energy()) is not None
    }  # fmt: skip
    results: list[Measured] = [*study.results, *(each.result for each in study.tries)]
    stages = distinct([*(result.stage for result in results), *(folder.path.parent.name for folder in unfinished)])
    lines = tuple(_line(stage, results, unfinished) for stage in stages)
    entry = json.loads(PUBLISHED.read_text(encoding="utf-8"))["emissions"]
    return Bill(lines, _notes(results), PublishedEstimate(**entry))


def _line(stage: str, every_result: Sequence[Measured], unfinished: dict[RunFolder, Spent]) -> StageEnergy:
    results = [result for result in every_result if result.stage == stage]
    found = [result.energy for result in results if result.energy]
    lost = [spent for folder, spent in unfinished.items() if folder.path.parent.name == stage]
    every: list[Energy | Spent] = [*found, *lost]
    return StageEnergy(
        stage, len(results), len(found), hours=sum(result.seconds.total for result in results) / 3600,
        kwh=math.fsum(spent.kwh for spent in every), kg=math.fsum(spent.kg for spent in every),
    )  # fmt: skip


def _notes(results: Sequence[Measured]) -> dict[str, list[str]]:
    found = [result.energy for result in results if result.energy]
    missing = [result.energy_reason or "made before energy was measured" for result in results if not result.energy]
    notes = {
        "Sensors": distinct(sensor for each in found for sensor in each.sensors),
        "Measured": distinct(
            f"the whole {each.scope}" if each.scope == "machine" else "this process" for each in found
        ),
        "Emissions": distinct(_grid(each) for each in found),
        "Measured by": distinct(f"codecarbon {each.codecarbon}" for each in found),
        MISSING: [f"{(n := missing.count(why))} run{'s' * (n > 1)}: {why}" for why in distinct(missing)],
    }
    return {heading: texts for heading, texts in notes.items() if texts}


def _grid(energy: Energy) -> str:
    where = f"electricity of {energy.country}" if energy.country else "intensity as set, or the world's average"
    return where if energy.intensity is None else f"{energy.intensity:.3f} kg CO2e per kWh ({where})"
