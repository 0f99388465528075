"""Controls that a recipe can name: the prompt of another task, and runs that train on nothing."""

import pytest
import torch
from rich.console import Console

from cpeft.errors import ConfigError
from cpeft.prompts.exchange import load_prompt
from cpeft.prompts.formula.template import fill_in
from cpeft.report.page import write_report
from cpeft.store.run_folder import Store
from cpeft.study.recipe.recipe import load_recipe
from cpeft.study.runner.plan import Plan
from cpeft.study.runner.worker import run_recipe
from tiny import QUICK

WRONG = f"""{QUICK}
[[stage]]
name = "tuned"
tasks = ["mood.toml", "topic.toml", "rank.toml"]
seeds = [0, 1]
[[stage]]
name = "controls"
tasks = ["mood.toml", "topic.toml", "rank.toml"]
seeds = [0, 1]
train.steps = 0
[[stage.variant]]
name = "own prompt"
prompt.init = "tuned/{{task}}"
[[stage.variant]]
name = "wrong prompt"
prompt.init = "tuned/{{other}}"
"""


def recipe_of(world, tmp_path, text):
    path = world / f"{tmp_path.name}.toml"
    path.write_text(text)
    return path


def test_the_next_other_task_of_the_stage():
    every = ("a", "b", "c", "d")
    for tasks, other in {
        ("a",): "b",
        ("b",): "c",
        ("d",): "a",
        ("a", "b"): "c",
        ("a", "d"): "b",
        ("c", "d"): "a",
    }.items():
        assert fill_in("s/{other}", tasks, {}, every) == f"s/{other}"
    assert fill_in("vocab + v(s/{other}) + sum(v(s/{task}), ...)", ("a", "b"), {}, every) == (
        "vocab + v(s/c) + sum(v(s/a), v(s/b))"
    )
    for tasks in (("a",), ("a", "b")):
        with pytest.raises(ConfigError, match=r"\{other\} is another task of the stage, which has no task but a"):
            fill_in("s/{other}", tasks, {}, tasks)


def test_the_wrong_prompt_of_every_task_of_a_stage(world, tmp_path):
    plan = Plan(load_recipe(recipe_of(world, tmp_path, WRONG)), Store(tmp_path / "store"))
    assert run_recipe(plan, Console(quiet=True)).failures == {}
    entries = {(e.run.stage, e.run.label, e.run.tasks[0], e.run.seed): e.folder for e in plan.entries()}
    for seed in (0, 1):
        for task, other in {"mood": "topic", "topic": "rank", "rank": "mood"}.items():
            wrong, own = (entries["controls", f"{which} prompt", task, seed] for which in ("wrong", "own"))
            trained = entries["tuned", "tuned", other, seed]
            assert wrong.result().steps == 0
            assert torch.equal(
                load_prompt(wrong.path / "prompts" / task).weight, load_prompt(trained.path / "prompts" / other).weight
            )
            same = entries["tuned", "tuned", task, seed].result().scores[task]["accuracy"].value
            assert own.result().scores[task]["accuracy"].value == same
    page = write_report(plan.store.path).read_text()
    assert "wrong prompt" in page


def test_a_command_that_chooses_tasks_does_not_change_the_wrong_prompt(world, tmp_path):
    path = recipe_of(world, tmp_path, WRONG)
    runs = {str(run): run for run in load_recipe(path).training}
    chosen = load_recipe(path, ['controls.tasks=["mood.toml"]']).training
    assert {str(run) for run in chosen if run.stage == "controls"} < set(runs)
    assert all(run.settings == runs[str(run)].settings for run in chosen)
    alone = WRONG.replace(
        'tasks = ["mood.toml", "topic.toml", "rank.toml"]\nseeds = [0, 1]\ntrain', 'tasks = ["mood.toml"]\ntrain'
    )
    with pytest.raises(ConfigError, match="has no task but mood"):
        load_recipe(recipe_of(world, tmp_path, alone))


# Nothing to train on

STAGE = f'{QUICK}\n[[stage]]\nname = "s"\ntasks = ["mood.toml"]\n[[stage.variant]]\nname = "tuned"\n'


@pytest.mark.parametrize(
    ("setting", "named"),
    [("", "train.steps = 6"), ('train.epochs = 2\ntrain.steps = "default"\n', "train.epochs = 2.0")],
)
def test_steps_on_no_rows_are_an_error(setting, named, world, tmp_path, cpeft_main):
    path = recipe_of(world, tmp_path, f"{STAGE}{setting}data.few_shot = 0\n")
    for command in ("run", "plan"):
        code, out, error = cpeft_main(command, path, "--store", tmp_path / "store")
        assert (code, out) == (2, "")
        wanted = (
            f"few_shot = 0 leaves no rows to train on, and {named}: set train.steps = 0 to score the initial prompt"
        )
        assert wanted in error.replace("\n", " ")
        assert f"{path.name}:" in error
    assert not (tmp_path / "store").exists()


def test_no_shots_and_no_steps_score_the_prompt_as_it_starts(world, tmp_path):
    more = "train.steps = 0\ndata.few_shot = 0\n"
    more += '[[stage.variant]]\nname = "none"\nmethod.name = "no_prompt"\ndata.few_shot = 0\n'
    plan = Plan(load_recipe(recipe_of(world, tmp_path, STAGE + more)), Store(tmp_path / "store"))
    assert run_recipe(plan, Console(quiet=True)).failures == {}
    tuned, none = (entry.folder for entry in plan.entries())
    prompt = load_prompt(tuned.path / "prompts" / "mood")
    assert torch.equal(prompt.weight, prompt.origin)
    for folder in (tuned, none):
        result = folder.result()
        assert (result.steps, result.data["mood"].rows["train"]) == (0, 0)
    assert tuned.result().validation is not None
