"""Two stores side by side: the same stage, method, task and seed in both, paired.

For a study made again on another machine, with another version or a changed setting: what became different, and is it more
than chance? Scores are of each task's first metric. A store that holds a method at several settings has a row for each.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cpeft.report.header import machine, short
from cpeft.report.render.numbers import EMPTY, cell, columns, decimal, header, interval, p_value, signed
from cpeft.report.render.table import Row, Table
from cpeft.report.section import Page, section
from cpeft.report.study import Run, Study, distinct
from cpeft.report.variants import labels_apart
from cpeft.report.vectors.starts import headline
from cpeft.stats.many import holm
from cpeft.stats.paired import Paired, compare

Key = tuple[str, str, str]  # stage, method, task
Group = tuple[str, str, tuple[str, ...]]  # stage, label in the recipe, tasks
MISSING = "not written down"
Kind = tuple[str, str]  # name that tells settings apart, dtype


@dataclass(frozen=True)
class Pairing:
    """One stage, method and task over the seeds that both stores have: means, their difference (other minus this) and its p
    after Holm's correction over the table, None with fewer than two seeds; `equal` where every score is the same."""

    key: Key
    mean: float
    other: float
    seeds: int
    equal: bool
    paired: Paired | None
    p: float | None

    @property
    def difference(self) -> float:
        return self.other - self.mean


@dataclass(frozen=True)
class Beside:
    """`rows` as above; runs that one store alone has; and what differs of the two in `facts` (versions, models, machines)."""

    name: str
    other: str
    rows: tuple[Pairing, ...]
    lonely: tuple[int, int]
    facts: tuple[tuple[str, str, str], ...]


@section("beside", "Beside another store", 12, folded=False)
def beside(page: Page) -> dict[str, Any] | None:
    """The page's store beside another one, where one is given."""
    if page.other is None:
        return None
    found = stores_beside(page.study, page.other)
    return {"found": found, "facts": _facts_table(found), "scores": _score_table(found)}


def _facts_table(found: Beside) -> Table | None:
    rows = [Row([header(name), cell(first or "none"), cell(second or "none")]) for name, first, second in found.facts]
    caption, heads = "What is not the same in both", columns("What", found.name, found.other)
    return Table("beside-facts", caption, heads, [rows], "controls", "What differs of the two stores") if rows else None


def _score_table(found: Beside) -> Table | None:
    heads = (
        "Stage",
        "Method",
        "Task",
        f"{found.name}#",
        f"{found.other}#",
        "Difference#",
        "95% interval#",
        "Seeds#",
        "p, Holm#",
    )
    rows = []
    for row in found.rows:
        stage, method, task = row.key
        means = decimal(row.mean), decimal(row.other), cell(signed(row.difference), kind="mean")
        bounds = interval(row.paired.t_interval) if row.paired else EMPTY
        rows.append(Row([cell(stage), header(method), cell(task), *means, bounds, cell(row.seeds), p_value(row.p)]))
    caption = "Test scores in per cent of the same runs"
    label = "The same runs in both stores"
    return Table("beside-scores", caption, columns(*heads), [rows], "controls", label) if rows else None


def stores_beside(study: Study, other: Study) -> Beside:
    """`study` beside another one."""
    names = _names(study, other)
    here, there = (_scores(each, of_store) for each, of_store in zip((study, other), names, strict=True))
    shared = [(key, seeds) for key in here if (seeds := sorted(here[key].keys() & there.get(key, {}).keys()))]
    pairs = [
        ({seed: there[key][seed] for seed in seeds}, {seed: here[key][seed] for seed in seeds}) for key, seeds in shared
    ]
    tested = [compare(*pair) if len(pair[0]) > 1 else None for pair in pairs]
    corrected = iter(holm([paired.p for paired in tested if paired]))
    rows = tuple(
        Pairing(key, _mean(b), _mean(a), len(seeds), a == b, paired, next(corrected) if paired else None)
        for (key, seeds), (a, b), paired in zip(shared, pairs, tested, strict=True)
    )
    lonely = tuple(_count(one) - sum(row.seeds for row in rows) for one in (here, there))
    called = (study.store.path.resolve().name, other.store.path.resolve().name)
    facts = [*_facts(study, other), *_settings(study, other, names, {row.key for row in rows})]
    return Beside(*called, rows, (lonely[0], lonely[1]), tuple(facts))


def _names(study: Study, other: Study) -> list[list[str]]:
    """What the methods of both stores are called here. Where each store has one kind of runs under a label they meet, whatever
    they differ in; else settings, and dtypes where there are several, tell them apart."""
    both = (study.runs, other.runs)
    apart = labels_apart(*([run.variant for run in runs] for runs in both))
    kinds: dict[Group, tuple[set[Kind], set[Kind]]] = {}
    for number, (runs, names) in enumerate(zip(both, apart, strict=True)):
        for run, name in zip(runs, names, strict=True):
            kinds.setdefault(_group(run), (set(), set()))[number].add((name, run.variant.dtype))
    return [[_name(run, name, *kinds[_group(run)]) for run, name in zip(runs, names, strict=True)]
            for runs, names in zip(both, apart, strict=True)]  # fmt: skip


def _group(run: Run) -> Group:
    return run.variant.stage, run.result.label, run.variant.tasks


def _name(run: Run, name: str, here: set[Kind], there: set[Kind]) -> str:
    if max(len(here), len(there)) < 2:
        return run.result.label
    return f"{name}, {run.variant.dtype}" if len({dtype for _, dtype in here | there}) > 1 else name


def _scores(study: Study, names: Sequence[str]) -> dict[Key, dict[int, float]]:
    found: dict[Key, dict[int, float]] = {}
    for run, name in zip(study.runs, names, strict=True):
        for task in run.result.tasks:
            found.setdefault((run.variant.stage, name, task), {})[run.result.seed] = headline(run, task)
    return found


def _mean(scores: Mapping[int, float]) -> float:
    return float(np.mean(list(scores.values())))


def _count(scores: Mapping[Key, Mapping[int, float]]) -> int:
    return sum(map(len, scores.values()))


def _facts(study: Study, other: Study) -> list[tuple[str, str, str]]:
    """What is not the same in both: model, dtype, weights, data and versions."""
    tables = []
    for one in (study, other):
        facts = {"model": distinct(f"{r.model.name} ({r.model.dtype})" for r in one.results)}
        facts["weights"] = distinct(short(r.weights or MISSING) for r in one.results)
        facts["machine"] = distinct(machine(r.hardware) for r in one.results)
        for result in one.results:
            for package, version in result.versions.items():
                facts.setdefault(package, []).append(version)
            for task, about in result.data.items():
                facts.setdefault(f"data of {task}", []).append(short(about.fingerprint or MISSING))
        tables.append({name: ", ".join(sorted(set(values))) for name, values in facts.items()})
    first, second = tables
    names = distinct([*first, *second])
    return [(name, first.get(name, ""), second.get(name, "")) for name in names if first.get(name) != second.get(name)]


def _settings(
    study: Study, other: Study, names: Sequence[Sequence[str]], shared: set[Key]
) -> Iterator[tuple[str, str, str]]:
    """What is not set alike in runs that meet, by stage and method."""
    tables: dict[tuple[str, str], tuple[dict[str, set[str]], ...]] = {}
    for number, (runs, of_store) in enumerate(zip((study.runs, other.runs), names, strict=True)):
        for run, name in zip(runs, of_store, strict=True):
            if any((run.variant.stage, name, task) in shared for task in run.variant.tasks):
                table = tables.setdefault((run.variant.stage, name), ({}, {}))[number]
                for key, value in run.variant.settings.items():
                    table.setdefault(key, set()).add(value)
    for (stage, name), (first, second) in tables.items():
        for key in distinct([*first, *second]):
            one, two = (", ".join(sorted(table.get(key, {"default"}))) for table in (first, second))
            if one != two:
                yield f"{key} of {name}" if name == stage else f"{key} of {stage}, {name}", one, two
