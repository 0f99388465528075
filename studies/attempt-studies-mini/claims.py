"""The figures of this study's claims, as Markdown. Two targets are too few for a claim over tasks, so each claim is about one
target and rests on its seeds.

python -m studies.attempt-studies-mini.claims STORE
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from studies.scores import Scores, interval, mean, minus, of_tasks, over_seeds, read_scores, table

from cpeft.stats.intervals import t_interval
from cpeft.store.run_folder import Store

TARGETS = ("snli", "qnli")


def claims(store: Path) -> list[str]:
    scores = read_scores(Store(store).results(), "accuracy")
    before, fresh = (best_label(scores, "attention-use", f"{kind} attention") for kind in ("pre-trained", "fresh"))
    reduction = best_label(scores, "reduce", "ATTEMPT", except_for="ATTEMPT reduce=max")
    rows = [every_seed(scores, key) for key in sorted(scores) if key[2] in TARGETS]
    lines = table(["stage", "label", "task", "mean", "95% interval over seeds", "every seed"], rows)
    for task in TARGETS:
        lines += ["", f"{task}:", *of_target(scores, task, (before, fresh), reduction)]
    return lines


def of_target(scores: Scores, task: str, attention: tuple[str, str], reduction: str) -> Iterator[str]:
    """The four claims on one target."""

    def difference(stage: str, first: str, second: str) -> str:
        return over_seeds(scores[stage, first, task], scores[stage, second, task])

    yield f"1. four sources - none: {difference('number', '4 sources', 'no source')}"
    leads = {
        k: minus(scores["rows", f"ATTEMPT few_shot={k}", task], scores["rows", f"prompt tuning few_shot={k}", task])
        for k in (4, 16, 64, "full")
    }
    by_rows = ", ".join(f"{k}: {interval(lead.values())}" for k, lead in leads.items())
    yield (
        f"2. ATTEMPT - prompt tuning, by rows per class: {by_rows}; 4 minus full: {over_seeds(leads[4], leads['full'])}"
    )
    yield f"3. {attention[0]} - {attention[1]}: {difference('attention-use', *attention)}"
    yield f"4. {reduction} - reduce=max: {difference('reduce', reduction, 'ATTEMPT reduce=max')}"


def best_label(scores: Scores, stage: str, start: str, except_for: str = "") -> str:
    """Of the labels of a stage that begin with `start`, the one with the highest mean over both targets."""
    labels = {label for found, label, _ in scores if found == stage and label.startswith(start)} - {except_for}
    return max(sorted(labels), key=lambda label: mean(of_tasks(scores, stage, label, TARGETS)))


def every_seed(scores: Scores, key: tuple[str, str, str]) -> list[str]:
    values = list(scores[key].values())
    low, high = t_interval(values)
    return [*key, f"{np.mean(values):.1f}", f"[{low:.1f}, {high:.1f}]", " ".join(f"{value:.1f}" for value in values)]


if __name__ == "__main__":
    print("\n".join(claims(Path(sys.argv[1]))))
