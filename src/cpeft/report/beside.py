"""Two stores side by side: the same stage, method, task and seed in both, paired.

For a study made again on another machine, with another version or a changed setting: what became different, and is it more
than chance? Scores are of each task's first metric.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from cpeft.report.starts import headline
from cpeft.report.stats import Paired, compare, holm
from cpeft.report.study import Study, distinct

Key = tuple[str, str, str]  # stage, method, task


@dataclass(frozen=True)
class Row:
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
    rows: tuple[Row, ...]
    lonely: tuple[int, int]
    facts: tuple[tuple[str, str, str], ...]


def beside(study: Study, other: Study) -> Beside:
    """`study` beside another one."""
    here, there = _scores(study), _scores(other)
    shared = [(key, seeds) for key in here if (seeds := sorted(here[key].keys() & there.get(key, {}).keys()))]
    pairs = [
        ({seed: there[key][seed] for seed in seeds}, {seed: here[key][seed] for seed in seeds}) for key, seeds in shared
    ]
    tested = [compare(*pair) if len(pair[0]) > 1 else None for pair in pairs]
    corrected = iter(holm([paired.p for paired in tested if paired]))
    rows = tuple(
        Row(key, _mean(b), _mean(a), len(seeds), a == b, paired, next(corrected) if paired else None)
        for (key, seeds), (a, b), paired in zip(shared, pairs, tested, strict=True)
    )
    lonely = tuple(_count(one) - sum(row.seeds for row in rows) for one in (here, there))
    names = (study.store.path.resolve().name, other.store.path.resolve().name)
    return Beside(*names, rows, (lonely[0], lonely[1]), tuple(_facts(study, other)))


def _scores(study: Study) -> dict[Key, dict[int, float]]:
    found: dict[Key, dict[int, float]] = {}
    for run in study.runs:
        for task in run.result["tasks"]:
            found.setdefault((*run.group, task), {})[run.result["seed"]] = headline(run, task)
    return found


def _mean(scores: Mapping[int, float]) -> float:
    return float(np.mean(list(scores.values())))


def _count(scores: Mapping[Key, Mapping[int, float]]) -> int:
    return sum(map(len, scores.values()))


def _facts(study: Study, other: Study) -> list[tuple[str, str, str]]:
    """What is not the same in both: model, dtype, weights, data and versions."""
    told = []
    for one in (study, other):
        facts = {"model": distinct(f"{r['model']['name']} ({r['model']['dtype']})" for r in one.results)}
        facts["weights"] = distinct(str(r.get("weights"))[:12] for r in one.results)
        facts["machine"] = distinct(f"{r['hardware']['gpu'] or 'CPU'}, {r['hardware']['machine']}" for r in one.results)
        for result in one.results:
            for package, version in result["versions"].items():
                facts.setdefault(package, []).append(version)
            for task, about in result["data"].items():
                facts.setdefault(f"data of {task}", []).append(str(about.get("fingerprint"))[:12])
        told.append({name: ", ".join(sorted(set(values))) for name, values in facts.items()})
    first, second = told
    names = distinct([*first, *second])
    return [(name, first.get(name, ""), second.get(name, "")) for name in names if first.get(name) != second.get(name)]
