"""`cpeft plan`: the graph of a study, and what is missing for it here."""

import json
import shutil

import pytest
from huggingface_hub import constants

from cpeft.data import hub
from cpeft.evaluation.task_data import dataset_of
from tiny import QUICK

MIXED = f"""{QUICK}
[[stage]]
name = "sources"
tasks = ["mood.toml", "rte"]
[[stage]]
name = "targets"
tasks = ["topic.toml"]
[[stage.variant]]
name = "alone"
[[stage.variant]]
name = "mood"
prompt.init = "sources/mood"
[[stage.variant]]
name = "both"
sources = ["sources/*"]
method = {{ name = "attempt", temperature = "auto" }}
[[stage.variant]]
name = "large"
model.name = "nobody/large"
"""


@pytest.fixture
def mixed(world, tmp_path, monkeypatch):
    """A recipe that needs rows and a model that are nowhere."""
    monkeypatch.delenv("CPEFT_DATA", raising=False)
    dataset_of.cache_clear()
    path = world / f"{tmp_path.name}.toml"
    path.write_text(MIXED)
    yield path
    dataset_of.cache_clear()


def test_the_graph(world, cpeft_main, tmp_path):
    code, out, err = cpeft_main("plan", world / "study.toml", "--store", tmp_path / "store", "--json")
    assert (code, err) == (0, "")
    told = json.loads(out)
    assert told["stages"] == [
        {"stage": "sources", "runs": 4, "states": {"ready": 4}, "needs": []},
        {"stage": "targets", "runs": 12, "states": {"ready": 4, "waiting": 8}, "needs": ["sources"]},
    ]
    needs = {run["run"]: run["needs"] for run in told["runs"]}
    assert needs["mood.sources.s1"] == needs["rank.vocab few_shot=3.s1"] == []
    assert needs["rank.spot few_shot=3.s1"] == ["sources/mood.sources.s1"]
    assert needs["rank.attempt few_shot=3.s0"] == ["sources/mood.sources.s0", "sources/topic.sources.s0"]
    assert told["missing"] == []


def test_stages_come_first_and_folders_take_no_room(world, finished, cpeft_main, tmp_path):
    store = tmp_path / "store"
    shutil.copytree(finished.path, store)
    [folder] = store.glob("targets/rank.vocab_few_shot=3.s0-*")
    (folder / "result.json").unlink()
    code, out, _ = cpeft_main("plan", world / "study.toml", "--store", store)
    assert code == 0
    lines = [line.replace("│", " ").split() for line in out.splitlines()]
    assert ["targets", "sources", "12", "11", "1", "stopped"] in lines
    first, last = lines.index(["sources", "4", "4"]), lines.index(["targets", "sources", "12", "11", "1", "stopped"])
    run = next(i for i, words in enumerate(lines) if "rank.attempt" in words)
    assert first < last < run
    assert lines[run][-5:-1] == ["2", "of", "sources", "done"]
    assert folder.name.rpartition("-")[2] in out
    assert str(store) not in out
    assert "--probe estimates hours and electricity" in out
    assert "hours left in one process" in out


def test_what_is_missing_is_said_once_and_the_rest_is_shown(mixed, cpeft_main, tmp_path):
    code, out, err = cpeft_main("plan", mixed, "--store", tmp_path / "store")
    assert code == 3
    assert "needs data: task 'rte'" in out
    assert "needs model: model 'nobody/large'" in out
    assert "4 ready" not in out
    assert "2 of 6 runs need data or models that are not on this machine" in err
    assert err.count("task 'rte'") == err.count("model 'nobody/large'") == 1
    assert "`cpeft fetch task:rte model:nobody/large --out DIR`" in err
    code, out, err = cpeft_main("plan", mixed, "--store", tmp_path / "store", "--json", "--probe")
    assert code == 3
    told = json.loads(out)
    assert {run["run"]: run["state"] for run in told["runs"]} == {
        "mood.sources.s0": "ready", "rte.sources.s0": "needs data", "topic.alone.s0": "ready", "topic.mood.s0": "waiting",
        "topic.both.s0": "waiting", "topic.large.s0": "needs model",
    }  # fmt: skip
    assert len(told["missing"]) == 2
    assert told["probe"] is None
    assert cpeft_main("run", mixed, "--store", tmp_path / "store")[0] == 3


def test_revisions_are_fetched_as_they_are_asked_for(mixed, cpeft_main, tmp_path):
    code, _, err = cpeft_main("plan", mixed, "--store", tmp_path / "store", "sources.data.revision=abc")
    assert code == 3
    assert "`cpeft fetch task:rte --out DIR --revision abc`" in err
    assert "`cpeft fetch model:nobody/large --out DIR`" in err


def test_ones_own_files_are_not_fetched(world, cpeft_main, tmp_path):
    for name in ("study.toml", "mood.toml", "topic.toml", "rank.toml"):
        shutil.copy(world / name, tmp_path / name)
    (tmp_path / "model").symlink_to(world / "model")
    code, _, err = cpeft_main("plan", tmp_path / "study.toml", "--store", tmp_path / "store")
    assert code == 3
    assert "16 of 16 runs" in err
    assert f"the file of split 'train' does not exist: {tmp_path / 'mood-train.csv'}" in err
    assert "cpeft fetch" not in err


def test_a_hub_that_does_not_answer_is_asked_once(monkeypatch):
    asked = []

    def nobody():
        asked.append("hub")
        raise OSError("no route")

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.get_session", nobody)
    hub.ask_hub_once.cache_clear()
    hub.ask_hub_once()
    hub.ask_hub_once()
    assert constants.HF_HUB_OFFLINE
    assert asked == ["hub"]
    hub.ask_hub_once.cache_clear()
