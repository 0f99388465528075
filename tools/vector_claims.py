"""The figures by which docs/results/vectors-*.md judge their five claims, from a store alone, as Markdown.

python tools/vector_claims.py vectors-minilm STORE
"""

import sys
from dataclasses import dataclass
from itertools import combinations, product
from pathlib import Path
from typing import Any

import numpy as np

from cpeft.report.study import Study
from cpeft.report.vectors.addition import additions
from cpeft.report.vectors.crossing import crossings
from cpeft.report.vectors.lines import Line, Shots, Trial, gather, rising
from cpeft.stats.correlation import rank_correlation
from cpeft.stats.intervals import t_interval
from cpeft.stats.many import holm
from cpeft.stats.paired import Paired, compare
from cpeft.store.run_folder import Store


@dataclass(frozen=True)
class Target:
    """A new task, the lines that start it from the prompts of its family, and those that start it from others, by source."""

    task: str
    kin: dict[str, str]
    far: dict[str, str]


@dataclass(frozen=True)
class Design:
    """Which tasks are of one family, and the new tasks."""

    families: tuple[tuple[str, ...], ...]
    targets: tuple[Target, ...]


DESIGNS = {
    "vectors-minilm": Design(
        (("mnli", "qnli", "snli"), ("sst2", "yelp_stars", "imdb"), ("trec", "ag_news")),
        (
            Target("snli", {"mnli": "SPoT mnli", "qnli": "SPoT qnli"}, {"sst2": "SPoT sst2", "trec": "SPoT trec"}),
            Target("imdb", {"sst2": "SPoT sst2", "yelp_stars": "SPoT yelp_stars"}, {"mnli": "SPoT mnli", "trec": "SPoT trec"}),
        ),
    ),
    "vectors-mini": Design(
        (("mini/entailment", "mini/paraphrase", "qnli", "stsb", "snli"), ("mini/sentiment", "mini/topic", "mini/mood")),
        (
            Target("snli", {"mini/entailment": "SPoT entailment", "qnli": "SPoT qnli"}, {"mini/sentiment": "SPoT sentiment"}),
            Target("mini/mood", {"mini/sentiment": "SPoT sentiment", "mini/topic": "SPoT topic"},
                   {"mini/entailment": "SPoT entailment"}),
        ),
    ),
}  # fmt: skip
BASE, SUM, NOISE = "vocabulary", "sum of vectors", "noise of that size"
BOTH, MIXTURE = "SPoT both", "ATTEMPT"


def main(name: str, folder: str) -> None:
    study, design = Study.of(Store(Path(folder))), DESIGNS[name]
    lines = {
        line.name: line for line in gather([Trial.of(run, task) for run in study.runs for task in run.result.tasks])
    }
    for part in (
        origins(study),
        sums(study),
        starts(lines, design),
        alike(study, design),
        foretold(study, lines, design),
    ):
        print("\n".join([*part, ""]))


def told(values: Any) -> str:
    """Mean and 95% interval (Student's t)."""
    found = list(values)
    low, high = t_interval(found)
    return f"{np.mean(found):+.1f} [{low:+.1f}, {high:+.1f}] (n = {len(found)})"


def origins(study: Study) -> list[str]:
    """Other minus own origin and minus the origin alone, a mean over tasks, each of them the mean of its origins."""
    (crossing,) = crossings(study)
    differences = [row.difference.mean for row in crossing.rows if row.difference]
    said = [
        f"**1. Other - own origin**, over tasks: {told(differences)}; by task {' '.join(f'{d:+.1f}' for d in differences)}"
    ]
    for kind in ("origin alone", "noise", "shuffled rows", "another task"):
        means = [
            row.other.mean - row.controls[kind].mean for row in crossing.rows if row.other and kind in row.controls
        ]
        said.append(
            f"- other origin - {kind}, mean over tasks: {np.mean(means):+.1f}; by task {' '.join(f'{m:+.1f}' for m in means)}"
        )
    ratios = [row.ratio for row in crossing.rows if row.ratio]
    return [*said, f"- |v| / |origin|: {min(ratios):.1f} to {max(ratios):.1f}"]


def sums(study: Study) -> list[str]:
    """What the sums of every stage keep, over tasks, each of them the mean of its sums and seeds."""
    said = []
    for addition in additions(study):
        many = f"{addition.stage}, all {len(addition.sums)} sums"
        by_task = ", ".join(f"{task} {share:.1f}" for task, share in addition.by_task.items())
        said.append(
            f"**2. Sum / single, per cent**, {many}, over tasks: {told(addition.by_task.values())}; by task {by_task}"
        )
        both = [
            " + ".join(each.tasks)
            for each in addition.sums
            if all(member.relative and member.relative.mean >= 90 for member in each.members)
        ]
        said.append(f"- all their tasks keep 90% on average: {', '.join(both) or 'none'}")
    return said


def starts(lines: dict[str, Line], design: Design) -> list[str]:
    """The sum against the best single source (by its mean on these very test rows, which favours it), the prompt of both tasks,
    ATTEMPT, noise and nothing, paired over seeds, at every number of examples."""
    said = _table(
        "**3. Sum of vectors minus ...**, paired over seeds",
        "target", "rows per class", "sum", "best single source", "one prompt of both", "ATTEMPT", "noise", "nothing",
    )  # fmt: skip
    for target in design.targets:
        for shots in rising(lines[SUM].scores.get(target.task, {})):  # a store may not have all of its stages yet
            best = max(target.kin.values(), key=lambda name: np.mean(list(lines[name].at(target.task, shots).values())))
            cells = [
                told(_paired(lines, SUM, other, target.task, shots).differences)
                for other in (best, BOTH, MIXTURE, NOISE, BASE)
            ]
            own = np.mean(list(lines[SUM].at(target.task, shots).values()))
            said.append(f"| {target.task} | {shots} | {own:.1f} | {best}: {' | '.join(cells)} |")
    return said


def _paired(lines: dict[str, Line], one: str, other: str, task: str, shots: Shots) -> Paired:
    return compare(dict(lines[one].at(task, shots)), dict(lines[other].at(task, shots)))


def alike(study: Study, design: Design) -> list[str]:
    """Mean cosines of vectors and prompts over pairs of different origins, by how near their tasks are; how far a task lies
    above its family, as the least and the greatest of what single pairs of origins say."""
    (comparison,) = study.comparisons
    title = "**4. Mean cosine** over pairs of different origins"
    said = _table(title, "of", "measure", "same task", "same family", "other family", "task - family, by origins")
    for card in (card for card in comparison.found["cards"] if card["rows"] == "live"):
        for measure in ("flattened", "token_mean"):
            groups: dict[str, list[float]] = {"same task": [], "same family": [], "other family": []}
            by_origins: dict[frozenset[str], dict[str, list[float]]] = {}
            for (i, first), (j, second) in combinations(enumerate(card["prompts"]), 2):
                if first["origin"] != second["origin"]:
                    near, value = _near(first["task"], second["task"], design), card["matrices"][measure][i][j]
                    groups[near].append(value)
                    origins_of = frozenset((first["origin"], second["origin"]))
                    by_origins.setdefault(origins_of, {}).setdefault(near, []).append(value)
            margins = [float(np.mean(g["same task"]) - np.mean(g["same family"])) for g in by_origins.values()]
            cells = [f"{np.mean(values):.3f} ({len(values)})" for values in groups.values()]
            cells.append(f"{min(margins):.3f} to {max(margins):.3f}")
            said.append(f"| {card['what']} | {measure} | {' | '.join(cells)} |")
    return said


def _table(title: str, *columns: str) -> list[str]:
    return [title, "", f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]


def _near(first: str, second: str, design: Design) -> str:
    if first == second:
        return "same task"
    return "same family" if any({first, second} <= set(family) for family in design.families) else "other family"


def foretold(study: Study, lines: dict[str, Line], design: Design) -> list[str]:
    """Spearman's correlation, over (source, target), of the gain of a source with its similarity to the target's own prompt of
    all rows, both as means over seeds; p by permutation of whole sources, as such and corrected by Holm over the table, or why
    there is none."""
    (comparison,) = study.comparisons
    names = {(each["prompt"], each["seed"]): each["hash"] for each in comparison.found["compared"]}
    pairs = [
        (target.task, source, line) for target in design.targets for source, line in (target.kin | target.far).items()
    ]
    common = set.intersection(*(set(lines[BASE].scores[target.task]) for target in design.targets))
    title = "**5. Similarity and gain** over (source, target)"
    said = _table(title, "rows per class", "of", "pairs", "rho", "p", "p by Holm", "gains")
    rows: list[tuple[str, float | None, str, str]] = []
    for shots, (what, measure) in product(rising(common), (("vectors", "flattened"), ("prompts", "token_mean"))):
        gains, cosines = [], []
        for task, source, line in pairs:
            differences = _paired(lines, line, BASE, task, shots).differences
            seeds = sorted(lines[BASE].at(task, shots))
            found = [comparison.similarity(what, measure, names[source, seed], names[task, seed]) for seed in seeds]
            gains.append(float(np.mean(differences)))
            cosines.append(float(np.mean([value for value in found if value is not None])))
        grid = {
            (source, task): pair
            for (task, source, _), pair in zip(pairs, zip(cosines, gains, strict=True), strict=True)
        }
        rho, p, why = rank_correlation(grid)
        told_gains = ", ".join(
            f"{source}-{task} {gain:+.1f}" for (task, source, _), gain in zip(pairs, gains, strict=True)
        )
        shown = "" if rho is None else f"{rho:+.2f}"
        rows.append((f"| {shots} | {what}, {measure} | {len(pairs)} | {shown}", p, why, told_gains))
    corrected = iter(holm([p for _, p, _, _ in rows if p is not None]))
    return said + [
        f"{head} | {why} | {why} | {gains} |" if p is None else f"{head} | {p:.3f} | {next(corrected):.3f} | {gains} |"
        for head, p, why, gains in rows
    ]


if __name__ == "__main__":
    main(*sys.argv[1:])
