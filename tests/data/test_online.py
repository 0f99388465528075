"""`cpeft doctor --online` against a local stand-in for the hub: rows and configurations are read at a commit, and what does
not fit is named."""

import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from transformers import T5Config

from hub_stand_in import COMMIT, hub
from tiny import run_cpeft

RECIPE = """name = "online"
model.name = "someone/small"
[[stage]]
name = "one"
tasks = ["sst2", "ag_news", "imdb", "trec", "mini/mood"]
[[stage]]
name = "two"
tasks = ["sst2"]
model.name = "someone/gone"
[[stage]]
name = "three"
tasks = ["mini/mood"]
model.name = "mini"
"""


def parquet(**columns):
    file = io.BytesIO()
    pq.write_table(pa.table(columns), file)
    return file.getvalue()


def card(*configs):
    """A dataset card that says which files are which configuration."""
    lines = ["---", "configs:"]
    for name in configs:
        folder = "data" if name == "default" else name
        lines += [f"- config_name: {name}", "  data_files:"]
        for split in ("train", "validation", "test"):
            lines += [f"  - split: {split}", f"    path: {folder}/{split}-*"]
    return "\n".join([*lines, "---", ""]).encode()


DATASETS = {
    "nyu-mll/glue": {
        "sst2/train-0.parquet": parquet(sentence=["a fine film", "no"], label=[1, 0], idx=[0, 1]),
        "sst2/validation-0.parquet": parquet(sentence=["dull"], label=[0], idx=[0]),
        "sst2/test-0.parquet": parquet(sentence=["hidden"], label=[-1], idx=[0]),
        "README.md": card("sst2"),
    },
    "fancyzhx/ag_news": {  # without its validation rows the card has no such split, as on the hub
        "data/train-0.parquet": parquet(text=["shares fall"], label=[2]),
        "data/test-0.parquet": parquet(text=["a cup final"], label=[7]),
        "README.md": b"",
    },
    "stanfordnlp/imdb": {
        "data/train-0.parquet": parquet(review=["renamed column"], label=[1]),
        "README.md": b"",
    },
}
MODELS = {"someone/small": {"config.json": json.dumps({**T5Config().to_dict(), "is_encoder_decoder": True}).encode()}}


@pytest.fixture
def online(tmp_path, monkeypatch):
    """The command against the stand-in, with a hub cache of its own."""
    (tmp_path / "online.toml").write_text(RECIPE)
    with hub(DATASETS, MODELS) as address:
        yield {"HF_ENDPOINT": address, "HF_HUB_OFFLINE": "0", "HF_HOME": str(tmp_path / "hub")}


def test_rows_and_configurations_are_read_at_a_commit(online, tmp_path):
    done = run_cpeft("doctor", "--online", tmp_path / "online.toml", "--json", more_environment=online)
    assert done.returncode == 2, done.stderr
    found = {(entry["name"], entry["split"]): entry for entry in json.loads(done.stdout)}
    assert len(found) == 9  # mini's rows and weights are no matter of the hub, sst2 is read once
    right = {name: entry["what"] for name, entry in found.items() if entry["state"] == "ok"}
    assert right == {
        ("sst2", "train"): "sst2 sentence: a fine film -> positive",
        ("sst2", "validation"): "sst2 sentence: dull -> negative",
        ("ag_news", "train"): right["ag_news", "train"],
        ("someone/small", ""): "t5, encoder-decoder",
    }
    assert right["ag_news", "train"].endswith("shares fall -> Business")
    assert {found[name]["revision"] for name in right} == {COMMIT}
    wrong = {name: entry["what"] for name, entry in found.items() if entry["state"] == "error"}
    assert "label 7 in column 'label' is outside the label map" in wrong["ag_news", "test"]
    assert "no column 'text'; the row has label, review" in wrong["imdb", "train"]
    assert wrong["imdb", "test"] == "no split 'test'; there are train"
    assert {"trec", "someone/gone"} == {
        name for (name, split), what in wrong.items() if "RepositoryNotFoundError" in what
    }


def test_the_table_names_what_is_wrong(online, tmp_path):
    (tmp_path / "online.toml").write_text(
        RECIPE.replace('"sst2", "ag_news", "imdb", "trec"', '"imdb"', 1).replace("gone", "small")
    )
    done = run_cpeft("doctor", "--online", tmp_path / "online.toml", more_environment=online)
    lines = done.stdout.splitlines()
    assert done.returncode == 2
    assert lines[-1] == "3 of 5 are as cpeft expects them; --json has the whole commits"
    assert lines[-2] == "error imdb test (stanfordnlp/imdb): no split 'test'; there are train"


def test_no_network_is_one_sentence(cpeft_main):
    code, _, err = cpeft_main("doctor", "--online", "quickstart-mini")
    assert (code, "no hub in reach" in err) == (3, True)
    code, _, err = cpeft_main("doctor")
    assert (code, "cpeft doctor quickstart" in err) == (2, True)
