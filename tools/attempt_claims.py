"""The figures by which docs/results/attempt-minilm.md and attempt-studies-mini.md judge their claims, from a store alone, as
Markdown.

A claim over six targets takes each of them once, as the mean of its seeds; where there are two, claims are about each of them.

python tools/attempt_claims.py attempt-minilm STORE
"""

import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from cpeft.stats.intervals import t_interval
from cpeft.stats.paired import compare_tasks, task_means
from cpeft.store.run_folder import Store

TARGETS = ("trec", "ag_news", "snli", "mrpc", "rte", "cb")
KIN = ("snli", "rte", "cb")
PAIRS = ("snli", "qnli")
Seeds = Mapping[int, float]  # accuracy by seed
Scores = Mapping[tuple[str, str, str], Seeds]  # by (stage, label, task)
Units = Mapping[tuple[str, int], float]  # by (task, seed)


def main(name: str, folder: str) -> None:
    found: dict[tuple[str, str, str], dict[int, float]] = {}
    trained: dict[str, int] = {}
    for result in Store(Path(folder)).results():
        for task in result.tasks:
            key = (result.stage, result.label, task)
            found.setdefault(key, {})[result.seed] = result.scores[task]["accuracy"].value
            trained[result.label] = result.trainable
    if name == "attempt-minilm":
        replication(found, trained)
        spread(found)
    else:
        studies(found)


def replication(found: Scores, trained: Mapping[str, int]) -> None:
    """Methods over six targets, and five of the six claims."""
    single = list(dict.fromkeys(label for stage, label, _ in found if stage == "single"))
    means = {label: over(found, "single", label, TARGETS) for label in single}
    means |= {label: over(found, "shared", label, TARGETS) for stage, label, _ in found if stage == "shared"}
    base = means["prompt tuning"]
    print("| method | trained | " + " | ".join(TARGETS) + " | mean | minus prompt tuning |\n|---|---:|" + "---:|" * 8)
    for label, scores in means.items():
        cells = [f"{of_task:.1f}" for of_task in task_means(scores).values()]
        other = "" if scores is base else told(scores, base)
        print(f"| {label} | {trained[label]:,} | {' | '.join(cells)} | {mean(scores):.1f} | {other} |")
    best = max(("full fine-tuning", "adapters"), key=lambda label: mean(means[label]))
    print(f"\n1. SPoT - prompt tuning: {told(means['SPoT'], base)}")
    print(f"2. ATTEMPT - SPoT: {told(means['ATTEMPT'], means['SPoT'])}")
    print(f"   ATTEMPT - prompt tuning: {told(means['ATTEMPT'], base)}")
    print(f"3. ATTEMPT - {best}: {told(means['ATTEMPT'], means[best])}")
    print(f"4. ATTEMPT shared - ATTEMPT: {told(means['ATTEMPT shared'], means['ATTEMPT'])}")
    rungs = {steps: over(found, "quality", f"sources of {steps} steps", KIN) for steps in (0, 20, 60, 160)}
    print("5. by steps of the sources: " + ", ".join(f"{n}: {mean(v):.1f}" for n, v in rungs.items())
          + f"; 160 - 0: {told(rungs[160], rungs[0])}")  # fmt: skip
    scatter = {task: np.mean([deviation(found["single", label, task]) for label in single]) for task in TARGETS}
    print(
        "6. standard deviation over seeds, mean over methods: " + ", ".join(f"{t} {v:.1f}" for t, v in scatter.items())
    )


def spread(found: Scores) -> None:
    """Where the spread over seeds comes from."""
    print("\n| what varies | " + " | ".join(KIN) + " | mean |\n|---|" + "---:|" * (len(KIN) + 1))
    for stage, label in (("quality", "sources of 160 steps"), *(("spread", f"{part} alone") for part in
                         ("sources", "initialisation", "order", "subset"))):  # fmt: skip
        each = [deviation(found[stage, label, task]) for task in KIN]
        name = "all together" if stage == "quality" else label.removesuffix(" alone")
        print(f"| {name} | {' | '.join(f'{v:.1f}' for v in each)} | {np.mean(each):.1f} |")


def studies(found: Scores) -> None:
    """Four questions, each on both targets, and every line with all its seeds. Two tasks are too few for a claim over tasks, so
    each is a claim about one of them and rests on its seeds."""
    print("| stage | label | task | mean | 95% interval over seeds | every seed |\n|---|---|---|---:|---|---|")
    for stage, label, task in sorted(key for key in found if key[2] in PAIRS):
        values = list(found[stage, label, task].values())
        low, high = t_interval(values)
        each = " ".join(f"{value:.1f}" for value in values)
        print(f"| {stage} | {label} | {task} | {np.mean(values):.1f} | [{low:.1f}, {high:.1f}] | {each} |")
    before, fresh = (best_of(found, "attention-use", kind) for kind in ("pre-trained attention", "fresh attention"))
    reduced = best_of(found, "reduce", "ATTEMPT", other_than="ATTEMPT reduce=max")
    for task in PAIRS:
        mine = {(stage, label): scores for (stage, label, of), scores in found.items() if of == task}
        print(f"\n{task}:\n1. four sources - none: {of_task(mine, 'number', '4 sources', 'no source')}")
        leads = {k: minus(mine["rows", f"ATTEMPT few_shot={k}"], mine["rows", f"prompt tuning few_shot={k}"])
                 for k in (4, 16, 64, "full")}  # fmt: skip
        print("2. ATTEMPT - prompt tuning, by rows per class: " + ", ".join(f"{k}: {said(v)}" for k, v in leads.items())
              + f"; 4 minus full: {said(minus(leads[4], leads['full']))}")  # fmt: skip
        print(f"3. {before} - {fresh}: {of_task(mine, 'attention-use', before, fresh)}")
        print(f"4. {reduced} - reduce=max: {of_task(mine, 'reduce', reduced, 'ATTEMPT reduce=max')}")


def best_of(found: Scores, stage: str, kind: str, other_than: str = "") -> str:
    """The line of a stage with the highest mean over both targets among those whose label begins so."""
    labels = {label for of, label, _ in found if of == stage and label.startswith(kind)} - {other_than}
    return max(sorted(labels), key=lambda label: mean(over(found, stage, label, PAIRS)))


def over(found: Scores, stage: str, label: str, tasks: tuple[str, ...]) -> Units:
    """Every score of a line, by task and seed."""
    return {(task, seed): score for task in tasks for seed, score in found[stage, label, task].items()}


def mean(scores: Units) -> float:
    return float(np.mean(list(task_means(scores).values())))


def minus(first: Seeds, second: Seeds) -> Seeds:
    return {seed: score - second[seed] for seed, score in first.items()}


def deviation(scores: Seeds) -> float:
    return float(np.std(list(scores.values()), ddof=1))


def told(first: Units, second: Units) -> str:
    """First minus second over tasks."""
    paired = compare_tasks(first, second)
    low, high = paired.t_interval
    return f"{paired.mean:+.1f} [{low:+.1f}, {high:+.1f}], p {paired.p:.2f}, least p {paired.least_p:.2f}, {paired.units} tasks"


def of_task(mine: Mapping[tuple[str, str], Seeds], stage: str, first: str, second: str) -> str:
    """First minus second over the seeds of one task."""
    return said(minus(mine[stage, first], mine[stage, second]))


def said(differences: Seeds) -> str:
    values = list(differences.values())
    low, high = t_interval(values)
    return f"{np.mean(values):+.1f} [{low:+.1f}, {high:+.1f}]"


if __name__ == "__main__":
    main(*sys.argv[1:])
