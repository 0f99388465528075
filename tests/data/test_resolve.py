"""Rows come from files, folders and the hub alike, and every failure is one sentence that says what to do."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cpeft.config import digest
from cpeft.data.resolve import fetch, load_tables, locate, read_rows
from cpeft.errors import DataError, MissingData
from cpeft.tasks.base import Hub, Sizes, Task

ROWS = {"text": ['a "quoted", text', "two\nlines", "three"], "label": [0, 1, 0]}


def make_task(**changes):
    settings = {
        "name": "toy",
        "title": "toy",
        "version": 1,
        "kind": "classification",
        "fields": (("text", "text"),),
        "prefix": "toy",
        "metrics": ("accuracy",),
        "official": Sizes(3, None, None),
        "hub": Hub(""),
        "words": {0: "no", 1: "yes"},
    }
    return Task(**{**settings, **changes})


def write(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        pq.write_table(pa.table(ROWS), path)
    elif path.suffix == ".jsonl":
        rows = pa.table(ROWS).to_pylist()
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    else:
        path.write_text('text,label\n"a ""quoted"", text",0\n"two\nlines",1\nthree,0\n', encoding="utf-8")
    return path


@pytest.fixture(autouse=True)
def _no_folder(monkeypatch):
    monkeypatch.delenv("CPEFT_DATA", raising=False)


@pytest.mark.parametrize("suffix", [".parquet", ".jsonl", ".csv"])
def test_formats_give_the_same_rows(tmp_path, suffix):
    assert read_rows(write(tmp_path / f"train{suffix}")).to_pydict() == ROWS


def test_a_row_longer_than_arrows_block_is_read(tmp_path):
    path = tmp_path / "train.jsonl"
    path.write_text("".join(json.dumps({"text": "x" * 3_000_000, "label": n}) + "\n" for n in range(2)))
    assert read_rows(path).num_rows == 2


def test_the_tasks_own_files_come_before_the_folder(tmp_path, monkeypatch):
    write(tmp_path / "toy" / "train.parquet")
    monkeypatch.setenv("CPEFT_DATA", str(tmp_path))
    own = write(tmp_path / "mine.csv")
    assert locate(make_task(files={"test": str(own)})) == {"test": own}
    assert list(load_tables(make_task()).tables) == ["train"]


def test_folder_aliases_and_preference_for_parquet(tmp_path, monkeypatch):
    for suffix in (".csv", ".parquet"):
        write(tmp_path / "alias" / f"train{suffix}")
    monkeypatch.setenv("CPEFT_DATA", str(tmp_path))
    assert locate(make_task(folders=("alias",))) == {"train": tmp_path / "alias" / "train.parquet"}


def test_fingerprint_follows_bytes(tmp_path, monkeypatch):
    path = write(tmp_path / "toy" / "train.csv")
    monkeypatch.setenv("CPEFT_DATA", str(tmp_path))
    first = load_tables(make_task()).fingerprint
    assert first == load_tables(make_task()).fingerprint
    path.write_text(path.read_text() + "four,1\n")
    assert load_tables(make_task()).fingerprint != first


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.csv", b"", "no rows"),
        ("a.csv", b"text,label\n", "no rows"),
        ("a.csv", b"text,label\nx,0\ny,1,2\n", "line 3: 3 cells, and the header has 2"),
        ("a.jsonl", b'{"text": "x"}\n{"text": \n', "not a readable .jsonl"),
        ("a.parquet", b"version https://git-lfs.github.com/spec/v1\n", "not a readable .parquet"),
        ("a.xlsx", b"x", "cannot read '.xlsx'"),
    ],
)
def test_bad_files_are_one_sentence(tmp_path, name, content, says):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=says) as error:
        read_rows(tmp_path / name)
    assert str(tmp_path / name) in str(error.value)
    assert "\n" not in str(error.value)


def test_missing_own_file_names_split_and_path(tmp_path):
    with pytest.raises(MissingData, match=r"split 'train' does not exist: .*gone\.csv"):
        load_tables(make_task(files={"train": str(tmp_path / "gone.csv")}))


def test_missing_data_offline_names_the_command(tmp_path):
    """In a process of its own: `huggingface_hub` reads HF_HUB_OFFLINE once, at import."""
    code = (
        "from cpeft.data.resolve import load_tables; from cpeft.errors import MissingData\n"
        "from cpeft.tasks.base import Hub, Sizes, Task\n"
        "task = Task(name='toy', title='', version=1, kind='generation', fields=(), prefix='', metrics=(),\n"
        "  official=Sizes(1, 1, 1), hub=Hub('nobody/nothing-here'))\n"
        "try: load_tables(task)\n"
        "except MissingData as error: print(error)"
    )
    new = {"CPEFT_DATA": str(tmp_path), "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "hf")}
    new["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    done = subprocess.run([sys.executable, "-c", code], env={**os.environ, **new}, capture_output=True, text=True)
    message = done.stdout.strip()
    for part in ("'toy'", str(tmp_path / "toy"), "nobody/nothing-here", "cpeft fetch task:toy --out DIR"):
        assert part in message, done.stderr
    assert "export CPEFT_DATA=DIR" in message
    assert "\n" not in message


def test_hub_and_fetch_through_a_local_folder(tmp_path, monkeypatch):
    write(tmp_path / "remote" / "train.parquet")
    write(tmp_path / "remote" / "validation.parquet")
    splits = {"train": "train", "test": "validation"}
    task = make_task(hub=Hub(str(tmp_path / "remote"), None, splits))
    data = load_tables(task)
    assert data.origin.startswith("hub ")
    assert {split: table.to_pydict() for split, table in data.tables.items()} == {"train": ROWS, "test": ROWS}
    assert data.fingerprint == load_tables(task).fingerprint

    paths = fetch(task, tmp_path / "data")
    names = sorted(path.name for path in (tmp_path / "data" / "toy").iterdir())
    assert sorted(path.name for path in paths) == names == ["source.json", "test.parquet", "train.parquet"]
    assert json.loads(paths[-1].read_text())["rows"] == {"train": 3, "test": 3}
    monkeypatch.setenv("CPEFT_DATA", str(tmp_path / "data"))
    assert load_tables(task).tables["test"].to_pydict() == ROWS
    assert "data/toy" in load_tables(task).origin


def test_a_folder_of_another_revision_is_refused(tmp_path, monkeypatch):
    write(tmp_path / "toy" / "train.parquet")
    (tmp_path / "toy" / "source.json").write_text('{"revision": "abc", "asked": "v1"}')
    monkeypatch.setenv("CPEFT_DATA", str(tmp_path))
    assert load_tables(make_task()).revision == load_tables(make_task(), "v1").revision == "abc"
    with pytest.raises(MissingData, match="holds revision abc, not the requested def"):
        load_tables(make_task(), "def")


def test_hub_without_wanted_splits(tmp_path):
    write(tmp_path / "remote" / "train.parquet")
    with pytest.raises(MissingData, match="has the splits train only"):
        load_tables(make_task(hub=Hub(str(tmp_path / "remote"), None, {"test": "test"})))


def test_rows_of_the_folder_keep_their_types_and_fingerprint(tmp_path, monkeypatch):
    """Run ids of packaged tasks hang on the bytes of these files alone; strings that look like something else stay strings."""
    rows = {"text": ["2019-01-01", "007", "NA"], "label": [0, 1, 0]}
    monkeypatch.setenv("CPEFT_DATA", str(tmp_path))
    (tmp_path / "toy").mkdir()
    writers = {
        ".csv": "text,label\n2019-01-01,0\n007,1\nNA,0\n",
        ".jsonl": "".join(json.dumps(row) + "\n" for row in pa.table(rows).to_pylist()),
    }
    for suffix, text in writers.items():
        path = tmp_path / "toy" / f"test{suffix}"
        path.write_text(text)
        data = load_tables(make_task())
        assert data.tables["test"].to_pydict() == rows
        assert data.notes == ()
        assert data.fingerprint == digest({"test": hashlib.sha256(path.read_bytes()).hexdigest()})
        path.unlink()
