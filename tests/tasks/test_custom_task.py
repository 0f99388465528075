"""A user's own task from a TOML file, and one sentence for every mistake in it."""

from pathlib import Path

import pytest

from cpeft.errors import ConfigError, DataError, UnknownName
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
    with pytest.raises(DataError, match="task 'reviews': label 3 in column 'stars' is outside the label map"):
        task.example({"text": "x", "user name": "y", "stars": 3})
    with pytest.raises(DataError, match="task 'reviews': no column 'user name'; the row has stars, text"):
        task.example({"text": "x", "stars": 1})


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("{text} by {user name}", "text", ":2: .*the template names no column"),
        ("{user name}", "{stars}", ":3: .*the answer would stand in the question"),
        ('"macro_f1"', '"macro_f"', ":4: .*unknown metric 'macro_f', did you mean 'macro_f1'?"),
        ("train.csv", "train.xlsx", ":6: .*'train.xlsx' is none of .csv, .jsonl, .parquet"),
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
