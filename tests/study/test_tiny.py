"""`tiny=true`: which runs are left, what of their settings size changes and what not, and where everything is written."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cpeft.data.resolve import load_tables
from cpeft.errors import ConfigError
from cpeft.models.loading import load_lm
from cpeft.models.tiny import SIZES, family_of, write_tiny
from cpeft.store.run_folder import Store
from cpeft.study.recipe.recipe import load_recipe
from cpeft.study.recipe.settings import parse_settings, run_id
from cpeft.study.recipe.tiny import load_sized
from cpeft.study.runner.plan import Plan
from cpeft.tasks import TASKS

RECIPE = """name = "mine"
[model]
name = "google-t5/t5-base"
[prompt]
length = 100
[train]
epochs = 3
[[stage]]
name = "sources"
tasks = ["sst2", "rte"]
seeds = [0, 1, 2]
[[stage]]
name = "brought"
tasks = ["sst2"]
prompt = { init = "mine/sst2", length = 50 }
source.rows = "first:50"
train = { epochs = "default", steps = 0 }
[[stage]]
name = "targets"
tasks = ["cb", "rte"]
seeds = [0, 1, 2]
sources = ["sources/*@2"]
method = { name = "attempt", pool_padding = true }
data = { labels = "numbers", padding = "room" }
optim = { lr = 0.3, warmup = 500 }
[stage.grid]
"data.few_shot, train.epochs" = [[0, 0], [1, 3], [2, 3], [3, 3], [4, 3], [5, 3], [6, 3], [7, 3], [8, 3], ["full", 3]]
"""


@pytest.fixture
def recipe(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CPEFT_DATA", raising=False)
    (tmp_path / "mine.toml").write_text(RECIPE)
    return tmp_path / "mine.toml"


def test_without_it_nothing_changes(recipe):
    for overrides in ([], ["tiny=false"]):
        assert load_sized(recipe, overrides) == load_recipe(recipe)
    assert not Path("stores").exists()
    for wrong in ("tiny=1", "tiny=yes"):
        with pytest.raises(ConfigError, match=f"override '{wrong}': tiny is true or false"):
            load_sized(recipe, [wrong])


def test_some_runs_of_every_stage_and_what_they_start_from(recipe):
    small = load_sized(recipe, ["tiny=true"])
    assert small.name == "tiny/mine"
    runs = [(run.stage, run.name) for run in small.runs]
    assert runs == [
        ("sources", "sst2.sources.s0"), ("sources", "sst2.sources.s2"), ("sources", "rte.sources.s0"),
        ("sources", "rte.sources.s2"), ("brought", "sst2.brought.s0"),
        *(("targets", f"cb.targets few_shot={k}.s0") for k in (0, 3, 6, "full")),
    ]  # fmt: skip


def test_size_changes_and_switches_stay(recipe):
    small = {str(run): run.settings for run in load_sized(recipe, ["tiny=true", "optim.clip=1.0"]).training}
    own = small["targets/cb.targets few_shot=3.s0"]
    assert (own.prompt.length, own.train.steps, own.train.epochs, own.train.batch) == (4, 4, None, 4)
    assert (own.data.max_source, own.data.limit_validation, own.data.limit_test) == (64, 8, 8)
    assert (own.method.pool_padding, own.data.labels, own.data.padding, own.data.few_shot) == (
        True,
        "numbers",
        "room",
        3,
    )
    assert (own.optim.lr, own.optim.warmup, own.optim.clip) == (0.3, 500, 1.0)
    assert small["targets/cb.targets few_shot=0.s0"].train.steps == 0, "no rows, no steps"
    brought = small["brought/sst2.brought.s0"]
    assert (brought.prompt.length, brought.source.rows, brought.train.steps) == (2, "first:2", 0)


def test_it_runs_in_a_store_of_its_own_and_twice_is_once(recipe, cpeft_main):
    code, out, error = cpeft_main("run", recipe, "tiny=true")
    assert (code, error) == (0, "")
    assert [path.name for path in Path("stores").iterdir()] == ["tiny"]
    done = Store("stores/tiny/mine").results()
    assert len(done) == 9
    assert done[0].model.name.endswith("stores/tiny/world/models/t5")
    assert "report: stores/tiny/mine/report.html" in out
    plan = Plan(load_sized(recipe, ["tiny=true"]), Store("stores/tiny/mine"))
    assert {entry.state for entry in plan.entries()} == {"done"}
    code, out, _ = cpeft_main("plan", recipe, "tiny=true", "--json")
    assert json.loads(out)["done"] == 9
    code, out, _ = cpeft_main("run", "--help")
    assert "tiny=true" in out


def test_rows_at_hand_come_before_made_up_ones(recipe, tmp_path, monkeypatch):
    (tmp_path / "data" / "rte").mkdir(parents=True)
    rows = [{"sentence1": f"Ann {i}", "sentence2": f"Bea {i}", "label": i % 2} for i in range(100)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "data" / "rte" / "train.parquet")
    monkeypatch.setenv("CPEFT_DATA", str(tmp_path / "data"))
    load_sized(recipe, ["tiny=true"])
    world = Path("stores/tiny/world/data")
    assert pq.read_table(world / "rte" / "train.parquet").to_pylist() == rows[:64]
    made = pq.read_table(world / "rte" / "validation.parquet").to_pylist()
    assert len(made) == 64
    assert made[0]["sentence1"] == "validation sentence1 0"
    assert sorted(path.name for path in (world / "sst2").iterdir()) == ["train.parquet", "validation.parquet"]


def test_where_rows_lie_is_no_setting_of_a_run():
    plain = {"tasks": ["rte"], "model": {"name": "mini"}}
    here = {**plain, "data": {"folder": "here"}}
    words = {**plain, "data": {"labels": "numbers"}}
    ids = [
        run_id(parse_settings(table), {})
        for table in (plain, here, words, {**words, "data": {**words["data"], **here["data"]}})
    ]
    assert ids[0] == ids[1] != ids[2] == ids[3]


def test_a_folder_of_a_recipe_comes_before_the_variable(recipe, tmp_path, monkeypatch):
    load_sized(recipe, ["tiny=true"])
    monkeypatch.setenv("CPEFT_DATA", str(tmp_path / "nothing"))
    assert load_tables(TASKS.get("rte"), None, "stores/tiny/world/data").tables["train"].num_rows == 64


@pytest.mark.parametrize("family", SIZES)
def test_a_tiny_model_of_every_family(family, tmp_path):
    write_tiny(family, tmp_path / "one")
    write_tiny(family, tmp_path / "two")
    one, two = (load_lm(tmp_path / name, dtype="float32") for name in ("one", "two"))
    assert one.fingerprint == two.fingerprint
    assert (one.width, one.model.config.model_type) == (32, family)
    text = "naïve <b> 数 a_b"
    assert one.text.decode(one.text.targets([text])[0]) == text


def test_the_family_of_a_model(tmp_path):
    names = {"google/mt5-base": "mt5", "google-t5/t5-base": "t5", "meta-llama/Llama-3.1-8B-Instruct": "llama",
             "deepseek-ai/deepseek-llm-7b-chat": "llama", "mini": "t5"}  # fmt: skip
    assert {name: family_of(name) for name in names} == names
    (tmp_path / "config.json").write_text('{"model_type": "rwkv"}')
    for unknown in ("someone/else", str(tmp_path)):
        with pytest.raises(ConfigError, match="its architecture is none of mt5, t5"):
            family_of(unknown)
