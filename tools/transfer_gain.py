"""Transfer gain of a store: every method of a stage against a baseline, paired by seed, as Markdown; and where ATTEMPT looked.

    python tools/transfer_gain.py STORE --stage targets --baseline vocabulary

The gain of a method on a task is the mean over seeds of (its score - the baseline's score of the same seed), with the 95%
interval of Student's t on those differences: a claim about that task. Every seed is printed. Attention is the mean over test
rows, then over seeds with the interval of Student's t.
"""

import argparse
from pathlib import Path

import numpy as np

from cpeft.report.study import Run
from cpeft.stats.intervals import t_interval
from cpeft.store.result import RunResult
from cpeft.store.run_folder import Store


def gains(store: Path, stage: str, baseline: str) -> list[str]:
    scores: dict[tuple[str, str], dict[int, float]] = {}
    for result in Store(store).results():
        if result.stage == stage:
            for task, about in result.data.items():
                value = result.scores[task][about.headline].value
                scores.setdefault((task, result.label), {})[result.seed] = value
    lines = [
        "| task | method | mean | gain | 95% interval | seeds | gain of every seed |",
        "|---|---|---|---|---|---|---|",
    ]
    for (task, label), mine in scores.items():
        base = scores.get((task, baseline))
        if base is None or label == baseline:
            continue
        seeds = sorted(mine.keys() & base.keys())
        difference = np.array([mine[seed] - base[seed] for seed in seeds])
        low, high = t_interval(difference)
        every = " ".join(f"{value:+.1f}" for value in difference)
        mean = np.mean([mine[seed] for seed in seeds])
        lines.append(
            f"| {task} | {label} | {mean:.1f} | {difference.mean():+.1f} | [{low:+.1f}, {high:+.1f}] | {len(seeds)} | {every} |"
        )
    return lines


def attention(store: Path, stage: str) -> list[str]:
    weights: dict[tuple[str, str], dict[str, list[float]]] = {}
    for folder in Store(store).runs():
        if not folder.done or not isinstance(result := folder.result(), RunResult) or result.stage != stage:
            continue
        for task, found, candidates in Run.of(folder, result).weights():
            cell = weights.setdefault((task, result.label), {})
            for name, weight in zip(candidates, found.mean(0), strict=True):
                cell.setdefault(name, []).append(float(weight))
    if not weights:
        return []
    names = list(next(iter(weights.values())))
    lines = ["", f"| task | method | {' | '.join(names)} | seeds |", "|---" * (len(names) + 3) + "|"]
    for (task, label), cell in weights.items():
        told = []
        for values in cell.values():
            low, high = t_interval(values)
            told.append(f"{np.mean(values):.2f} [{low:.2f}, {high:.2f}]")
        lines.append(f"| {task} | {label} | {' | '.join(told)} | {len(values)} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("store", type=Path)
    parser.add_argument("--stage", default="targets")
    parser.add_argument("--baseline", default="vocabulary")
    given = parser.parse_args()
    print("\n".join(gains(given.store, given.stage, given.baseline) + attention(given.store, given.stage)))


if __name__ == "__main__":
    main()
