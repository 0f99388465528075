"""Few-shot draws: per class, in total, and the corners where published code failed."""

import numpy as np
import pyarrow as pa
import pytest

from cpeft.data.few_shot import SplitRows, class_indices, few_shot, limit
from cpeft.tasks.base import Hub, Sizes, Task


def make_task(classes, **changes):
    settings = {"kind": "classification", "words": {code: f"w{code}" for code in range(classes)}, **changes}
    return Task(
        name="toy",
        title="",
        version=1,
        fields=(("", "text"),),
        prefix="",
        metrics=(),
        official=Sizes(9, 9, 9),
        hub=Hub(""),
        **settings,
    )


def make_rows(counts):
    labels = np.repeat(np.arange(len(counts)), counts)
    return rows_of(labels)


def rows_of(labels, groups=None):
    numbers = np.arange(len(labels))
    return SplitRows(pa.table({"text": [f"t{i}" for i in numbers], "label": labels}), labels, numbers, groups)


def drawn(rows, classes):
    return np.bincount(rows.table["label"].to_numpy(), minlength=classes).tolist()


def test_k_per_class():
    rows = few_shot(make_task(3), make_rows([50, 20, 3]), 5, "class", seed=0)
    assert drawn(rows, 3) == [5, 5, 3]
    assert rows.notes == ("1 of 3 classes have fewer than 5 rows and give all of them",)


def test_k_in_total_keeps_proportions():
    rows = few_shot(make_task(3), make_rows([50, 30, 20]), 10, "total", seed=0)
    assert drawn(rows, 3) == [5, 3, 2]
    assert rows.notes == ()


def test_k_below_the_number_of_classes_is_a_uniform_draw():
    rows = few_shot(make_task(10), make_rows([20] * 10), 5, "total", seed=0)
    assert len(rows) == 5
    assert rows.notes == ("5 rows are fewer than the 10 classes: drawn uniformly, not stratified",)


def test_no_shots_and_too_many():
    rows = make_rows([4, 4])
    for per in ("class", "total"):
        empty = few_shot(make_task(2), rows, 0, per, seed=0)
        assert len(empty) == 0
        assert empty.notes == ()
    every = few_shot(make_task(2), rows, 100, "total", seed=0)
    assert len(every) == 8
    assert every.notes == ("100 rows were requested, all 8 were taken",)


def test_without_classes_k_is_a_total():
    rows = few_shot(make_task(0, kind="extraction"), make_rows([30, 30]), 5, "class", seed=0)
    assert len(rows) == 5
    assert rows.notes == ("no classes: 5 rows in total",)


def test_draws_depend_on_the_seed_and_are_nested():
    task, rows = make_task(2), make_rows([40, 40])
    shots = {
        (k, seed): set(few_shot(task, rows, k, "class", seed).table["text"].to_pylist())
        for k in (5, 10)
        for seed in (0, 1)
    }
    assert shots[5, 0] != shots[5, 1]
    assert shots[5, 0] < shots[10, 0]


def test_limit_keeps_order():
    rows = make_rows([30, 30])
    few = limit(rows, 10, seed=3)
    numbers = [int(text[1:]) for text in few.table["text"].to_pylist()]
    assert numbers == sorted(set(numbers))
    assert len(few) == 10
    assert few.table.equals(limit(rows, 10, seed=3).table)
    assert limit(rows, 60, seed=3) is rows


def make_groups(sizes):
    """Rows of two classes in turn, in groups that are not contiguous."""
    groups = np.random.default_rng(0).permutation(np.repeat(np.arange(len(sizes)), sizes))
    return rows_of(np.arange(len(groups)) % 2, groups)


def whole(rows, part):
    """Are the groups of `part` as large as in `rows`?"""
    names, sizes = np.unique(part.groups, return_counts=True)
    return np.array_equal(sizes, np.bincount(rows.groups)[names])


def test_limit_keeps_whole_groups():
    rows = make_groups([3, 7, 1, 5] * 20)
    draws = {n: limit(rows, n, seed=3) for n in (0, 10, 50, 319)}
    for n, few in draws.items():
        assert n - 7 < len(few) <= n
        assert whole(rows, few)
        assert few.table.num_rows == len(few.groups)
    assert draws[50].notes == (f"{len(draws[50])} of 320 rows were drawn, in whole groups",)
    assert set(draws[10].groups) < set(draws[50].groups)
    assert not np.array_equal(draws[50].groups, limit(rows, 50, seed=4).groups)
    assert len(limit(make_groups([9, 9]), 4, seed=0)) == 9  # at least one group


def test_shots_are_whole_groups():
    rows = make_groups([3, 7, 1, 5] * 20)
    total = few_shot(make_task(2), rows, 30, "total", seed=0)
    assert whole(rows, total)
    assert 23 < len(total) <= 30
    assert total.notes == (f"rows scored together were drawn together: {len(total)} rows for 30, not stratified",)
    few, more = (few_shot(make_task(2), rows, k, "class", seed=0) for k in (5, 20))
    for k, part in ((5, few), (20, more)):
        assert whole(rows, part)
        assert k <= min(drawn(part, 2)) < k + 7
        groups = len(set(part.groups))
        assert part.notes == (
            f"rows scored together were drawn together: {groups} groups, until each class had {k} rows",
        )
    assert set(few.groups) < set(more.groups)
    for per in ("class", "total"):
        assert len(few_shot(make_task(2), rows, 0, per, seed=0)) == 0
    everything = few_shot(make_task(2), rows, 1000, "class", seed=0)
    assert everything.table.equals(rows.table)
    assert everything.notes[0] == "2 of 2 classes have fewer than 1000 rows and give all of them"


@pytest.mark.parametrize("column", [pa.array([2, 0, 2, 1]), pa.array([2, 0, 2, 1]).dictionary_encode()])
def test_class_indices_of_any_encoding(column):
    task = make_task(3, codes={1: None})
    table = pa.table({"text": [""] * 4, "label": column})
    assert class_indices(task, table, "here").tolist() == [2, 0, 2, -1]
    chunked = pa.concat_tables([table.slice(0, 2), table.slice(2)])
    assert class_indices(task, chunked, "here").tolist() == [2, 0, 2, -1]
