"""The figures of this study's claims, as Markdown. A claim over the six targets counts each of them once, as the mean of its
seeds.

python -m studies.attempt-minilm.claims STORE
"""

import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from studies.scores import Scores, mean, of_tasks, over_tasks, read_scores, table

from cpeft.stats.paired import task_means
from cpeft.store.run_folder import Store

TARGETS = ("trec", "ag_news", "snli", "mrpc", "rte", "cb")
RELATED = ("snli", "rte", "cb")  # to the sources


def claims(store: Path) -> list[str]:
    results = list(Store(store).results())
    scores = read_scores(results, "accuracy")
    return [*methods(scores, {result.label: result.trainable for result in results}), "", *spread(scores)]


def methods(scores: Scores, trained: Mapping[str, int]) -> list[str]:
    """Methods over six targets, and the six claims; `trained` has the number of trained parameters by label."""
    single = list(dict.fromkeys(label for stage, label, _ in scores if stage == "single"))
    shared = list(dict.fromkeys(label for stage, label, _ in scores if stage == "shared"))
    found = {label: of_tasks(scores, "single", label, TARGETS) for label in single}
    found |= {label: of_tasks(scores, "shared", label, TARGETS) for label in shared}
    base = found["prompt tuning"]
    rows = [
        [label, f"{trained[label]:,}", *(f"{value:.1f}" for value in task_means(own).values()), f"{mean(own):.1f}",
         "" if own is base else over_tasks(own, base)]
        for label, own in found.items()
    ]  # fmt: skip
    best = max(("full fine-tuning", "adapters"), key=lambda label: mean(found[label]))
    quality = {n: of_tasks(scores, "quality", f"sources of {n} steps", RELATED) for n in (0, 20, 60, 160)}
    by_steps = ", ".join(f"{n}: {mean(own):.1f}" for n, own in quality.items())
    scatter = {task: np.mean([deviation(scores, "single", label, task) for label in single]) for task in TARGETS}
    return [
        *table(["method", "trained", *TARGETS, "mean", "minus prompt tuning"], rows),
        "",
        f"1. SPoT - prompt tuning: {over_tasks(found['SPoT'], base)}",
        f"2. ATTEMPT - SPoT: {over_tasks(found['ATTEMPT'], found['SPoT'])}",
        f"   ATTEMPT - prompt tuning: {over_tasks(found['ATTEMPT'], base)}",
        f"3. ATTEMPT - {best}: {over_tasks(found['ATTEMPT'], found[best])}",
        f"4. ATTEMPT shared - ATTEMPT: {over_tasks(found['ATTEMPT shared'], found['ATTEMPT'])}",
        f"5. by steps of the sources: {by_steps}; 160 - 0: {over_tasks(quality[160], quality[0])}",
        "6. standard deviation over seeds, mean over methods: "
        + ", ".join(f"{task} {value:.1f}" for task, value in scatter.items()),
    ]


def spread(scores: Scores) -> list[str]:
    """Where the spread over seeds comes from."""
    parts = {"all together": ("quality", "sources of 160 steps")}
    parts |= {part: ("spread", f"{part} alone") for part in ("sources", "initialisation", "order", "subset")}
    rows = []
    for part, (stage, label) in parts.items():
        values = [deviation(scores, stage, label, task) for task in RELATED]
        rows.append([part, *(f"{value:.1f}" for value in values), f"{np.mean(values):.1f}"])
    return table(["what varies", *RELATED, "mean"], rows)


def deviation(scores: Scores, stage: str, label: str, task: str) -> float:
    """The standard deviation over seeds."""
    return float(np.std(list(scores[stage, label, task].values()), ddof=1))


if __name__ == "__main__":
    print("\n".join(claims(Path(sys.argv[1]))))
