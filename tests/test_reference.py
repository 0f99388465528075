"""The reference: every option and recorded field is described, and the generated pages are those of the code."""

import json

import pytest
from tools.reference import pages

from cpeft.store.result import ComparisonResult, DataInfo, Energy, ModelInfo, RunResult, Seconds
from cpeft.use.option_tables import field_rows, option_rows, option_tables
from test_options import options_classes


@pytest.mark.parametrize("path", pages(), ids=lambda path: path.name)
def test_pages_are_those_of_the_code(path):
    assert path.read_text(encoding="utf-8") == pages()[path], "run: python -m tools.reference"


def test_every_option_is_in_a_table():
    listed = {(kind, row["option"]) for kind in option_tables().values() for row in field_rows(kind)}
    names = {option for _, option in listed}
    for kind in options_classes():
        assert set(kind.model_fields) - names <= set(option_tables()) | {"tasks", "seed"}, kind


@pytest.mark.parametrize("record", [RunResult, ComparisonResult, DataInfo, ModelInfo, Seconds, Energy])
def test_every_recorded_field_is_described(record):
    assert [row["option"] for row in field_rows(record) if not row["description"]] == []


def test_every_option_is_described_in_one_sentence():
    for row in option_rows():
        text = row["description"]
        assert text.endswith("."), row
        assert len(text) < 220, row


def test_show_options(cpeft_main):
    code, out, err = cpeft_main("show", "options", "train", "--json")
    rows = json.loads(out)
    assert (code, err) == (0, "")
    assert {row["table"] for row in rows} == {"train"}
    assert {"option": "batch", "type": "integer >= 1", "default": "32"}.items() <= rows[2].items()
    assert len(json.loads(cpeft_main("show", "options", "--json")[1])) == len(option_rows()) > 100
    code, out, err = cpeft_main("show", "options", "train.select")
    assert '"metric" | "loss"' in out
    assert "patience" not in out


@pytest.mark.parametrize(("name", "near"), [
    ("trian", "train"), ("attempt", "method.attempt"), ("train.stepz", "train.steps"),
])  # fmt: skip
def test_show_options_suggests_the_nearest_name(cpeft_main, name, near):
    code, _, err = cpeft_main("show", "options", name)
    assert code == 2
    assert f"did you mean '{near}'?" in err


def test_show_needs_a_name_of_anything_else(cpeft_main):
    assert "cpeft show task NAME" in cpeft_main("show", "task")[2]
    assert "--json is not available for tasks" in cpeft_main("show", "task", "rte", "--json")[2]
