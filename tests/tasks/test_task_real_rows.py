"""Every task on the real rows at hand: the first 200 of each split render, and full splits have their official size.

Rows lie under CPEFT_DATA, else in `shared/data` beside the repository; without them these tests skip and say so.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from cpeft.tasks import TASKS, Row, Task

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("CPEFT_DATA") or ROOT.parent / "shared" / "data")
REAL = [name for name, task in TASKS.items() if task.real_rows and not task.rows]

# The splits that data/README.md calls full.
FULL = {
    "sst2": ("train", "validation"),
    "trec": ("train", "test"),
    "trec_fine": ("train", "test"),
    "ag_news": ("test",),
    "mrpc": ("train", "validation", "test"),
    "rte": ("train", "validation"),
    "cola": ("train", "validation"),
    "stsb": ("train", "validation"),
    "snli": ("validation", "test"),
    "scitail": ("validation", "test"),
    "sst5": ("train", "validation", "test"),
    "imdb": ("train", "test"),
    "qnli": ("validation",),
    "mnli": ("validation",),
    "boolq": ("validation",),
    "cb": ("train", "validation"),
    "wic": ("train", "validation"),
    "wsc": ("train", "validation"),
    "multirc": ("train", "validation"),
    "squad": ("validation",),
    "squad_v2": ("validation",),
    "math": ("train", "test"),
}


def files(task: Task) -> Iterator[tuple[str, Path]]:
    for folder in (task.name, *task.folders):
        for split in ("train", "validation", "test"):
            path = DATA / folder / f"{split}.parquet"
            if path.exists():
                yield split, path


def found(name: str) -> dict[str, Path]:
    paths = dict(files(TASKS.get(name)))
    if not paths:
        pytest.skip(f"no rows of {name} under {DATA} (set CPEFT_DATA)")
    return paths


def head(path: Path) -> list[Row]:
    parquet = pytest.importorskip("pyarrow.parquet")
    rows: list[Row] = next(parquet.ParquetFile(path).iter_batches(batch_size=200)).to_pylist()
    return rows


@pytest.mark.parametrize("name", REAL)
def test_real_rows_render(name: str) -> None:
    task = TASKS.get(name)
    for split, path in found(name).items():
        rows = [row for row in head(path) if task.answers or task.code(row) is not None]
        assert rows, f"{split}: no row belongs to the task"
        for style in ("words", "numbers"):
            for example in (task.example(row, style=style) for row in rows):
                assert example.source.startswith(f"{task.prefix} ")
                assert example.target
                assert not task.words or example.target in task.labels(style)
                assert bool(example.group) == bool(task.group)


@pytest.mark.parametrize("name", sorted(FULL))
def test_full_splits_have_their_official_size(name: str) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    paths = found(name)
    here = {split: parquet.ParquetFile(paths[split]).metadata.num_rows for split in FULL[name]}
    assert here == {split: getattr(TASKS.get(name).official, split) for split in FULL[name]}


@pytest.mark.parametrize(("name", "split", "share"), [("squad_v2", "validation", 5945), ("yelp_stars", "train", 982)])
def test_counts_of_unusual_rows(name: str, split: str, share: int) -> None:
    """Unanswerable questions, and reviews of three stars, as data/README.md counts them."""
    parquet = pytest.importorskip("pyarrow.parquet")
    task, path = TASKS.get(name), found(name)[split]
    rows = parquet.read_table(path, columns=["answers"] if task.answers else ["label"]).to_pylist()
    if task.answers:
        assert sum(task.answers(row) == ("unanswerable",) for row in rows) == share
    else:
        assert sum(task.code(row) is None for row in rows) == share


def test_every_wsc_row_finds_its_spans() -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    for path in found("wsc").values():
        for row in parquet.read_table(path).to_pylist():
            source = TASKS.get("wsc").source(row)
            assert source.count("* ") >= 1
            assert source.count("# ") >= 1
            assert len(source.split()) >= len(row["text"].split()) + 4


def test_no_multirc_markup_is_left() -> None:
    for path in found("multirc").values():
        for row in head(path):
            source = TASKS.get("multirc").source(row)
            assert "<br>" not in source
            assert "<b>" not in source


def test_without_data_the_reason_is_clear(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(globals(), "DATA", tmp_path)
    with pytest.raises(pytest.skip.Exception, match=r"no rows of rte under .* \(set CPEFT_DATA\)"):
        found("rte")
