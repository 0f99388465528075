"""Subsets of rows: k shots per class or in total, and plain limits for small machines.

Published few-shot studies draw k rows in total, stratified (papers.md E-30); ours are k per class. There a k below
the number of classes fails; here it is a uniform draw, with a note. The draws of one seed are nested: the 5 shots of a
class are among its 10. Rows scored together (`SplitRows.groups`) are drawn together: at most k or `limit` rows in whole
groups, but at least one group; per class, whole groups until each class has k rows, which gives most classes more.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa

from cpeft.errors import DataError
from cpeft.seeds import generator
from cpeft.tasks.base import Code, Task


@dataclass(frozen=True, eq=False)
class SplitRows:
    """Rows of one split with the class index and text hash of each; `notes` record how they were chosen.
    `groups` numbers the rows scored together, and is None where each row is scored alone; numbers are unique within
    one split only.
    """

    table: pa.Table
    classes: np.ndarray
    hashes: np.ndarray
    groups: np.ndarray | None = None
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.classes)

    def take(self, index: np.ndarray, *notes: str) -> "SplitRows":
        table = self.table.take(pa.array(index, pa.int64()))
        groups = None if self.groups is None else self.groups[index]
        return SplitRows(table, self.classes[index], self.hashes[index], groups, (*self.notes, *notes))

    def draw(self, n: int, rng: np.random.Generator, stratify: bool = True) -> np.ndarray:
        """Sorted indices of `n` rows, with the proportions of classes; if grouped, those of groups in random order until
        the next would exceed `n` rows, but at least one group (none for n = 0)."""
        if self.groups is None:
            return stratified(self.classes if stratify else np.zeros_like(self.classes), n, rng)
        _, group, sizes = np.unique(self.groups, return_inverse=True, return_counts=True)
        order = rng.permutation(len(sizes))
        fitting = int(np.searchsorted(np.cumsum(sizes[order]), n, side="right"))
        return np.flatnonzero(np.isin(group, order[: max(fitting, 1) if n else 0]))


def few_shot(task: Task, rows: SplitRows, k: int, per: Literal["class", "total"], seed: int) -> SplitRows:
    """`k` rows of each class (all of a smaller class), or `k` in total with the class proportions of `rows`."""
    rng = generator(seed, "subset")
    notes: list[str] = []
    if per == "class" and task.words and task.kind != "regression":
        index = _per_class(rows, k, rng, notes)
    else:
        if per == "class":
            notes.append(f"no classes: {k} rows in total")
        index = _in_total(rows, k, rng, notes)
    return rows.take(np.sort(index), *notes)


def _per_class(rows: SplitRows, k: int, rng: np.random.Generator, notes: list[str]) -> np.ndarray:
    values, place, counts = np.unique(rows.classes, return_inverse=True, return_counts=True)
    if few := int((counts < k).sum()):
        notes.append(f"{few} of {len(values)} classes have fewer than {k} rows and give all of them")
    if rows.groups is None:
        return np.concatenate([rng.permutation(np.flatnonzero(rows.classes == value))[:k] for value in values])
    names, group = np.unique(rows.groups, return_inverse=True)
    sizes = np.zeros((len(names), len(values)), np.int64)  # rows of each group and class
    np.add.at(sizes, (group, place), 1)
    order = rng.permutation(len(names))
    short = (np.cumsum(sizes[order], axis=0) < np.minimum(counts, k)).any(axis=1)
    taken = order[: int(short.sum()) + 1 if k else 0]
    if k:
        notes.append(f"rows scored together were drawn together: {len(taken)} groups, until each class had {k} rows")
    return np.flatnonzero(np.isin(group, taken))


def _in_total(rows: SplitRows, k: int, rng: np.random.Generator, notes: list[str]) -> np.ndarray:
    if k > len(rows):
        notes.append(f"{k} rows were requested, all {len(rows)} were taken")
    known = len(np.unique(rows.classes))
    uniform = 0 < k < known
    index = rows.draw(min(k, len(rows)), rng, stratify=not uniform)
    if rows.groups is not None and 0 < k < len(rows):
        notes.append(f"rows scored together were drawn together: {len(index)} rows for {k}, not stratified")
    elif uniform:
        notes.append(f"{k} rows are fewer than the {known} classes: drawn uniformly, not stratified")
    return index


def limit(rows: SplitRows, n: int, seed: int) -> SplitRows:
    """At most `n` rows (but a whole group, where rows are grouped), drawn uniformly, in their old order."""
    if n >= len(rows):
        return rows
    index = rows.draw(n, generator(seed, "subset"), stratify=False)
    whole = "" if rows.groups is None else ", in whole groups"
    return rows.take(index, f"{len(index)} of {len(rows)} rows were drawn{whole}")


def example_places(rows: SplitRows, k: int, seed: int) -> np.ndarray:
    """Places of at most `k` rows to be shown as examples, in the order in which they are shown: classes take turns, in an order
    drawn anew for each round, so that any first few are as balanced as their number allows. Rows are drawn one by one, also
    those that are scored together."""
    rng = generator(seed, "examples")
    order = rng.permutation(len(rows))
    classes, round_of = rows.classes[order], np.empty(len(rows), np.int64)
    for value in np.unique(classes):
        own = np.flatnonzero(classes == value)
        round_of[own] = np.arange(len(own))
    return order[np.lexsort((rng.random(len(rows)), round_of))[:k]]


def class_indices(task: Task, table: pa.Table, where: str) -> np.ndarray:
    """The class of every row, counted in label order; -1 outside the task; 0 where there is no label set."""
    if not task.words:
        return np.zeros(table.num_rows, np.int64)
    import pyarrow.compute as pc  # here: listings draw nothing

    name = task.column({name: name for name in table.column_names}, task.label_column)
    order: dict[Code | None, int] = {c: 0 if task.kind == "regression" else i for i, c in enumerate(task.words)}
    values = table[name].unique()
    places = np.from_dlpack(pc.index_in(table[name], value_set=values).combine_chunks())  # to_numpy imports pandas
    known = np.zeros(len(values), np.int64)
    for place, value in enumerate(values.to_pylist()):
        try:
            known[place] = order.get(task.code({name: value}), -1)
        except DataError as error:
            raise DataError(f"{where} row {np.argmax(places == place)}: {error}") from None
    return known[places]  # type: ignore[no-any-return]


def stratified(classes: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """Sorted indices of `n` rows with the class proportions of all, by largest remainder; larger classes win ties."""
    values, counts = np.unique(classes, return_counts=True)
    quotas, remainders = np.divmod(n * counts, max(len(classes), 1))
    missing = n - int(quotas.sum())
    quotas[np.lexsort((-counts, -remainders))[:missing]] += 1
    drawn = [rng.permutation(np.flatnonzero(classes == v))[:quota] for v, quota in zip(values, quotas, strict=True)]
    return np.sort(np.concatenate([classes[:0], *drawn]))
