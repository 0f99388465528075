"""Few-shot draws: per class, in total, and the corners where published code failed."""

import numpy as np
import pyarrow as pa
import pytest

from cpeft.data.few_shot import few_shot, limit
from cpeft.data.splits import Rows
from cpeft.errors import ConfigError
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
    return Rows(pa.table({"text": [f"t{i}" for i in range(len(labels))], "label": labels}))


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
    assert every.notes == ("100 rows were asked for, all 8 were taken",)
    with pytest.raises(ConfigError):
        few_shot(make_task(2), rows, -1, "total", seed=0)


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
