"""A user's own task from a TOML file, and one sentence for every mistake in it."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cpeft.errors import ConfigError, DataError, UnknownName
from cpeft.tasks import TASKS
from cpeft.tasks.custom import load_custom

GOOD = """\
name = "reviews"
template = "review: {text} by {user name}"
label_column = "stars"
metrics = ["accuracy", "macro_f1"]
labels = { 1 = "bad", 5 = "good" }
files = { train = "train.csv", test = "rows/test.jsonl" }
"""


@pytest.fixture
def write(tmp_path: Path):
    def toml(text: str) -> Path:
        path = tmp_path / "reviews.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return toml


def test_a_row_becomes_text(write, tmp_path: Path) -> None:
    task = load_custom(write(GOOD + 'prefix = "sentiment"\n'))
    row = {"text": " Fine {food}. ", "user name": "Ann", "stars": 5}
    example = task.example(row)
    assert (example.source, example.target) == ("sentiment review: Fine {food}. by Ann", "good")
    assert task.example(row, prefix=False).source == "review: Fine {food}. by Ann"
    assert task.example({**row, "stars": "1"}, style="numbers").target == "0"
    assert task.labels() == ("bad", "good")
    assert task.metrics == ("accuracy", "macro_f1")
    assert task.files == {"train": str(tmp_path / "train.csv"), "test": str(tmp_path / "rows" / "test.jsonl")}


@pytest.mark.parametrize(
    ("labels", "same", "unknown"),
    [
        ('5 = "good"', ["5", "5.0", "05", " 5", "+5", "5e0", 5, 5.0], ["5.5", "five", "", "NA"]),
        ('5 = "good", 05 = "bad"', ["5", 5], ["5.0", "005"]),  # which of them `5.0` means nobody knows
        ('"1.5" = "good"', ["1.5", "1.50", 1.5], ["1", "1,5"]),
        ('NA = "good", none = "bad"', ["NA", "NA "], ["na", "N/A", "nan", ""]),
        ('"" = "good", 1 = "bad"', ["", " "], ["0"]),
        ('true = "good", false = "bad"', ["true", "True", "TRUE", True], ["1", "yes"]),
        ('True = "good", true = "bad"', ["True"], ["TRUE"]),
        ('"2020-01-05" = "good"', ["2020-01-05"], ["2020-01-05 00:00:00", "20200105"]),
    ],
)
def test_labels_match_by_their_spelling_and_numbers_by_their_value(write, labels, same, unknown) -> None:
    task = load_custom(write(GOOD.replace('1 = "bad", 5 = "good"', labels)))
    assert {task.words[task.code({"stars": cell})] for cell in same} == {"good"}
    for cell in unknown:
        with pytest.raises(DataError, match=f"label '{cell}' in column 'stars' is outside the label map"):
            task.code({"stars": cell})


def test_labels_that_differ_in_their_spelling_alone_are_two(write) -> None:
    task = load_custom(write(GOOD.replace('1 = "bad", 5 = "good"', '01 = "bad", 1 = "awful"')))
    assert [task.example({"text": "x", "user name": "y", "stars": cell}).target for cell in ("01", "1")] == [
        "bad",
        "awful",
    ]


@pytest.mark.parametrize("value", [None, float("nan"), np.float32("nan"), pd.NA, pd.NaT])
def test_a_missing_value_is_no_word(write, value) -> None:
    row = {"text": "x", "user name": "y", "stars": 5}
    task = load_custom(write(GOOD))
    for column, why in {
        "text": 'column .text. is missing .null.; .* missing = ""',
        "stars": "label column .stars. is missing",
    }.items():
        with pytest.raises(DataError, match=why):
            task.example({**row, column: value})
    task = load_custom(write('missing = "?"\n' + GOOD))
    assert task.source({**row, "text": value}, prefix=False) == "review: ? by y"
    with pytest.raises(DataError, match="label column 'stars' is missing"):
        task.example({**row, "stars": value})
    with pytest.raises(DataError, match="task 'cola': column 'sentence' is missing"):
        TASKS.get("cola").source({"sentence": value})


def test_values_from_python_read_as_they_do_from_files(write) -> None:
    task = load_custom(write(GOOD))
    said = {4.0: "4", 2.5: "2.5", np.float32(0.1): "0.1", True: "true", 1e-7: "0.0000001", 10**20: "1" + "0" * 20}
    for value, text in said.items():
        assert task.source({"text": value, "user name": "y"}, prefix=False) == f"review: {text} by y"
    with pytest.raises(DataError, match="column 'text' holds a list, not text"):
        task.source({"text": ["a"], "user name": "y"})


def test_a_byte_order_mark_is_no_part_of_a_toml_file(tmp_path: Path) -> None:
    path = tmp_path / "reviews.toml"
    path.write_text(GOOD, encoding="utf-8-sig")
    assert load_custom(path).name == "reviews"
    path.write_text(GOOD.replace('"reviews"', '"rte"'), encoding="utf-8-sig")
    with pytest.raises(ConfigError, match=r"reviews\.toml:1: .*a task of this name"):
        load_custom(path)


def test_codes_may_be_booleans(write) -> None:
    task = load_custom(write(GOOD.replace('1 = "bad", 5 = "good"', 'true = "yes", false = "no"')))
    assert [task.code({"stars": code}) for code in (True, False, "true")] == ["true", "false", "true"]


def test_without_labels_the_column_is_the_target(write) -> None:
    task = load_custom(write(GOOD.replace('labels = { 1 = "bad", 5 = "good" }\n', "")))
    example = task.example({"text": "x", "user name": "y", "stars": 4})
    assert (task.kind, example.target, example.references) == ("generation", "4", ("4",))
    with pytest.raises(DataError, match="task 'reviews': no column 'stars'; the row has text, user name"):
        task.example({"text": "x", "user name": "y"})


def test_rows_that_do_not_fit_are_named(write) -> None:
    task = load_custom(write(GOOD))
    with pytest.raises(DataError, match="task 'reviews': label '3' in column 'stars' is outside the label map"):
        task.example({"text": "x", "user name": "y", "stars": 3})
    with pytest.raises(DataError, match="task 'reviews': no column 'user name'; the row has stars, text"):
        task.example({"text": "x", "stars": 1})


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("{text} by {user name}", "text", ":2: .*the template names no column"),
        ("{user name}", "{stars}", ":3: .*the answer would stand in the question"),
        ('"macro_f1"', '"macro_f"', ":4: .*unknown metric 'macro_f', did you mean 'macro_f1'?"),
        ("train.csv", "train.xlsx", ":6: .*'train.xlsx' is none of .csv, .tsv, .json, .jsonl"),
        ('"good"', '" "', ":5: .*the label '5' has no word"),
        ('"reviews"', '"my reviews"', ":1: .*a task's name has letters"),
        ("metrics", 'encoding = "latin-one"\nmetrics', ":4: .*no text encoding is called 'latin-one'"),
        ('{ train = "train.csv", test = "rows/test.jsonl" }', "{}", ":6: .*no split has a file"),
        ("test =", "tests =", "'tests'"),
        ('"reviews"', '"rte"', ":1: .*a task of this name comes with cpeft"),
        ("label_column", "label_colum", ":3: unknown key 'label_colum', did you mean 'label_column'?"),
        ('template = "review: {text} by {user name}"\n', "", "missing key 'template'"),
    ],
)
def test_mistakes_are_one_sentence(write, old: str, new: str, sentence: str) -> None:
    assert old in GOOD
    with pytest.raises(ConfigError, match=sentence) as caught:
        load_custom(write(GOOD.replace(old, new)))
    assert not isinstance(caught.value, UnknownName)
    assert "\n" not in str(caught.value)
