"""The figures by which docs/results/attempt-minilm.md and attempt-studies-mini.md judge their claims, from a store alone, as
Markdown.

python tools/attempt_claims.py attempt-minilm STORE
"""

import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from cpeft.report.stats import t_interval
from cpeft.study.store import Store

TARGETS = ("trec", "ag_news", "snli", "mrpc", "rte", "cb")
KIN = ("snli", "rte", "cb")
PAIRS = ("snli", "qnli")
Scores = Mapping[tuple[str, str, str], Mapping[int, float]]  # (stage, label, task) -> seed -> accuracy


def main(name: str, folder: str) -> None:
    found: dict[tuple[str, str, str], dict[int, float]] = {}
    trained: dict[str, int] = {}
    for result in Store(Path(folder)).results():
        for task in result.get("tasks", ()):
            key = (result["stage"], result["label"], task)
            found.setdefault(key, {})[result["seed"]] = result["scores"][task]["accuracy"]["value"]
            trained[result["label"]] = result["trainable"]
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
    print("| method | trained | " + " | ".join(TARGETS) + " | mean of six | 95% interval |\n|---|---:|" + "---:|" * 8)
    for label in means:
        stage = "single" if label in single else "shared"
        cells = [f"{np.mean(list(found[stage, label, task].values())):.1f}" for task in TARGETS]
        low, high = t_interval(means[label])
        print(
            f"| {label} | {trained[label]:,} | {' | '.join(cells)} | {np.mean(means[label]):.1f} | [{low:.1f}, {high:.1f}] |"
        )
    best = max(("full fine-tuning", "adapters"), key=lambda label: float(np.mean(means[label])))
    print(f"\n1. SPoT - prompt tuning: {told(means['SPoT'] - means['prompt tuning'])}")
    print(f"2. ATTEMPT - SPoT: {told(means['ATTEMPT'] - means['SPoT'])}")
    print(f"   ATTEMPT - prompt tuning: {told(means['ATTEMPT'] - means['prompt tuning'])}")
    print(f"3. ATTEMPT - {best}: {told(means['ATTEMPT'] - means[best])}")
    print(f"4. ATTEMPT shared - ATTEMPT: {told(means['ATTEMPT shared'] - means['ATTEMPT'])}")
    rungs = {steps: over(found, "quality", f"sources of {steps} steps", KIN) for steps in (0, 20, 60, 160)}
    print("5. by steps of the sources: " + ", ".join(f"{n}: {np.mean(v):.1f}" for n, v in rungs.items())
          + f"; 160 - 0: {told(rungs[160] - rungs[0])}")  # fmt: skip
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
    """Four questions, each over the mean of two targets, and every line with all its seeds."""
    means = {}
    print(
        "| stage | label | "
        + " | ".join(PAIRS)
        + " | mean | 95% interval | every seed |\n|---|---|---:|---:|---:|---|---|"
    )
    for stage, label in sorted({(stage, label) for stage, label, task in found if task in PAIRS}):
        means[stage, label] = values = over(found, stage, label, PAIRS)
        cells = [f"{np.mean(list(found[stage, label, task].values())):.1f}" for task in PAIRS]
        low, high = t_interval(values)
        each = " ".join(f"{value:.1f}" for value in values)
        print(f"| {stage} | {label} | {' | '.join(cells)} | {np.mean(values):.1f} | [{low:.1f}, {high:.1f}] | {each} |")
    print(f"\n1. four sources - none: {told(means['number', '4 sources'] - means['number', 'no source'])}")
    leads = {
        k: means["rows", f"ATTEMPT few_shot={k}"] - means["rows", f"prompt tuning few_shot={k}"]
        for k in (4, 16, 64, "full")
    }
    print("2. ATTEMPT - prompt tuning, by rows per class: " + ", ".join(f"{k}: {told(v)}" for k, v in leads.items())
          + f"; 4 minus full: {told(leads[4] - leads['full'])}")  # fmt: skip
    kinds = {kind: best_of(means, "attention-use", kind) for kind in ("pre-trained attention", "fresh attention")}
    (before, one), (fresh, other) = kinds.values()
    print(f"3. {before} - {fresh}: {told(one - other)}")
    widest = means["reduce", "ATTEMPT reduce=max"]
    rivals = {key: value for key, value in means.items() if key != ("reduce", "ATTEMPT reduce=max")}
    label, best = best_of(rivals, "reduce", "ATTEMPT")
    print(f"4. {label} - reduce=max: {told(best - widest)}")


def best_of(means: Mapping[tuple[str, str], np.ndarray], stage: str, kind: str) -> tuple[str, np.ndarray]:
    """The line of a stage with the highest mean among those whose label begins so."""
    lines = {label: values for (of, label), values in means.items() if of == stage and label.startswith(kind)}
    label = max(lines, key=lambda label: float(np.mean(lines[label])))
    return label, lines[label]


def over(found: Scores, stage: str, label: str, tasks: tuple[str, ...]) -> np.ndarray:
    """The mean over tasks for every seed."""
    seeds = sorted(found[stage, label, tasks[0]])
    return np.array([np.mean([found[stage, label, task][seed] for task in tasks]) for seed in seeds])


def deviation(scores: Mapping[int, float]) -> float:
    return float(np.std(list(scores.values()), ddof=1))


def told(values: np.ndarray) -> str:
    low, high = t_interval(values)
    return f"{np.mean(values):+.1f} [{low:+.1f}, {high:+.1f}]"


if __name__ == "__main__":
    main(*sys.argv[1:])
