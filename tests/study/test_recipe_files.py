"""Recipes as differences from others, and what they say briefly: a default again, keys that go together, fewer seeds."""

import pytest

from cpeft.config import expand_grid, without_defaults
from cpeft.errors import ConfigError, UnknownName
from cpeft.study.recipe.files import packaged_recipes, read_recipe
from cpeft.study.recipe.recipe import load_recipe

BASE = """name = "base"
about = "what both do"
[model]
name = "tiny"
[optim]
lr = 0.3
clip = 1.0
[train]
steps = 5
[[stage]]
name = "sources"
tasks = ["sst2", "rte"]
seeds = [0, 1, 2]
optim.warmup = 0.0
[stage.task.rte]
train.steps = 9
[[stage]]
name = "targets"
tasks = ["cb"]
seeds = [0, 1, 2]
[stage.grid]
"data.few_shot" = [4, 8]
[[stage.variant]]
name = "vocabulary"
[[stage.variant]]
name = "SPoT"
prompt.init = "sources/rte"
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "base.toml").write_text(BASE)
    return tmp_path


def loaded(folder, text, *overrides):
    path = folder / "own.toml"
    path.write_text(text)
    return load_recipe(path, overrides)


def runs_of(recipe, stage):
    return {run.name: run.settings for run in recipe.runs if run.stage == stage}


def test_a_recipe_is_another_one_and_its_differences(folder):
    text = """extends = "base.toml"
    [optim]
    lr = 0.1
    [[stage]]
    name = "sources"
    optim.weight_decay = 0.5
    [stage.task.rte]
    train.batch = 2
    [[stage]]
    name = "more"
    tasks = ["wic"]
    """
    recipe = loaded(folder, text)
    assert (recipe.name, recipe.about) == ("own", "what both do"), "a store of its own"
    assert list(dict.fromkeys(run.stage for run in recipe.runs)) == ["sources", "targets", "more"]
    sources = runs_of(recipe, "sources")
    assert len(sources) == 6
    optim = sources["rte.sources.s2"].optim
    assert (optim.lr, optim.clip, optim.warmup, optim.weight_decay) == (0.1, 1.0, 0.0, 0.5)
    train = sources["rte.sources.s2"].train
    assert (train.steps, train.batch, sources["sst2.sources.s0"].train.steps) == (9, 2, 5)
    assert len(runs_of(recipe, "targets")) == 12


def test_variants_meet_by_name_and_a_grid_replaces_a_grid(folder):
    text = """extends = "base.toml"
    [[stage]]
    name = "targets"
    [stage.grid]
    "data.labels" = ["numbers"]
    [[stage.variant]]
    name = "SPoT"
    optim.lr = 0.01
    [[stage.variant]]
    name = "ATTEMPT"
    """
    recipe = loaded(folder, text, "seeds=[1]")
    found = {run.label: run.settings for run in recipe.runs if run.stage == "targets"}
    assert list(found) == [f"{name} labels=numbers" for name in ("vocabulary", "SPoT", "ATTEMPT")]
    spot = found["SPoT labels=numbers"]
    assert (spot.optim.lr, str(spot.prompt.init), spot.data.few_shot) == (0.01, "sources/rte", "full")
    assert found["ATTEMPT labels=numbers"].optim.lr == 0.3


def test_what_a_task_needs_goes_with_it(folder):
    text = 'extends = "base.toml"\n[[stage]]\nname = "sources"\ntasks = ["sst2", "wic"]\ntask.wic.train.steps = 7\n'
    steps = {name: own.train.steps for name, own in runs_of(loaded(folder, text), "sources").items()}
    assert steps == {f"{task}.sources.s{seed}": n for task, n in (("sst2", 5), ("wic", 7)) for seed in (0, 1, 2)}
    with pytest.raises(ConfigError, match=r"\[stage.task.rte\] is no task of stage 'sources'"):
        loaded(folder, text.replace("task.wic", "task.rte"))


def test_default_is_ours_wherever_it_is_said(folder):
    text = """extends = "base.toml"
    [optim]
    clip = "default"
    [[stage]]
    name = "sources"
    train = { steps = "default", epochs = 2 }
    task.rte.train.steps = "default"
    """
    recipe = loaded(folder, text, "sources.optim.lr=default")
    [sst2, *_] = runs_of(recipe, "sources").values()
    assert (sst2.optim.clip, sst2.optim.lr, sst2.train.steps, sst2.train.epochs) == (None, None, None, 2)
    [target, *_] = runs_of(recipe, "targets").values()
    assert (target.optim.clip, target.optim.lr, target.train.steps) == (None, 0.3, 5)
    table = {"a": {"b": "default", "c": {"d": "default"}}, "e": ["default"]}
    assert without_defaults(table) == {"a": {"c": {}}, "e": ["default"]}


def test_a_recipe_extends_one_that_extends_another(folder):
    (folder / "middle.toml").write_text('extends = "base.toml"\nname = "middle"\n[optim]\nlr = 0.2\nclip = 2.0\n')
    recipe = loaded(folder, 'extends = "middle.toml"\n[optim]\nlr = 0.1\n')
    optim = recipe.training[0].settings.optim
    assert (optim.lr, optim.clip) == (0.1, 2.0)
    _, files = read_recipe(folder / "own.toml")
    assert [file.name for file in files] == ["own.toml", "middle.toml", "base.toml"]


def test_packaged_recipes_extend_and_are_extended(folder):
    assert "paper/tpv-deepseek-corrected" in packaged_recipes(), "a recipe without a stage of its own"
    recipe = loaded(folder, 'extends = "paper/tpv-deepseek-corrected"\n[model]\nname = "mine"\n')
    assert {run.settings.model.name for run in recipe.training} == {"mine"}
    assert recipe.training[0].base == folder


WRONG = {  # name: (text, error, what is said)
    "nothing to extend": ('extends = "paper/tpv-t6"\n', UnknownName, r"own.toml:1: .*'paper/tpv-t6', did you mean"),
    "no name": ("extends = 3\n", ConfigError, r"own.toml:1: 'extends' = 3: give one recipe"),
    "itself": ('extends = "own.toml"\n', ConfigError, r"own.toml: extends itself, by way of own.toml"),
    "a stage that is not there": (
        'extends = "base.toml"\n[[stage]]\nname = "source"\n', ConfigError,
        r"own.toml: stage 'source' has no tasks, and .*base.toml has no such stage, did you mean 'sources'\?",
    ),
    "two of one name": (
        'extends = "base.toml"\n[[stage]]\nname = "targets"\n[[stage]]\nname = "targets"\n', ConfigError,
        r"own.toml: two stages are called 'targets'",
    ),
    "single brackets": ('extends = "base.toml"\n[stage]\nname = "targets"\n', ConfigError, r"own.toml: .*double brackets"),
    "a key of its own": (
        'extends = "base.toml"\n[[stage]]\nname = "targets"\noptimm.lr = 1\n', ConfigError,
        r"own.toml:4: \[stage.targets\] unknown key 'optimm', did you mean 'optim'",
    ),
    "a value of its own": ('extends = "base.toml"\n[optim]\nclip = "much"\n', ConfigError, r"own.toml:3: \[optim\] 'clip'"),
    "an unknown seed": (
        'extends = "base.toml"\n[[stage]]\nname = "sources"\n[stage.task.rte]\nseeds = [7]\n', ConfigError,
        r"seed 7 is not among the seeds \[0, 1, 2\] of stage 'sources'",
    ),
}  # fmt: skip


@pytest.mark.parametrize("mistake", WRONG)
def test_mistakes(folder, mistake):
    text, error, said = WRONG[mistake]
    with pytest.raises(error, match=said):
        loaded(folder, text)


def test_mistakes_of_the_other_recipe_name_its_file(folder):
    (folder / "base.toml").write_text(BASE.replace("lr = 0.3", 'lr = "fast"'))
    with pytest.raises(ConfigError, match=r"base.toml:6: \[optim\] 'lr' = 'fast'"):
        loaded(folder, 'extends = "base.toml"\n')
    (folder / "base.toml").write_text(BASE.replace("clip", "klip"))
    with pytest.raises(ConfigError, match=r"base.toml:7: \[optim\] unknown key 'klip', did you mean 'clip'"):
        loaded(folder, 'extends = "base.toml"\n')
    (folder / "other.toml").write_text('extends = "own.toml"\n')
    with pytest.raises(ConfigError, match=r"own.toml: extends itself, by way of own.toml, other.toml"):
        loaded(folder, 'extends = "other.toml"\n')


def test_keys_of_a_grid_go_together(folder):
    cells = list(expand_grid({"a.b, c": [[1, 2], [3, 4]], "d": [5, 6]}))
    assert cells == [{"a": {"b": b}, "c": c, "d": d} for b, c in ((1, 2), (3, 4)) for d in (5, 6)]
    for value in (3, [3], [1, 2, 3]):
        with pytest.raises(ConfigError, match="expected a list of 2 values for keys 'a, b'"):
            list(expand_grid({"a, b": [value]}))
    text = BASE.replace('"data.few_shot" = [4, 8]', '"data.few_shot, train.batch" = [[4, 2], [8, "default"]]')
    recipe = loaded(folder, text)
    found = {run.label: run.settings.train.batch for run in recipe.runs if run.stage == "targets"}
    assert found["SPoT few_shot=4"] == 2
    assert found["SPoT few_shot=8"] == 32


def test_a_variant_and_a_task_keep_to_fewer_seeds(folder):
    text = BASE.replace("train.steps = 9", "seeds = [0, 2]") + "seeds = [1]\n"
    recipe = loaded(folder, text.replace("[model]", "[seeds]\nsubset = 42\n[model]"))
    names = [run.name for run in recipe.runs]
    assert [name for name in names if name.startswith("rte")] == ["rte.sources.s0", "rte.sources.s2"]
    assert [name for name in names if "SPoT" in name] == [f"cb.SPoT few_shot={k}.s1" for k in (4, 8)]
    assert {run.settings.seeds.subset for run in recipe.runs} == {42}, "a list chooses runs and hides no setting"
    fewer = load_recipe(folder / "own.toml", ["seeds=[0]"])
    assert len(fewer.runs) == 2 + 2, "no run of SPoT is left"
