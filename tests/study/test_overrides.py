"""Overrides: a mistake on the command line is told of the override, one in the recipe of its file and line."""

import pytest

from cpeft.errors import ConfigError
from cpeft.study.launchers import launcher_options
from cpeft.study.recipe.recipe import load_recipe
from tiny import QUICK

STAGES = '[[stage]]\nname = "sources"\ntasks = ["mood.toml"]\n[[stage]]\nname = "targets"\ntasks = ["rank.toml"]\n'
RECIPE = f'name = "r"\n{QUICK}{STAGES}'


@pytest.fixture
def said(world, tmp_path):
    """What reading a recipe under overrides comes to."""

    def call(text, *overrides):
        for task in ("mood", "rank"):
            (tmp_path / f"{task}.toml").write_text((world / f"{task}.toml").read_text())
        (tmp_path / "r.toml").write_text(text)
        with pytest.raises(ConfigError) as caught:
            launcher_options(load_recipe(tmp_path / "r.toml", overrides))
        return str(caught.value)

    return call


@pytest.mark.parametrize(("override", "what"), {
    "train.steps=many": "[train] 'steps' = 'many': must be a whole number",
    "train.steps=[1,": "[train] 'steps' = '[1,': must be a whole number",
    "train.steps=-1": "[train] 'steps' = -1: must be 0 or more",
    "train=3": "'train' = 3: must be a table",
    "train.stpes=5": "[train] unknown key 'stpes', did you mean 'steps'?",
    "trian.steps=5": "unknown key 'trian', did you mean 'train'?",
    "targets.optim.lr=-1": "[optim] 'lr' = -1: must be above 0",
    "targets.optim.lrr=1": "[optim] unknown key 'lrr', did you mean 'lr'?",
    "target.optim.lr=1": "unknown key 'target', did you mean 'targets'?",
    "targets=3": "'targets' is a stage; set its settings one by one, as in targets.train.steps=100",
    f"train.steps={'[' * 3000}": "[train] 'steps' = '[[[",
    f"train.steps={'9' * 5000}": "[train] 'steps' = '999",
    "method.name=atempt": "unknown method 'atempt', did you mean 'attempt'?",
    "tasks=mnlii": "unknown task 'mnlii', did you mean 'mnli'?",
    "tasks=nothing.toml": "",
    "seeds=[-1]": "[stage.sources] 'seeds' = -1: must be 0 or more",
    "data.few_shot=0": "[data] few_shot = 0 leaves no rows to train on",
    "train.epochs=1": "[train] give either steps or epochs",
    "launcher.slurm.wrkers=2": "[launcher.slurm] unknown key 'wrkers', did you mean 'workers'?",
}.items())  # fmt: skip
def test_a_mistake_on_the_command_line(said, override, what):
    for others in ([], ["optim.lr=0.1", "sources.prompt.length=5"]):
        told = said(RECIPE, *others, override)
        assert told.startswith(f"the setting {override} on the command line: {what}")


MISTAKES = {
    "wrong key": (RECIPE.replace("batch = 4", "btach = 4"), "r.toml:13: [train] unknown key 'btach'"),
    "wrong type": (RECIPE.replace("batch = 4", 'batch = "four"'), "r.toml:13: [train] 'batch' = 'four'"),
    "wrong stage": (RECIPE + "optm.lr = 3\n", "[stage.targets] unknown key 'optm'"),
    "wrong task": (RECIPE.replace("rank.toml", "mnlii"), "unknown task 'mnlii'"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_in_the_recipe_beside_innocent_overrides(said, mistake):
    text, what = MISTAKES[mistake]
    told = said(text, "optim.lr=0.1", "train.steps=2", "sources.prompt.length=5")
    assert told == said(text)
    assert what in told


def test_an_override_that_mends_one_mistake_is_not_blamed_for_another(said):
    text = RECIPE.replace("batch = 4", "btach = 4").replace("steps = 6", "steps = -6")
    assert "r.toml:13: [train] unknown key 'btach'" in said(text, "train.steps=6")
    text = RECIPE.replace("batch = 4", "btach = 4").replace('[model]\nname = "model"\ndtype = "float32"\n', "")
    assert "unknown key 'btach'" in (told := said(text, "model.name=model"))
    assert "command line" not in told


def test_mistakes_of_several_overrides(said):
    told = said(RECIPE, "train.steps=-1", "optim.lr=-1")
    assert told == "the setting optim.lr=-1 on the command line: [optim] 'lr' = -1: must be above 0.0"
    text = RECIPE.replace("steps = 6\n", "steps = 0\n")
    told = said(text, "train.steps=5", "optim.lr=0.1", "data.few_shot=0")
    assert told.startswith(
        "the settings train.steps=5 and data.few_shot=0 on the command line: [data] few_shot = 0 leaves"
    )
    told = said(RECIPE, "train.steps=-1", "train.steps=-1")
    assert told.startswith("the settings train.steps=-1 and train.steps=-1 on the command line: ")


def test_one_that_is_none(said):
    assert said(RECIPE, "train.steps") == "override 'train.steps' is not of the form key=value"
