"""The gain of every start over prompt tuning from vocabulary, paired by seed, as Markdown. A claim is about one task.

python -m studies.mini.claims STORE
"""

import sys
from pathlib import Path

import numpy as np
from studies.scores import minus, read_scores, table

from cpeft.stats.intervals import t_interval
from cpeft.store.run_folder import Store

STAGE, BASE = "targets", "vocabulary"


def claims(store: Path) -> list[str]:
    rows = []
    scores = read_scores(Store(store).results(), "accuracy")
    for (stage, label, task), own in scores.items():
        if stage != STAGE or label == BASE:
            continue
        gains = list(minus(dict(sorted(own.items())), scores[STAGE, BASE, task]).values())
        low, high = t_interval(gains)
        every = " ".join(f"{gain:+.1f}" for gain in gains)
        rows.append(
            [task, label, f"{np.mean(list(own.values())):.1f}", f"{np.mean(gains):+.1f}", f"[{low:+.1f}, {high:+.1f}]",
             str(len(gains)), every]
        )  # fmt: skip
    return table(["task", "method", "mean", "gain", "95% interval", "seeds", "gain of every seed"], rows)


if __name__ == "__main__":
    print("\n".join(claims(Path(sys.argv[1]))))
