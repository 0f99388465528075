"""A recipe of two stages from the file to its run folders: what they hold, what their ids depend on, what runs again."""

import json
import re
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from rich.console import Console

from cpeft.config import read_toml
from cpeft.data.options import DataOptions
from cpeft.errors import ConfigError, PromptError
from cpeft.evaluation.task_data import task_data
from cpeft.models.loading import load_lm
from cpeft.prompts.exchange import load_prompt
from cpeft.store.run_folder import Store
from cpeft.study.recipe.recipe import load_recipe
from cpeft.study.recipe.settings import parse_settings
from cpeft.study.runner.plan import Plan
from cpeft.study.runner.worker import run_recipe
from tiny import QUICK


def plan_of(world, store, *overrides):
    return Plan(load_recipe(world / "study.toml", overrides), store)


def run_named(store, name):
    [found] = [run for run in store.runs() if run.path.name.startswith(name + "-")]
    return found


def write_recipe(world, tmp_path, text):
    """A recipe beside the tasks and the model, under a name of its own."""
    path = world / f"{tmp_path.name}.toml"
    path.write_text(text)
    return path


SMALL = f"""{QUICK}
[[stage]]
name = "sources"
tasks = ["mood.toml", "topic.toml"]
[[stage]]
name = "targets"
tasks = ["rank.toml"]
[[stage.variant]]
name = "spot"
prompt.init = "sources/mood"
[[stage.variant]]
name = "vocab"
"""


# What a run leaves


def test_every_run_leaves_everything(world, finished):
    plan = plan_of(world, finished)
    assert len(list(finished.runs())) == len(plan.entries()) == 16
    for entry in plan.entries():
        folder = entry.folder.path
        assert entry.state == "done"
        left = {"config.toml", "metrics.jsonl", "predictions.parquet", "method", "prompts", "checkpoint", "result.json"}
        assert {path.name for path in folder.iterdir()} == left
        result = entry.folder.result()
        assert result.steps == 6
        assert result.best_step in (3, 6)
        assert result.seed == entry.run.settings.seed
        assert result.model.dtype == "float32"
        assert set(result.scores[result.tasks[0]]) == {"accuracy", "macro_f1"}
        assert result.versions["torch"]
        assert result.seconds.training > 0
        assert tuple(path.name for path in (folder / "prompts").iterdir()) == result.prompts == result.tasks


def test_the_result_counts_rows_and_weights(finished):
    few, full = (run_named(finished, f"rank.vocab_few_shot={k}.s0").result() for k in (3, "full"))
    assert few.data["rank"].rows["train"] == 6
    assert few.data["rank"].rows["train"] < full.data["rank"].rows["train"] <= 12
    assert few.trainable == 4 * 32
    attempt = run_named(finished, "rank.attempt_few_shot=full.s1").result()
    assert attempt.trainable == 4 * 32 + 2 * 8 * 32 + 2 * 32  # prompt, down and up, LayerNorm
    assert attempt.sources == ("mood", "topic")


def test_config_reads_back_to_the_same_settings_and_folder(world, finished):
    plan = plan_of(world, finished)
    for entry in plan.entries():
        settings = parse_settings(read_toml(entry.folder.path / "config.toml"))
        assert settings == entry.run.settings


def test_predictions_are_the_scored_ones(world, finished):
    lm = load_lm(world / "model", dtype="float32")
    for run in finished.runs():
        result = run.result()
        [task] = result.tasks
        table = pq.read_table(run.path / "predictions.parquet")
        rows = table.to_pylist()
        part = task_data(f"{task}.toml", world, DataOptions(), 0, lm).parts["test"]
        assert [row["source"] for row in rows] == [example.source for example in part.examples]
        assert [tuple(row["references"]) for row in rows] == [example.references for example in part.examples]
        right = np.mean([row["prediction"] in row["references"] for row in rows]) * 100
        assert result.scores[task]["accuracy"].value == pytest.approx(right)
        labels = result.data[task].labels
        assert [row["in_label_set"] for row in rows] == [row["prediction"] in labels for row in rows]
        attends = [row["attention"] for row in rows]
        if result.method == "attempt":
            assert table.schema.metadata[b"attention"].split(b"\t")[:2] == [b"mood", b"topic"]
            assert np.shape(attends) == (len(rows), 3)
            assert np.allclose(np.sum(attends, 1), 1, atol=1e-5)
            assert np.std(attends, 0).max() > 1e-3  # per input
        else:
            assert attends == [[]] * len(rows)
    assert len({row["prediction"] for row in rows}) > 1


@pytest.mark.parametrize("name", ["rank.attempt_few_shot=full.s1", "rank.spot_few_shot=3.s0", "topic.sources.s1"])
def test_a_run_folder_answers_as_it_did(world, finished, cpeft_main, monkeypatch, tmp_path, name):
    monkeypatch.chdir(world)
    run = run_named(finished, name)
    task = run.result().tasks[0]
    code, out, _ = cpeft_main("eval", run.path, "--task", f"{task}.toml", "--json")
    assert code == 0
    kept = run.result().scores[task]
    assert {m: s["value"] for m, s in json.loads(out).items()} == {m: s.value for m, s in kept.items()}
    rows = pq.read_table(run.path / "predictions.parquet").to_pylist()
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps({"text": row["source"]}) + "\n" for row in rows))
    files = ("--input", tmp_path / "rows.jsonl", "--out", tmp_path / "out.jsonl")
    assert cpeft_main("predict", run.path, "--task", f"{task}.toml", *files)[0] == 0
    said = [json.loads(line)["prediction"] for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert said == [row["prediction"] for row in rows]


def test_prompts_load_in_peft(finished):
    peft = pytest.importorskip("peft")
    from safetensors.torch import load_file

    folder = run_named(finished, "mood.sources.s1").path / "prompts" / "mood"
    config = peft.PeftConfig.from_pretrained(folder)
    assert (config.num_virtual_tokens, config.token_dim, config.num_transformer_submodules) == (4, 32, 1)
    lm = load_lm(config.base_model_name_or_path, dtype="float32")
    model = peft.PeftModel.from_pretrained(lm.model, folder)
    prompt = load_prompt(folder)
    assert torch.equal(model.prompt_encoder["default"].embedding.weight, prompt.weight)
    assert torch.equal(load_file(folder / "adapter_model.safetensors")["prompt_embeddings"], prompt.weight)
    assert prompt.provenance.embedding == lm.fingerprint
    assert prompt.provenance.run == "sources/mood.sources.s1"
    assert not torch.equal(prompt.weight, prompt.origin)


def test_spot_starts_from_the_source_of_its_own_seed(finished):
    for seed in (0, 1):
        source = load_prompt(run_named(finished, f"mood.sources.s{seed}").path / "prompts" / "mood")
        target = load_prompt(run_named(finished, f"rank.spot_few_shot=full.s{seed}").path / "prompts" / "rank")
        assert torch.equal(target.origin, source.weight)
        assert target.provenance.init == "sources/mood"


def test_metrics_hold_every_step_once(finished):
    for run in finished.runs():
        records = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
        evals = [record for record in records if "headline" in record]
        assert [record["step"] for record in records if "loss" in record] == [1, 2, 3, 4, 5, 6]
        assert [record["step"] for record in evals] == [3, 6]
        best = max(evals, key=lambda record: record["headline"])
        assert run.result().best_step == best["step"]
        assert run.result().validation == best["headline"]


# What runs again


def test_a_second_run_does_nothing(world, tmp_path, cpeft_main):
    recipe = write_recipe(world, tmp_path, SMALL)
    code, out, _ = cpeft_main("run", recipe, "--store", tmp_path / "store")
    assert code == 0
    assert out.count("done ") == 4
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "store").glob("*/*/**/*")}
    table = (tmp_path / "store" / "table.md").read_text()
    code, out, _ = cpeft_main("run", recipe, "--store", tmp_path / "store")
    assert code == 0
    assert "done " not in out
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "store").glob("*/*/**/*")} == before
    assert (tmp_path / "store" / "table.md").read_text() == table
    head, rule, *lines = table.splitlines()
    assert head.startswith("| task | stage | method | metric | dtype | mean | sd | 95% interval |")
    assert set(rule) == {"|", "-", ":"}
    rows = [line for line in lines if line.startswith("| rank |")]
    told = [(row.split(" | ")[2], row.split(" | ")[3]) for row in rows]
    assert [method for method, metric in told if metric == "accuracy"] == ["majority class", "spot", "vocab"]
    rows = [row for row, (_, metric) in zip(rows, told, strict=True) if metric == "accuracy"]
    score = Store(tmp_path / "store").results()[-1].scores["rank"]["accuracy"].value
    assert f"| {score:.2f} |" in rows[-1]


def ids(plan):
    return {f"{e.run.stage}/{e.run.name}": e.folder and e.folder.path.name for e in plan.entries()}


@pytest.mark.parametrize(
    "neutral",
    ["gang.size=4", "gang.pool=all", "gang.token_budget=99", "eval.token_budget=99", "optim.weight_decay=1e-5",
     "data.prefix=task", "train.base_dropout=off", "source.rows=all"],
)  # fmt: skip
def test_defaults_and_the_gang_change_no_id(world, finished, neutral):
    assert ids(plan_of(world, finished, neutral)) == ids(plan_of(world, finished))


@pytest.mark.parametrize(
    "change", ["optim.lr=0.06", "train.steps=7", "seeds.order=3", "data.prefix=none", "prompt.length=5"]
)
def test_settings_change_every_id(world, finished, change):
    entries = plan_of(world, finished, change).entries()
    assert {entry.state for entry in entries[:4]} == {"ready"}
    assert not {entry.folder.path for entry in entries if entry.folder} & {run.path for run in finished.runs()}


def test_new_sources_make_new_targets(world, finished, tmp_path):
    store = Store(tmp_path / "store")
    shutil.copytree(finished.path, store.path)
    before = ids(plan_of(world, store))
    plan = plan_of(world, store, "sources.optim.lr=0.06")
    states = {entry.run.label.split()[0]: entry.state for entry in plan.entries()}
    assert states == {"sources": "ready", "vocab": "done", "spot": "waiting", "attempt": "waiting"}
    run_recipe(plan, Console(quiet=True))
    after = ids(plan_of(world, store, "sources.optim.lr=0.06"))
    same = {name for name in before if before[name] == after[name]}
    assert same == {name for name in before if ".vocab" in name}
    assert len(list(store.runs())) == 16 + 4 + 8


def test_rows_of_a_task_are_part_of_the_id(world, tmp_path):
    copy = tmp_path / "world"
    shutil.copytree(world, copy)
    store = Store(tmp_path / "store")
    before = ids(plan_of(copy, store))
    moved = tmp_path / "again"
    shutil.copytree(world, moved)
    assert ids(plan_of(moved, store)) == before  # where the files lie does not matter
    with (moved / "mood-test.csv").open("a") as file:
        file.write("w1 w2,1\n")
    recipe = load_recipe(moved / "study.toml")
    from cpeft.evaluation import task_data as module

    module.dataset_of.cache_clear()
    after = ids(Plan(recipe, store))
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {name for name in before if name.startswith("sources/mood")}


# Recipes as written


def test_labels_and_names(world):
    runs = load_recipe(world / "study.toml").runs
    assert runs[4].label == "vocab few_shot=3"
    assert runs[4].name == "rank.vocab few_shot=3.s0"
    assert len({(run.stage, run.name) for run in runs}) == len(runs) == 16
    only = load_recipe(world / "study.toml", ["seeds=[7]", "targets.tasks=mood.toml"]).runs
    assert {run.settings.seed for run in only} == {7}
    assert {run.tasks for run in only if run.stage == "targets"} == {("mood",)}


def test_test_rows_are_read_once_for_runs_on_any_number_of_rows(world):
    """And for all seeds; training rows that no seed draws too."""
    lm = load_lm(world / "model")
    made = {
        (k, seed): task_data("mood.toml", world, DataOptions(few_shot=k, limit_validation=4), seed, lm)
        for k in (2, 3, "full") for seed in (0, 1)
    }  # fmt: skip
    first = made[2, 0]
    assert all(each.parts[split] is first.parts[split] for each in made.values() for split in ("validation", "test"))
    assert made["full", 0].parts["train"] is made["full", 1].parts["train"]
    assert made[2, 0].parts["train"].rows != made[2, 1].parts["train"].rows
    assert len(made[3, 0].parts["train"].rows) > len(made[2, 0].parts["train"].rows)


def test_what_one_task_needs(world, tmp_path):
    first, rest = SMALL.split('[[stage]]\nname = "targets"')
    special = first + '[stage.task."mood.toml"]\ntrain.steps = 9\n[[stage]]\nname = "targets"' + rest
    recipe = write_recipe(world, tmp_path, special)
    assert [run.settings.train.steps for run in load_recipe(recipe).runs] == [9, 6, 6, 6]
    assert [run.settings.train.steps for run in load_recipe(recipe, ["train.steps=2"]).runs] == [2, 2, 2, 2]


def test_one_run_of_several_tasks(world, tmp_path, cpeft_main, monkeypatch):
    """Shared attention with a prompt per task: the folder answers each task with that task's own prompt."""
    together = (
        SMALL.split('[[stage]]\nname = "targets"')[0]
        + """[[stage]]
name = "shared"
tasks = ["rank.toml", "topic.toml"]
together = "yes"
sources = ["sources/*"]
method = { name = "attempt", temperature = "auto", bottleneck = 8, targets = "per_task" }
optim.lr = 1.0
"""
    )
    recipe = write_recipe(world, tmp_path, together)
    assert cpeft_main("run", recipe, "--store", tmp_path / "store")[0] == 0
    [run] = [run for run in Store(tmp_path / "store").runs() if run.path.parent.name == "shared"]
    assert run.path.name.startswith("rank+topic.shared.s0")
    assert run.result().prompts == ("rank", "topic")
    table = pq.read_table(run.path / "predictions.parquet").to_pylist()
    monkeypatch.chdir(world)
    for task in ("rank", "topic"):
        said = [row["prediction"] for row in table if row["task"] == task]
        scores = json.loads(cpeft_main("eval", run.path, "--task", f"{task}.toml", "--json")[1])
        assert scores["accuracy"]["value"] == run.result().scores[task]["accuracy"].value
        sources = [row["source"] for row in table if row["task"] == task]
        (tmp_path / "rows.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in sources))
        files = ("--input", tmp_path / "rows.jsonl", "--out", tmp_path / "out.jsonl")
        cpeft_main("predict", run.path, "--task", f"{task}.toml", *files)
        assert [json.loads(x)["prediction"] for x in (tmp_path / "out.jsonl").read_text().splitlines()] == said


def test_a_gang_makes_the_same_prompts(world, finished, tmp_path):
    store = Store(tmp_path / "store")
    run_recipe(plan_of(world, store, "gang.size=4", "gang.pool=member"), Console(quiet=True))
    for run in finished.runs():
        twin = store.path / run.path.relative_to(finished.path)
        task = run.result().tasks[0]
        assert torch.equal(load_prompt(twin / "prompts" / task).weight, load_prompt(run.path / "prompts" / task).weight)


def reference(world, finished, text, seed=0):
    plan = plan_of(world, finished)
    run = next(r for r in plan.recipe.runs if r.label == "vocab few_shot=3" and r.settings.seed == seed)
    return plan.references.find(text, run)


def test_references_name_prompts(world, finished, tmp_path):
    first, second = (run_named(finished, f"mood.sources.s{seed}").path / "prompts" / "mood" for seed in (0, 1))
    assert list(reference(world, finished, "sources/*")) == ["mood", "topic"]
    assert reference(world, finished, "sources/mood@1") == {"mood": second}
    assert reference(world, finished, "sources/sources/mood", seed=1) == {"mood": second}
    assert reference(world, finished, str(first)) == {"mood": first}
    for wrong, why in {
        "sources/mood@7": r"no seed 7; there are seeds \[0, 1\]: write sources/mood@0",
        "source/mood": "did you mean 'sources'",
        "targets/rank": "of an earlier stage",  # its own stage
        "mood": "neither a file nor 'stage/task'",
        "sources/rank": "trains no such task",
    }.items():
        with pytest.raises(ConfigError, match=why):
            reference(world, finished, wrong)


def test_first_rows_of_sources(world, tmp_path):
    """Sources of six rows in a run of four: an error that names both, and `source.rows` as the way out."""
    text = SMALL.replace('name = "sources"', 'name = "sources"\nprompt.length = 6')
    attempt = 'sources = ["sources/*"]\nmethod = { name = "attempt", temperature = "auto" }'
    text = text.replace('prompt.init = "sources/mood"', attempt)
    recipe = write_recipe(world, tmp_path, text)
    with pytest.raises(PromptError, match=re.compile("6.*4|4.*6")):
        run_recipe(Plan(load_recipe(recipe), Store(tmp_path / "a")), Console(quiet=True))
    summary = run_recipe(Plan(load_recipe(recipe, ["source.rows=first:4"]), Store(tmp_path / "b")), Console(quiet=True))
    assert summary.done == 4
    [run] = [r for r in Store(tmp_path / "b").runs() if "spot" in r.path.name]
    from safetensors.torch import load_file

    kept = load_file(run.path / "method" / "state.safetensors")["sources_SPD"]
    [mood] = [r for r in Store(tmp_path / "b").runs() if r.path.name.startswith("mood")]
    assert torch.equal(kept[0], load_prompt(mood.path / "prompts" / "mood").weight[:4])


def test_a_half_written_config_is_replaced(world, tmp_path, monkeypatch):
    """config.toml appears whole or not at all: a kill while it is written leaves none."""
    import os

    from cpeft.study.runner.claiming import write_config

    entry = plan_of(world, Store(tmp_path / "store")).entries()[0]
    entry.folder.path.mkdir(parents=True)

    def die(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", die)
    with pytest.raises(KeyboardInterrupt):
        write_config(entry.run, entry.folder)
    assert not (entry.folder.path / "config.toml").exists()
