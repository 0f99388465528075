"""Splits have the stated sizes and proportions, share no text, and published policies leak where they leaked."""

import numpy as np
import pyarrow as pa
import pytest

from cpeft.data.few_shot import stratified
from cpeft.data.resolve import Dataset
from cpeft.data.splits import make_splits, normalised
from cpeft.errors import DataError, MissingData
from cpeft.tasks.base import Hub, Sizes, Task

LARGE, SMALL = Sizes(20_000, 3_000, None), Sizes(2_000, 400, None)


def make_task(official=LARGE, name="toy", **changes):
    settings = {
        "kind": "classification",
        "fields": (("", "text"),),
        "words": {0: "a", 1: "b", 2: "c"},
        "metrics": (),
        "codes": {-1: None},
        **changes,
    }
    return Task(name=name, title="", version=1, prefix="p", official=official, hub=Hub(""), **settings)


def rows(n, start=0):
    """`n` rows of three classes with the shares 0.7, 0.2 and 0.1."""
    labels = [(0, 0, 0, 0, 0, 0, 0, 1, 1, 2)[i % 10] for i in range(n)]
    return pa.table({"text": [f"row {start + i}" for i in range(n)], "label": labels})


def dataset(**sizes):
    starts = {"train": 0, "validation": 10**6, "test": 2 * 10**6, "validation_mismatched": 3 * 10**6}
    tables = {split: n if isinstance(n, pa.Table) else rows(n, starts[split]) for split, n in sizes.items()}
    return Dataset(tables, "memory", None, "0")


def texts(part):
    return {normalised(text) for text in part.table["text"].to_pylist()}


CASES = {  # name: (official, splits here, expected train, validation, test)
    "large, hidden test": (LARGE, {"train": 6000, "validation": 300, "test": 90}, (5000, 1000, 300)),
    "large, labelled test": (Sizes(20_000, 3, 500), {"train": 6000, "validation": 3, "test": 500}, (5000, 1000, 500)),
    "large, few rows here": (LARGE, {"train": 2000, "validation": 300}, (1600, 400, 300)),
    "small": (SMALL, {"train": 2000, "validation": 401}, (2000, 200, 201)),
    "small, many rows here": (SMALL, {"train": 12_000, "validation": 400}, (12_000, 200, 200)),
    "small, labelled test": (Sizes(9, 9, 9), {"train": 100, "validation": 40, "test": 50}, (100, 40, 50)),
    "small, no validation (TREC)": (Sizes(5452, None, 500), {"train": 5452, "test": 500}, (4952, 500, 500)),
    "no train (SciTail)": (Sizes(23_097, 1304, 2126), {"validation": 1304, "test": 2126}, (1043, 261, 2126)),
    "small, no train": (Sizes(900, 200, 200), {"validation": 200, "test": 200}, (180, 20, 200)),
    "only test (DBpedia)": (Sizes(560_000, None, 70_000), {"test": 7600}, (5320, 760, 1520)),
    "only validation (SQuAD v2)": (LARGE, {"validation": 1000, "test": 50}, (700, 100, 200)),
    "only train (Yelp)": (Sizes(650_000, None, 50_000), {"train": 5000}, (3500, 500, 1000)),
    "undeclared": (Sizes(None, None, None), {"train": 30, "validation": 20, "test": 10}, (30, 20, 10)),
}


@pytest.mark.parametrize("case", CASES)
def test_disjoint_sizes(case):
    official, here, expected = CASES[case]
    splits = make_splits(make_task(official), dataset(**here), "disjoint")
    assert tuple(splits.counts.values()) == expected
    train, validation, test = (texts(part) for part in (splits.train, splits.validation, splits.test))
    assert train.isdisjoint(validation)
    assert train.isdisjoint(test)
    assert validation.isdisjoint(test)
    for part in (splits.train, splits.validation, splits.test):
        if len(part) >= 100:
            share = np.bincount(part.table["label"].to_numpy()) / len(part)
            np.testing.assert_allclose(share, [0.7, 0.2, 0.1], atol=0.01)


def test_what_was_carved_is_said():
    notes = make_splits(make_task(), dataset(train=2000, validation=300)).notes
    assert any("400 of 2000 train rows became validation (1000 wanted" in note for note in notes)
    notes = make_splits(make_task(Sizes(560_000, None, 70_000)), dataset(test=100)).notes
    assert any("only test rows are here, 100: 20% became test" in note for note in notes)


def test_texts_of_test_leave_train_and_validation():
    test = pa.table({"text": ["Row 1!", "row  2", "unseen"], "label": [0, 1, 2]})
    validation = pa.table({"text": ["ROW-2", "row 3", "other"], "label": [0, 1, 2]})
    splits = make_splits(make_task(Sizes(9, 9, 9)), dataset(train=10, validation=validation, test=test))
    assert splits.counts == {"train": 7, "validation": 2, "test": 3}
    assert splits.notes[-3:] == (
        "1 validation rows have the text of a test row and were removed",
        "2 train rows have the text of a test row and were removed",
        "1 train rows have the text of a validation row and were removed",
    )


def test_carving_is_exact_in_spite_of_overlaps():
    test = rows(300, start=0)  # the first train rows
    splits = make_splits(make_task(Sizes(20_000, None, 300)), dataset(train=6000, test=test))
    assert splits.counts == {"train": 4700, "validation": 1000, "test": 300}


def test_duplicates_within_train_stay():
    train = pa.concat_tables([rows(100), rows(100)])
    splits = make_splits(make_task(Sizes(9, 9, 9)), dataset(train=train, validation=20, test=20))
    assert len(splits.train) == 200


def test_rows_of_no_class_are_dropped_and_unknown_labels_are_errors():
    train = pa.table({"text": ["x", "y", "z"], "label": [0, -1, None]})
    splits = make_splits(make_task(Sizes(9, 9, 9)), dataset(train=train, validation=5, test=5))
    assert len(splits.train) == 1
    assert any(note.startswith("2 of 3 train rows were dropped") for note in splits.notes)
    bad = pa.table({"text": ["x", "y"], "label": [0, 7]})
    with pytest.raises(DataError, match=r"memory, train row 1: .*7.*outside the label map"):
        make_splits(make_task(Sizes(9, 9, 9)), dataset(train=bad, validation=5, test=5))


def test_keep_chooses_rows():
    task = make_task(Sizes(9, 9, 9), keep=lambda row: row["text"] != "row 0")
    assert len(make_splits(task, dataset(train=10, validation=5, test=5)).train) == 9


def test_missing_columns_name_what_is_there():
    with pytest.raises(DataError, match="no column 'label'; the row has text"):
        make_splits(make_task(), Dataset({"train": pa.table({"text": ["x"]})}, "memory", None, "0"))
    with pytest.raises(DataError, match="no column 'text'; the row has body, label"):
        make_splits(make_task(), Dataset({"train": pa.table({"body": ["x"], "label": [0]})}, "memory", None, "0"))


def test_too_few_rows_is_an_error():
    with pytest.raises(DataError, match="no rows left for train"):
        make_splits(make_task(), dataset(train=2))
    with pytest.raises(DataError, match="no labelled rows in memory"):
        make_splits(make_task(), dataset(test=2))


def test_splits_are_deterministic_and_ordered():
    one, two = (make_splits(make_task(), dataset(train=6000, validation=300)) for _ in range(2))
    assert one.validation.table.equals(two.validation.table)
    assert one.train.table["text"].to_pylist() == sorted(texts_in_order(one.train), key=lambda text: int(text[4:]))


def texts_in_order(part):
    return part.table["text"].to_pylist()


def grouped(n, start=0):
    """`n` rows in groups of one to five, numbered from 0 in every split, in shuffled order."""
    groups = np.repeat(np.arange(n), np.arange(n) % 5 + 1)[:n]
    table = rows(n, start).append_column("question", pa.array(groups))
    return table.take(pa.array(np.random.default_rng(0).permutation(n)))


def questions(part):
    return set(part.table["question"].to_pylist())


def whole(part, table):
    """Has every group of `part` all its rows in `table`?"""
    names, sizes = np.unique(part.table["question"].to_numpy(), return_counts=True)
    return np.array_equal(sizes, np.bincount(table["question"].to_numpy())[names])


GROUPED = {  # name: (policy, official, splits here, sizes at most, the parts cut from one split)
    "carved from train": ("disjoint", LARGE, {"train": 6000, "validation": 300}, (1000, 300), "train validation"),
    "halved": ("disjoint", SMALL, {"train": 90, "validation": 401}, (200, 401), "validation test"),
    "only test": ("disjoint", Sizes(9, None, 9), {"test": 7600}, (684, 1520), "train validation test"),
    "published": ("attempt", LARGE, {"train": 3000, "validation": 300}, (1000, 300), "train validation"),
    "published, halved": ("tpv", SMALL, {"train": 90, "validation": 300}, (150, 300), "validation test"),
}


@pytest.mark.parametrize("case", GROUPED)
def test_no_group_is_cut(case):
    policy, official, here, most, siblings = GROUPED[case]
    name = "qnli" if official is LARGE else "rte"
    tables = {split: grouped(n, 10**6 * place) for place, (split, n) in enumerate(here.items())}
    task = make_task(official, name, group=lambda row: str(row["question"]))
    splits = make_splits(task, dataset(**tables), policy)
    assert sum(splits.counts.values()) == sum(here.values())
    if case != "only test":  # there a tenth of what is left after test
        assert most[0] - 5 < len(splits.validation) <= most[0]
    assert len(splits.test) <= most[1]
    parts = {split: getattr(splits, split) for split in siblings.split()}
    origin = tables["validation" if "halved" in case else next(iter(here))]
    names = [questions(part) for part in parts.values()]
    assert sum(map(len, names)) == len(set.union(*names))
    assert all(whole(part, origin) for part in parts.values())


def test_equal_group_numbers_of_different_splits_are_no_overlap():
    task = make_task(Sizes(9, 9, 9), group=lambda row: str(row["question"]))
    test = pa.concat_tables([grouped(49, 10**6), grouped(60).filter(pa.array([i < 1 for i in range(60)]))])
    splits = make_splits(task, dataset(train=grouped(60), validation=grouped(50, 2 * 10**6), test=test))
    assert splits.notes == ("1 train rows have the text of a test row and were removed",)
    assert splits.counts == {"train": 59, "validation": 50, "test": 50}


def test_a_missing_group_column_names_what_is_there():
    task = make_task(SMALL, group=lambda row: str(row["question"]))
    with pytest.raises(DataError, match="no column 'question'; the rows have label, text"):
        make_splits(task, dataset(train=50, validation=50))


PUBLISHED = [  # policy, task, official, here, expected
    ("attempt", "rte", SMALL, {"train": 2490, "validation": 277}, (2490, 138, 139)),
    ("attempt", "qnli", LARGE, {"train": 5000, "validation": 300}, (4000, 1000, 300)),
    ("attempt", "imdb", Sizes(25_000, None, 25_000), {"train": 5000, "test": 700}, (4000, 1000, 700)),
    ("attempt", "scitail", Sizes(23_097, 1304, 2126), {"train": 500, "validation": 100, "test": 60}, (500, 50, 50)),
    ("attempt", "sst5", Sizes(8544, 1101, 2210), {"train": 3000, "validation": 110, "test": 220}, (2000, 1000, 110)),
    ("attempt", "mnli", LARGE, {"train": 3000, "validation": 60, "validation_mismatched": 70}, (3000, 70, 60)),
    ("attempt", "mnli", LARGE, {"train": 3000, "validation": 60}, (2000, 1000, 60)),
    ("attempt", "paws", Sizes(49_401, 8000, 8000), {"train": 50, "validation": 40, "test": 30}, (50, 40, 30)),
    ("tpv", "mnli", LARGE, {"train": 3000, "validation": 60, "validation_mismatched": 70}, (2000, 1000, 60)),
    ("tpv", "trec", Sizes(5452, None, 500), {"train": 5452, "test": 500}, (5452, 250, 250)),
    ("tpv", "scitail", Sizes(23_097, 1304, 2126), {"train": 3000, "validation": 100, "test": 60}, (2000, 1000, 60)),
    (
        "tpv-text",
        "scitail",
        Sizes(23_097, 1304, 2126),
        {"train": 3000, "validation": 100, "test": 60},
        (2000, 1000, 60),
    ),
    ("tpv-text", "stsb", SMALL, {"train": 500, "validation": 151}, (500, 75, 76)),
    ("s0-text", "qnli", LARGE, {"train": 3000, "validation": 5463}, (3000, 1000, 4463)),
    ("s0-text", "sst2", LARGE, {"train": 3000, "validation": 872}, (3000, 436, 436)),
    ("s0-text", "rte", SMALL, {"train": 2490, "validation": 277}, (2490, 138, 139)),
]


@pytest.mark.parametrize(("policy", "name", "official", "here", "expected"), PUBLISHED)
def test_published_sizes(policy, name, official, here, expected):
    splits = make_splits(make_task(official, name), dataset(**here), policy)
    assert tuple(splits.counts.values()) == expected


def test_tpv_tests_stsb_on_its_validation_rows():
    task = make_task(Sizes(5749, 1500, None), "stsb", kind="regression", words={}, answers=lambda row: ("1.0",))
    splits = make_splits(task, dataset(train=500, validation=150), "tpv")
    assert splits.validation.table.equals(splits.test.table)
    assert "150 validation rows have the text of a test row and were left in" in splits.notes
    clean = make_splits(task, dataset(train=500, validation=150), "disjoint")
    assert clean.counts == {"train": 500, "validation": 75, "test": 75}
    assert not texts(clean.validation) & texts(clean.test)


def test_published_policies_carve_nothing():
    with pytest.raises(MissingData, match=r"needs the train rows.*cpeft fetch task:scitail"):
        make_splits(make_task(name="scitail"), dataset(validation=100), "tpv")


@pytest.mark.parametrize("n", [0, 1, 7, 50, 100])
def test_stratified_is_proportional(n):
    classes = np.array([0] * 61 + [1] * 38 + [5])
    index = stratified(classes, n, np.random.default_rng(0))
    assert len(set(index.tolist())) == n
    counts = np.bincount(classes[index], minlength=6)[[0, 1, 5]]
    assert np.all(np.abs(counts - n * np.array([61, 38, 1]) / 100) < 1)


def test_normalised():
    assert normalised("Do n't  STOP , now") == normalised("don't stop: now!")
    assert normalised("Straße “über”") == normalised("STRASSE ÜBER")
    assert normalised("?!") != normalised("...")
    assert normalised("* Ann * met # her #") != normalised("Ann met * her # her #")
    assert normalised("x + 1") != normalised("x * 1")
