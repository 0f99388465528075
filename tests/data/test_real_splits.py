"""Every task with rows at hand splits into parts of the stated sizes that share no text."""

import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from cpeft.data.few_shot import few_shot, limit
from cpeft.data.resolve import Dataset, load_tables, locate
from cpeft.data.splits import CARVED, LARGE, make_splits, normalised
from cpeft.tasks.base import TASKS

FOLDER = Path(os.environ.get("CPEFT_DATA") or Path(__file__).parents[3] / "shared" / "data")
LARGEST_GROUP = 21  # answers to one question of MultiRC


@pytest.fixture(params=TASKS.names())
def found(request, monkeypatch) -> tuple:
    monkeypatch.setenv("CPEFT_DATA", str(FOLDER))
    task = TASKS.get(request.param)
    if not task.real_rows:
        pytest.skip(f"{task.name}: no real rows have been through this task")
    if not locate(task):
        pytest.skip(f"{task.name}: no rows in {FOLDER}; set CPEFT_DATA to a folder that has them")
    return task, load_tables(task)


def texts(task, part) -> set[str]:
    return {normalised(task.source(row, prefix=False)) for row in part.table.to_pylist()}


def test_disjoint_and_of_the_stated_size(found):
    task, data = found
    splits = make_splits(task, data)
    train, validation, test = (texts(task, part) for part in (splits.train, splits.validation, splits.test))
    assert train.isdisjoint(validation)
    assert train.isdisjoint(test)
    assert validation.isdisjoint(test)
    rows = {split: table.num_rows for split, table in data.tables.items()}
    large = task.official.train > LARGE
    if large and rows.get("train", 0) > 6000:
        slack = LARGEST_GROUP if task.group else 1
        assert CARVED - slack < len(splits.validation) <= CARVED
    if task.official.test and len(rows) > 1:
        assert len(splits.test) == rows["test"]
    elif large and len(rows) > 1:
        assert len(splits.test) == rows["validation"]
    elif len(rows) > 1:
        assert len(splits.test) == rows["validation"] - rows["validation"] // 2


@pytest.mark.parametrize("policy", ["attempt", "tpv", "s0-text"])
def test_published_policies_on_rte(policy, monkeypatch):
    monkeypatch.setenv("CPEFT_DATA", str(FOLDER))
    if "rte" not in TASKS or not locate(TASKS.get("rte")):
        pytest.skip(f"no RTE rows in {FOLDER}")
    splits = make_splits(TASKS.get("rte"), load_tables(TASKS.get("rte")), policy)
    assert splits.counts == {"train": 2490, "validation": 138, "test": 139}


def test_a_subset_of_train_does_not_make_a_task_small(found):
    """Official sizes decide: a tenth of the rows at hand leaves test where it was."""
    task, data = found
    if "train" not in data.tables or len(data.tables) < 2 or data.tables["train"].num_rows < 2000:
        pytest.skip(f"{task.name}: no train rows to thin out")
    few = data.tables["train"].take(np.arange(0, data.tables["train"].num_rows, 10))
    thin = Dataset({**data.tables, "train": few}, data.origin, data.revision, data.fingerprint)
    assert make_splits(task, thin).test.table.equals(make_splits(task, data).test.table)


@pytest.fixture
def multirc(monkeypatch) -> tuple:
    monkeypatch.setenv("CPEFT_DATA", str(FOLDER))
    if "multirc" not in TASKS or not locate(TASKS.get("multirc")):
        pytest.skip(f"no MultiRC rows in {FOLDER}")
    return TASKS.get("multirc"), load_tables(TASKS.get("multirc"))


def sizes(task, table) -> Counter[str]:
    return Counter(map(task.group, table.to_pylist()))


@pytest.mark.parametrize(
    ("policy", "cut"), [("disjoint", "train"), ("attempt", "validation"), ("s0-text", "validation")]
)
def test_questions_of_multirc_stay_whole(multirc, policy, cut):
    """`cut` is the split that validation is taken from; the other side of the cut is train or test."""
    task, data = multirc
    splits = make_splits(task, data, policy)
    other = sizes(task, (splits.train if cut == "train" else splits.test).table)
    validation = sizes(task, splits.validation.table)
    official = sizes(task, data.tables[cut])
    assert not set(validation) & set(other)
    assert validation.items() <= official.items()
    if cut == "validation":
        assert other.items() <= official.items()
        assert sum(splits.counts.values()) == sum(table.num_rows for table in data.tables.values())
    for n in (10, 100, 1000):
        few = limit(splits.test, n, 42)
        assert n - LARGEST_GROUP < len(few) <= n
        assert sizes(task, few.table).items() <= sizes(task, splits.test.table).items()
    shots = few_shot(task, splits.train, 16, "class", 0)
    assert sizes(task, shots.table).items() <= sizes(task, splits.train.table).items()
    assert 16 <= min(Counter(shots.table["label"].to_pylist()).values()) < 16 + LARGEST_GROUP
