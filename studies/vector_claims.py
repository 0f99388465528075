"""The five claims about task prompt vectors, from a store of vectors-minilm or vectors-mini, as Markdown."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from pathlib import Path

import numpy as np

from cpeft.report.study import SavedComparison, Study
from cpeft.report.vectors.addition import additions
from cpeft.report.vectors.crossing import crossings
from cpeft.report.vectors.lines import Line, Shots, Trial, gather, rising
from cpeft.stats.correlation import rank_correlation
from cpeft.stats.many import holm
from cpeft.stats.paired import Paired, compare
from cpeft.store.run_folder import Store
from studies.scores import interval, table

BASE, SUM, NOISE = "vocabulary", "sum of vectors", "noise of that size"
BOTH, MIXTURE = "SPoT both", "ATTEMPT"
CONTROLS = ("origin alone", "noise", "shuffled rows", "another task")


@dataclass(frozen=True)
class Target:
    """A new task: the labels of the runs that start from a prompt of its family, and of those that start from another one, by
    source task."""

    task: str
    related: dict[str, str]
    unrelated: dict[str, str]


@dataclass(frozen=True)
class Design:
    """The families of tasks and the new tasks of a study."""

    families: tuple[tuple[str, ...], ...]
    targets: tuple[Target, ...]

    def relation(self, first: str, second: str) -> str:
        if first == second:
            return "same task"
        related = any({first, second} <= set(family) for family in self.families)
        return "same family" if related else "other family"


def claims(store: Path, design: Design) -> list[str]:
    """The lines of the claims; 4 and 5 need the comparison of prompts and are left out of a store without it."""
    study = Study.of(Store(store))
    lines = {
        line.name: line for line in gather([Trial.of(run, task) for run in study.runs for task in run.result.tasks])
    }
    parts = [origins(study), sums(study), starts(lines, design)]
    for comparison in study.comparisons:
        parts += [cosines(comparison, design), predictions(comparison, lines, design)]
    return [line for part in parts for line in (*part, "")]


def counted(values: Iterable[float]) -> str:
    values = list(values)
    return f"{interval(values)} (n = {len(values)})"


def origins(study: Study) -> list[str]:
    """Another origin minus the own one and minus controls: means over tasks, each of them the mean of its origins."""
    (crossing,) = crossings(study)
    differences = [row.difference.mean for row in crossing.rows if row.difference]
    lines = [f"**1. Other - own origin**, over tasks: {counted(differences)}; by task {signed(differences)}"]
    for kind in CONTROLS:
        means = [
            row.other.mean - row.controls[kind].mean for row in crossing.rows if row.other and kind in row.controls
        ]
        lines.append(f"- other origin - {kind}, mean over tasks: {np.mean(means):+.1f}; by task {signed(means)}")
    ratios = [row.ratio for row in crossing.rows if row.ratio]
    return [*lines, f"- |v| / |origin|: {min(ratios):.1f} to {max(ratios):.1f}"]


def signed(values: Sequence[float]) -> str:
    return " ".join(f"{value:+.1f}" for value in values)


def sums(study: Study) -> list[str]:
    """The score of sums relative to single prompts, over tasks, each of them the mean of its sums and seeds."""
    lines = []
    for addition in additions(study):
        by_task = ", ".join(f"{task} {share:.1f}" for task, share in addition.by_task.items())
        lines.append(
            f"**2. Sum / single, per cent**, {addition.stage}, all {len(addition.sums)} sums, over tasks: "
            f"{counted(addition.by_task.values())}; by task {by_task}"
        )
        kept = [
            " + ".join(each.tasks)
            for each in addition.sums
            if all(member.relative and member.relative.mean >= 90 for member in each.members)
        ]
        lines.append(f"- all their tasks keep 90% on average: {', '.join(kept) or 'none'}")
    return lines


def starts(lines: Mapping[str, Line], design: Design) -> list[str]:
    """The sum minus the best single source, one prompt of both tasks, ATTEMPT, noise and vocabulary, paired over seeds, for
    every number of examples. The best source is the one with the best mean on these test rows, which favours it."""
    rows = []
    for target in design.targets:
        task = target.task
        for shots in rising(lines[SUM].scores.get(task, {})):  # a store may lack a stage
            best = max(target.related.values(), key=lambda label: _mean(lines[label], task, shots))
            others = (best, BOTH, MIXTURE, NOISE, BASE)
            cells = [counted(_paired(lines, SUM, other, task, shots).differences) for other in others]
            cells[0] = f"{best}: {cells[0]}"
            rows.append([task, str(shots), f"{_mean(lines[SUM], task, shots):.1f}", *cells])
    head = [
        "target",
        "rows per class",
        "sum",
        "best single source",
        "one prompt of both",
        "ATTEMPT",
        "noise",
        "nothing",
    ]
    return ["**3. Sum of vectors minus ...**, paired over seeds", "", *table(head, rows)]


def _mean(line: Line, task: str, shots: Shots) -> float:
    return float(np.mean(list(line.at(task, shots).values())))


def _paired(lines: Mapping[str, Line], one: str, other: str, task: str, shots: Shots) -> Paired:
    return compare(dict(lines[one].at(task, shots)), dict(lines[other].at(task, shots)))


def cosines(comparison: SavedComparison, design: Design) -> list[str]:
    """Mean cosines of vectors and prompts over pairs of different origins, by the relation of their tasks, and how far the same
    task lies above its family: the least and the greatest margin of single pairs of origins."""
    rows = []
    relations = ("same task", "same family", "other family")
    cards = [card for card in comparison.found.cards if card.rows == "live"]
    for card, measure in product(cards, ("flattened", "token_mean")):
        groups: dict[str, list[float]] = {relation: [] for relation in relations}
        by_origins: dict[frozenset[str], dict[str, list[float]]] = {}
        for (i, first), (j, second) in combinations(enumerate(card.prompts), 2):
            if first.origin != second.origin:
                relation = design.relation(first.task, second.task)
                value = card.matrices[measure][i][j]
                assert value is not None  # no trained prompt or vector is zero
                groups[relation].append(value)
                pair = frozenset((first.origin, second.origin))
                by_origins.setdefault(pair, {}).setdefault(relation, []).append(value)
        margins = [float(np.mean(group["same task"]) - np.mean(group["same family"])) for group in by_origins.values()]
        cells = [f"{np.mean(values):.3f} ({len(values)})" for values in groups.values()]
        rows.append([card.what, measure, *cells, f"{min(margins):.3f} to {max(margins):.3f}"])
    head = ["of", "measure", *relations, "task - family, by origins"]
    return ["**4. Mean cosine** over pairs of different origins", "", *table(head, rows)]


def predictions(comparison: SavedComparison, lines: Mapping[str, Line], design: Design) -> list[str]:
    """Spearman's correlation, over (source, target), of the gain of a source with its similarity to the target's own prompt of
    all rows, both as means over seeds; p by permutation of whole sources, with and without Holm's correction over the table, or
    the reason why there is none."""
    common = set.intersection(*(set(lines[BASE].scores[target.task]) for target in design.targets))
    rows, p_values = [], []
    for shots, (what, measure) in product(rising(common), (("vectors", "flattened"), ("prompts", "token_mean"))):
        grid = _similarity_and_gain(comparison, lines, design, shots, (what, measure))
        rho, p, reason = rank_correlation(grid)
        gains = ", ".join(f"{source}-{task} {gain:+.1f}" for (source, task), (_, gain) in grid.items())
        rows.append(
            [str(shots), f"{what}, {measure}", str(len(grid)), "" if rho is None else f"{rho:+.2f}", reason, gains]
        )
        p_values.append(p)
    corrected = iter(holm([p for p in p_values if p is not None]))
    for row, p in zip(rows, p_values, strict=True):
        row[4:5] = [row[4], row[4]] if p is None else [f"{p:.3f}", f"{next(corrected):.3f}"]
    head = ["rows per class", "of", "pairs", "rho", "p", "p by Holm", "gains"]
    return ["**5. Similarity and gain** over (source, target)", "", *table(head, rows)]


def _similarity_and_gain(
    comparison: SavedComparison, lines: Mapping[str, Line], design: Design, shots: Shots, measured: tuple[str, str]
) -> dict[tuple[str, str], tuple[float, float]]:
    """Mean similarity and mean gain by (source, target)."""
    hashes = {(each.prompt, each.seed): each.hash for each in comparison.found.compared}
    grid = {}
    for target in design.targets:
        seeds = sorted(lines[BASE].at(target.task, shots))
        for source, label in (target.related | target.unrelated).items():
            gains = _paired(lines, label, BASE, target.task, shots).differences
            similar = [
                comparison.similarity(*measured, hashes[source, seed], hashes[target.task, seed]) for seed in seeds
            ]
            known = [value for value in similar if value is not None]
            grid[source, target.task] = float(np.mean(known)), float(np.mean(gains))
    return grid
