"""Fewer rows: k shots per class or in total, and plain limits for small machines.

Published few-shot studies draw k rows in total, stratified (papers.md E-30); ours are k per class. There k below the
number of classes fails; here it is a uniform draw that says so. The draws of one seed are nested: the 5 shots of a
class are among its 10.
"""

from typing import Literal

import numpy as np
import pyarrow as pa

from cpeft.data.splits import Rows, class_indices, stratified
from cpeft.errors import ConfigError
from cpeft.seeds import generator
from cpeft.tasks.base import Task


def few_shot(task: Task, rows: Rows, k: int, per: Literal["class", "total"], seed: int) -> Rows:
    """`k` rows of each class (all of a smaller class), or `k` in total with the class proportions of `rows`."""
    if k < 0 or per not in ("class", "total"):
        raise ConfigError(f"few_shot: k = {k} per '{per}'; k must not be negative, per is 'class' or 'total'")
    rng = generator(seed, "subset")
    classes = class_indices(task, rows.table)
    values, counts = np.unique(classes, return_counts=True)
    notes = []
    if per == "class" and task.words and task.kind != "regression":
        index = np.concatenate(
            [rng.permutation(np.flatnonzero(classes == value))[:k] for value in [*values]] or [classes]
        )
        if few := int((counts < k).sum()):
            notes.append(f"{few} of {len(values)} classes have fewer than {k} rows and give all of them")
    else:
        if per == "class":
            notes.append(f"no classes: {k} rows in total")
        if k > len(rows):
            notes.append(f"{k} rows were asked for, all {len(rows)} were taken")
        if uniform := 0 < k < len(values):
            notes.append(f"{k} rows are fewer than the {len(values)} classes: drawn uniformly, not stratified")
        index = stratified(np.zeros_like(classes) if uniform else classes, min(k, len(rows)), rng)
    return _chosen(rows, index, notes)


def limit(rows: Rows, n: int, seed: int) -> Rows:
    """At most `n` rows, drawn uniformly, in their old order."""
    if n < 0:
        raise ConfigError(f"data.limit = {n}: must not be negative")
    if n >= len(rows):
        return rows
    index = generator(seed, "subset").permutation(len(rows))[:n]
    return _chosen(rows, index, [f"{n} of {len(rows)} rows were drawn"])


def _chosen(rows: Rows, index: np.ndarray, notes: list[str]) -> Rows:
    return Rows(rows.table.take(pa.array(np.sort(index), pa.int64())), (*rows.notes, *notes))
