"""The stage that compares: what it writes, when it is made again, what it is refused for, and the commands that meet it."""

import json
import shutil
from itertools import product

import numpy as np
import pytest
import torch
from rich.console import Console
from safetensors.torch import save_file

from cpeft.config import read_toml
from cpeft.doctor import examine
from cpeft.errors import ConfigError, PromptMismatch
from cpeft.prompts.exchange import load_prompt
from cpeft.prompts.similarity import MEASURES, Item, compare
from cpeft.prompts.soft_prompt import matrix_hash
from cpeft.prompts.vectors import TaskVector
from cpeft.store.run_folder import Store
from cpeft.study.recipe.comparison import Comparison
from cpeft.study.recipe.recipe import load_recipe
from cpeft.study.runner.claiming import Claimer
from cpeft.study.runner.plan import Plan
from cpeft.study.runner.worker import run_recipe
from tiny import QUICK, D, P

SOURCES = f'{QUICK}\n[[stage]]\nname = "sources"\ntasks = ["mood.toml", "topic.toml"]\nseeds = [0, 1]\n'
TARGETS = '[[stage]]\nname = "targets"\ntasks = ["rank.toml"]\n'
COMPARE = '[[stage]]\nname = "similarity"\ncompare = ["sources/*@*"]\n'
NAMES = ["mood@0", "mood@1", "topic@0", "topic@1"]


@pytest.fixture
def recipe(world, tmp_path):
    """Writes a recipe beside the tasks and the model, under a name of its own."""

    def write(text=SOURCES + COMPARE):
        path = world / f"{tmp_path.name}.toml"
        path.write_text(text)
        return path

    return write


@pytest.fixture
def store(finished, tmp_path):
    """A copy of the finished study, whose sources are those of `SOURCES`."""
    shutil.copytree(finished.path, tmp_path / "store")
    return Store(tmp_path / "store")


def finish(path, store, *overrides):
    """Run a recipe, and give the folder of its comparison."""
    plan = Plan(load_recipe(path, overrides), store)
    summary = run_recipe(plan, Console(quiet=True))
    assert (summary.done, summary.failures, summary.blocked) == (len(plan.recipe.runs), {}, {})
    [folder] = [plan.references.folder(run).path for run in plan.recipe.runs if isinstance(run, Comparison)]
    return folder


def found_in(folder):
    def never(constant):
        raise AssertionError(f"{constant} is no JSON")

    return json.loads((folder / "similarity.json").read_text(), parse_constant=never)


def card(found, what, rows="live"):
    [one] = [each for each in found["cards"] if (each["what"], each["rows"]) == (what, rows)]
    return one


# What it writes


def test_it_finds_what_the_measures_find(recipe, store):
    folder = finish(recipe(), store)
    assert {path.name for path in folder.iterdir()} == {"config.toml", "similarity.json", "result.json"}
    assert read_toml(folder / "config.toml") == {"compare": ["sources/*@*"]}
    result = json.loads((folder / "result.json").read_text())
    assert (result["stage"], result["tasks"], result["data"], result["compared"]) == ("similarity", [], {}, 4)
    found = found_in(folder)
    assert [(each["what"], each["rows"]) for each in found["cards"]] == [("prompts", "live"), ("vectors", "live")]
    paths = [next(store.path.glob(f"sources/{t}*s{s}-*/prompts/{t}")) for t, s in product(("mood", "topic"), (0, 1))]
    prompts = [load_prompt(path) for path in paths]
    for what, rows in (("prompts", prompts), ("vectors", [TaskVector.of(prompt) for prompt in prompts])):
        expected = compare([Item.of(name, each) for name, each in zip(NAMES, rows, strict=True)])
        one = card(found, what)
        assert [each["name"] for each in one["prompts"]] == NAMES
        for measure in MEASURES:
            np.testing.assert_array_equal(np.array(one["matrices"][measure], float), expected.matrices[measure])
        assert {"what": what, **expected.card()} == {**one, "tasks": tuple(one["tasks"])} | {"tasks": ["mood", "topic"]}
    assert found["compared"][1] == {
        "name": "mood@1", "hash": matrix_hash(prompts[1].weight), "run": "sources/mood.sources.s1", "prompt": "mood", "seed": 1,
    }  # fmt: skip


def test_prompts_stored_with_dead_rows_are_compared_on_them_too(recipe, store, world, tmp_path):
    for seed, name in enumerate(("old", "older")):
        (world / tmp_path.name / name).mkdir(parents=True)
        rows = torch.randn(2 * P, D, generator=torch.Generator().manual_seed(seed))
        save_file({"prompt_embeddings": rows}, world / tmp_path.name / name / "adapter_model.safetensors")
        config = {"peft_type": "PROMPT_TUNING", "task_type": "SEQ_2_SEQ_LM", "num_virtual_tokens": P}
        (world / tmp_path.name / name / "adapter_config.json").write_text(json.dumps(config))
    files = [f"{tmp_path.name}/old", f"{tmp_path.name}/older"]
    found = found_in(
        finish(recipe(SOURCES + COMPARE), store, f"similarity.compare={json.dumps(['sources/*@*', *files])}")
    )
    assert [each["name"] for each in card(found, "prompts")["prompts"]] == [*NAMES, "old", "older"]
    assert [each["name"] for each in card(found, "prompts", "all")["prompts"]] == ["old", "older"]
    assert card(found, "prompts", "all")["prompts"][0]["rows"] == 2 * P
    assert [each["name"] for each in card(found, "vectors")["prompts"]] == NAMES, "a file records no origin"
    assert found["compared"][4].keys() == {"name", "hash"}


def test_prompts_of_one_name_are_called_by_their_runs(recipe, store):
    both = TARGETS.replace("rank", "mood").replace("targets", "again")
    found = found_in(finish(recipe(SOURCES + both + COMPARE.replace("@*", '@0", "again/mood')), store))
    assert [each["name"] for each in found["compared"]] == [
        "sources/mood.sources.s0/mood",
        "topic@0",
        "again/mood.again.s0/mood",
    ]


# When it is made again


def test_a_second_run_does_nothing(recipe, store, cpeft_main):
    path = recipe()
    code, out, _ = cpeft_main("run", path, "--store", store.path)
    assert code == 0
    assert "done similarity/similarity: 4 prompts compared" in out
    before = {path: path.stat().st_mtime_ns for path in store.path.glob("*/*/**/*")}
    code, out, _ = cpeft_main("run", path, "--store", store.path)
    assert code == 0
    assert "done " not in out
    assert {path: path.stat().st_mtime_ns for path in store.path.glob("*/*/**/*")} == before


def test_it_waits_for_its_runs_and_is_made_again_for_new_ones(recipe, store):
    path = recipe()
    first = finish(path, store)
    plan = Plan(load_recipe(path, ["sources.optim.lr=0.06"]), store)
    assert [entry.state for entry in plan.entries()] == ["ready"] * 4 + ["waiting"]
    assert plan.entries()[-1].why == "waits for 4 runs"
    second = finish(path, store, "sources.optim.lr=0.06")
    assert second != first
    assert found_in(second)["cards"] != found_in(first)["cards"]
    assert finish(path, store) == first, "the first is still there"


def test_what_was_killed_half_way_is_made_again(recipe, store):
    folder = finish(recipe(), store)
    found = (folder / "similarity.json").read_text()
    (folder / "result.json").unlink()
    (folder / "similarity.json").write_text("half")
    assert finish(recipe(), store) == folder
    assert (folder / "similarity.json").read_text() == found


def test_one_that_breaks_is_kept_apart_and_tried_again_on_request(recipe, store, cpeft_main, monkeypatch):
    path = recipe(SOURCES + COMPARE + TARGETS)

    def broken(*arguments):
        raise OSError("disk on fire")

    with monkeypatch.context() as patch:
        patch.setattr(Comparison, "similarity", broken)
        code, out, _ = cpeft_main("run", path, "seeds=[0]", "--store", store.path)
    assert code == 1
    assert "failed similarity/similarity: disk on fire" in out
    assert "done targets/rank" in out
    assert cpeft_main("run", path, "seeds=[0]", "--store", store.path, "--retry")[0] == 0


def test_no_gang_holds_one(recipe, store):
    """Ready together with runs that may train together, it is claimed alone, first or later."""
    both = TARGETS + 'seeds = [0, 1]\n[[stage.variant]]\nname = "a"\n'
    for text, expected in ((SOURCES + COMPARE + both, [{4}, {5, 6}]), (SOURCES + both + COMPARE, [{4, 5}, {6}])):
        plan = Plan(load_recipe(recipe(text), ["gang.size=4"]), store)
        assert [entry.state for entry in plan.entries()] == ["done"] * 4 + ["ready"] * 3
        claimed = [Claimer(plan, Console(quiet=True)).claim(plan.entries()) for _ in expected]
        assert [set(claims) for claims in claimed] == expected
        for claims in claimed:
            for claim in claims.values():
                claim.release()


# What it is refused for


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (COMPARE + 'tasks = ["mood.toml"]\n', r"\[stage.1\] no place for 'tasks': a stage with 'compare' trains nothing"),
        (COMPARE + 'method.name = "attempt"\n', "no place for 'method'"),
        ('[[stage]]\nname = "similarity"\ncompare = []\n', "'compare'"),
        (COMPARE.replace("sources/*@*", "targets/*") + TARGETS, "neither a file nor 'stage/task' of an earlier stage"),
        (COMPARE.replace("sources", "sorces"), "did you mean 'sources'"),
        (COMPARE.replace("sources/*@*", "similarity/*"), "of an earlier stage"),
        (COMPARE.replace("sources/*@*", "sources/rank@*"), "trains no such task"),
        (COMPARE.replace("@*", ""), r"names no seed; there are seeds \[0, 1\]: write sources/\*@0, or sources/\*@\* for all"),
        (COMPARE.replace("*@*", "mood@0"), "names fewer than two prompts; 'stage/\\*' is every task"),
        (COMPARE.replace('"sources/*@*"', '"sources/mood@0", "sources/mood@0"'), "names fewer than two prompts"),
        (COMPARE + COMPARE.replace('"similarity"', '"more"').replace("sources", "similarity"), "trains no such task"),
    ],
)  # fmt: skip
def test_refusals(recipe, tmp_path, text, why):
    """Before anything is trained."""
    with pytest.raises(ConfigError, match=why):
        Plan(load_recipe(recipe(SOURCES + text)), Store(tmp_path / "empty")).entries()


def test_an_override_of_all_leaves_it_alone_and_one_of_its_own_is_checked(recipe):
    path = recipe()
    assert load_recipe(path, ["train.steps=2", "seeds=[0]"]).runs[-1].saved() == {"compare": ["sources/*@*"]}
    with pytest.raises(ConfigError, match="unknown key 'seeds'"):
        load_recipe(path, ["similarity.seeds=[0]"])


def test_prompts_that_cannot_be_compared_stop_the_command(recipe, store):
    text = SOURCES + TARGETS + "prompt.length = 6\n" + COMPARE.replace("@*", '@*", "targets/rank')
    with pytest.raises(PromptMismatch, match=r"'mood@0' and 'rank@0' cannot be compared: .* different lengths"):
        run_recipe(Plan(load_recipe(recipe(text)), store), Console(quiet=True))
    assert not (store.path / "similarity").exists() or not any((store.path / "similarity").iterdir())


# Who else meets it


def test_commands(world, recipe, store, cpeft_main, tmp_path, monkeypatch):
    monkeypatch.chdir(world)
    path = recipe()
    finish(path, store)
    planned = json.loads(cpeft_main("plan", path, "--store", store.path, "--json")[1])
    assert planned["runs"][-1]["stage"] == planned["runs"][-1]["run"] == "similarity"
    assert planned["done"] == 5
    assert cpeft_main("fetch", path, "--out", tmp_path / "offline")[0] == 0
    assert not [finding for finding in examine([str(path)]) if finding.level == "error"]
    prompts = json.loads(cpeft_main("list", "prompts", "--store", store.path, "--json")[1])
    assert len(prompts) == 16
    assert cpeft_main("report", store.path)[0] == 0
    html = (store.path / "report.html").read_text()
    assert "1 comparison of prompts" in html
    assert 'id="similarity"' in html


def test_every_seed_is_a_source_where_several_are_wanted(recipe, store):
    mixed = TARGETS + 'sources = ["sources/*@*"]\nmethod = { name = "attempt", temperature = "auto", bottleneck = 8 }\n'
    plan = Plan(load_recipe(recipe(SOURCES + mixed)), store)
    assert run_recipe(plan, Console(quiet=True)).done == 5
    assert plan.entries()[-1].folder.result().sources == tuple(NAMES)
    with pytest.raises(
        PromptMismatch, match=r"'sources/mood@\*' names 2 prompts \(mood@0, mood@1\); exactly one is needed"
    ):
        run_recipe(
            Plan(load_recipe(recipe(SOURCES + TARGETS + 'prompt.init = "sources/mood@*"')), store), Console(quiet=True)
        )
