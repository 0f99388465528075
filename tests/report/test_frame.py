"""Scores as a data frame: its rows and columns on an empty, a one-run and a full store, in Python and from the command."""

import re
from pathlib import Path

import pandas as pd
import pytest
from test_page import write_run, write_store
from typer.testing import CliRunner

import cpeft
from cpeft.cli import app
from cpeft.errors import ConfigError
from cpeft.report.frame import COLUMNS, scores

DOCS = Path(__file__).parents[2] / "docs" / "scores.md"
SEVERAL = {"macro_f1": 40.0, "choice_accuracy": 70.0, "accuracy": 50.0}


def test_a_store_without_runs_has_all_columns_and_no_rows(tmp_path):
    frame = scores(tmp_path)
    assert len(frame) == 0
    assert list(frame.columns) == list(COLUMNS)
    assert frame["value"].dtype == "float64"
    with pytest.raises(ConfigError, match="nowhere: no such folder"):
        scores(tmp_path / "nowhere")


def test_one_run_has_a_row_for_every_metric_the_headline_first(tmp_path):
    found = {name: {"value": value, "low": value - 1, "high": value + 1} for name, value in SEVERAL.items()}
    folder = write_run(tmp_path, "plain", ["rte"], 3, scores={"rte": found}, few_shot=16, validation=55.0, length=20)
    frame = cpeft.scores(str(tmp_path))
    assert frame["metric"].tolist() == ["accuracy", "choice_accuracy", "macro_f1"]
    head = frame[frame["headline"]].iloc[0].to_dict()
    assert head == {
        "stage": "targets",
        "method": "plain",
        "label": "plain",
        "run": folder.name,
        "run_id": folder.name.rpartition("-")[2],
        "method_name": "prompt_tuning",
        "model": "/models/t5-tiny",
        "dtype": "float32",
        "task": "rte",
        "metric": "accuracy",
        "headline": True,
        "value": 50.0,
        "low": 49.0,
        "high": 51.0,
        "majority": 47.5,
        "test_rows": 3,
        "seed": 3,
        "shots": 16,
        "steps": 20,
        "best_step": -1,
        "length": 20,
        "trainable": 1234,
        "validation": 55.0,
        "seconds": 66.0,
    }
    assert frame["majority"].isna().tolist() == [False, True, True]


def test_a_full_store(tmp_path):
    store = write_store(tmp_path / "store")
    folder = write_run(store, "plain", ["rte", "cb"], 0, "together", trainable=None)
    (folder / "config.toml").write_text('tasks = ["rte", "cb"]\nseed = 0\n')
    frame = scores(store)
    assert len(frame) == 8 + 2
    assert frame["run"].nunique() == 8 + 1
    assert frame.groupby(["stage", "method", "task"])["value"].mean()["targets", "mix", "rte"] == 63.0
    assert frame["shots"].isna().all()  # all rows
    assert frame.set_index("stage")["trainable"].isna().tolist() == [False] * 8 + [True] * 2


def test_labels_are_told_apart_by_settings(tmp_path):
    for rate in ("0.1", "0.3"):
        folder = write_run(tmp_path, "plain", ["rte"], 0)
        (folder / "config.toml").write_text(f'tasks = ["rte"]\nseed = 0\n[optim]\nlr = {rate}\n')
        folder.rename(folder.with_name(f"rte.plain.s0-{rate}"))
    frame = scores(tmp_path)
    assert frame["method"].tolist() == ["plain · optim.lr=0.1", "plain · optim.lr=0.3"]
    assert frame["label"].tolist() == ["plain", "plain"]


@pytest.mark.parametrize(("suffix", "read"), [("parquet", pd.read_parquet), ("csv", pd.read_csv)])
def test_the_command_writes_the_rows(tmp_path, suffix, read):
    store, path = write_store(tmp_path / "store"), tmp_path / "out" / f"scores.{suffix}"
    done = CliRunner().invoke(app, ["report", str(store), "--frame", str(path)])
    assert done.exit_code == 0, done.output
    written, frame = read(path), scores(store)
    assert list(written.columns) == list(COLUMNS)
    assert written[["run", "task", "value"]].values.tolist() == frame[["run", "task", "value"]].values.tolist()
    assert written["shots"].isna().all()


def test_other_suffixes_are_refused(tmp_path):
    store = write_store(tmp_path / "store")
    done = CliRunner().invoke(app, ["report", str(store), "--frame", str(tmp_path / "scores.xlsx")])
    assert isinstance(done.exception, ConfigError)
    assert re.search(r"scores\.xlsx: the name must end in \.parquet or \.csv", str(done.exception))
    assert not (tmp_path / "scores.xlsx").exists()


def test_every_column_is_documented():
    rows = re.findall(r"^\| (`.*?) \|", DOCS.read_text(encoding="utf-8"), re.M)
    assert [name for row in rows for name in re.findall(r"`(\w+)`", row)] == list(COLUMNS)
    assert [name for name in COLUMNS if not re.search(rf"^ +[\w, ]*\b{name}\b.*: ", scores.__doc__, re.M)] == []
