"""Prompt arithmetic from the recipe and the command line: origins, sources trained from them, what is composed of those."""

import json

import peft
import pytest
import torch
from rich.console import Console

import cpeft
from cpeft.errors import ConfigError, PromptMismatch
from cpeft.prompts.exchange import load_prompt
from cpeft.prompts.formula.template import fill_in
from cpeft.prompts.soft_prompt import SoftPrompt
from cpeft.prompts.vectors import TaskVector
from cpeft.report.page import write_report
from cpeft.store.run_folder import Store
from cpeft.study.recipe import runs as recipe_run
from cpeft.study.recipe.recipe import load_recipe
from cpeft.study.runner.plan import Plan
from cpeft.study.runner.worker import run_recipe
from tiny import QUICK

ARITHMETIC = f"""{QUICK}
[[stage]]
name = "sources"
tasks = ["mood.toml", "topic.toml"]
seeds = [0, 1]
[[stage]]
name = "targets"
tasks = ["rank.toml"]
[[stage.variant]]
name = "added"
prompt.init = "vocab + v(sources/mood) + 0.5*v(sources/topic)"
[[stage.variant]]
name = "the same"
prompt.init = "sources/mood + v(sources/topic) - 0.5*v(sources/topic)"
[[stage.variant]]
name = "crossed"
prompt.init = "vocab + cross(v(sources/mood@1))"
"""


@pytest.fixture(autouse=True)
def at_home(world, monkeypatch):
    monkeypatch.chdir(world)


@pytest.fixture
def ok(cpeft_main):
    def call(*arguments):
        code, out, err = cpeft_main(*arguments)
        assert (code, err) == (0, "")
        return out

    return call


@pytest.fixture
def prompts(finished):
    """The mood and topic prompts of seed 0, which started from one origin."""
    return [next(finished.path.glob(f"sources/{task}*s0-*/prompts/{task}")) for task in ("mood", "topic")]


def plan_of(world, tmp_path, text):
    path = world / f"{tmp_path.name}.toml"
    path.write_text(text)
    return Plan(load_recipe(path), Store(tmp_path / "store"))


def test_a_recipe_that_starts_from_sums(world, tmp_path):
    plan = plan_of(world, tmp_path, ARITHMETIC)
    summary = run_recipe(plan, Console(quiet=True))
    assert (summary.done, summary.failures, summary.blocked) == (7, {}, {})
    sources = {
        (task, seed): load_prompt(next(plan.store.path.glob(f"sources/{task}*s{seed}-*/prompts/{task}")))
        for task in ("mood", "topic") for seed in (0, 1)
    }  # fmt: skip
    mood, topic, other = sources["mood", 0], sources["topic", 0], sources["mood", 1]
    assert torch.equal(mood.origin, topic.origin), "runs of one seed start from one vocabulary sample"
    expected = {
        "added": mood.weight + 0.5 * (topic.weight - topic.origin),
        "the same": mood.weight + 0.5 * (topic.weight - topic.origin),
        "crossed": mood.origin + other.weight - other.origin,
    }
    for entry in plan.entries()[4:]:
        made = load_prompt(entry.folder.path / "prompts" / "rank")
        torch.testing.assert_close(made.origin, expected[entry.run.label], rtol=1e-5, atol=1e-5)
        assert made.provenance.init == str(entry.run.settings.prompt.init)
        assert not torch.equal(made.weight, made.origin)


def test_origins_that_differ_stop_a_recipe_with_the_remedy(world, tmp_path):
    text = ARITHMETIC[: ARITHMETIC.index("[[stage.variant]]")] + 'prompt.init = "sources/topic + v(sources/mood@1)"\n'
    with pytest.raises(PromptMismatch, match=r"different origins.*cross\(\.\.\.\)"):
        run_recipe(plan_of(world, tmp_path, text), Console(quiet=True))


def test_runs_know_the_origins_they_were_measured_from(world, finished, tmp_path, prompts):
    """Another origin of the same source is another run where `v(...)` reads it, and no other run anywhere else."""
    source, where = load_prompt(prompts[0]), tmp_path / "source"
    folders = {}
    for shift in (0.0, 1.0):
        SoftPrompt(source.weight, source.provenance, source.origin + shift).save(where)
        for init in (f"'{where}'", f"vocab + cross(v('{where}'))"):
            text = f"{QUICK}\n[[stage]]\nname = 's'\ntasks = ['rank.toml']\nprompt.init = \"{init}\"\n"
            plan = plan_of(world, tmp_path, text)
            recipe_run._hash_prompt.cache_clear()
            folders.setdefault(init, set()).add(plan.references.folder(plan.recipe.runs[0]).path.name)
    assert [len(names) for names in folders.values()] == [1, 2]


def test_compose_end_to_end(ok, tmp_path, prompts):
    """Origins, composed prompts, their evaluation: as files and as a formula the same."""
    mood, topic = (load_prompt(path) for path in prompts)
    text = f"'{prompts[0]}' + 0.5*v('{prompts[1]}')"
    out = tmp_path / "made"
    assert ok("compose", text, "--out", out).replace("\n", "") == f"{out} = {text}"
    made = load_prompt(out)
    torch.testing.assert_close(made.weight, mood.weight + 0.5 * (topic.weight - topic.origin))
    assert made.provenance.formula == text
    assert made.provenance.linear == {"mood": 1.0, "topic": 0.5}
    assert TaskVector.of(made).linear == {"mood": 1.0, "topic": 0.5}
    assert json.loads(ok("show", "prompt", out, "--json"))["formula"] == text
    scores = [ok("eval", what, "--task", "mood.toml", "--json") for what in (text, out)]
    assert scores[0] == scores[1]
    (tmp_path / "rows.jsonl").write_text('{"text": "w1 w2"}\n' + json.dumps({"text": "w3", "prompt": text}) + "\n")
    for what, file in ((text, "one"), (prompts[0], "two")):
        ok("predict", what, "--task", "mood.toml", "--input", tmp_path / "rows.jsonl", "--out", tmp_path / file)
    said = [json.loads((tmp_path / file).read_text().splitlines()[1])["prediction"] for file in ("one", "two")]
    assert said[0] == said[1]
    base = cpeft.load_lm("model", dtype="float32").model
    loaded = peft.PeftModel.from_pretrained(base, out).prompt_encoder["default"].embedding.weight
    assert torch.equal(loaded, made.weight)


def test_origins_end_to_end(ok, world, tmp_path, prompts):
    arguments = ("prompt.length=4", "prompt.vocab_range=[4, 80]", "--seed", "7")
    said = ok("origins", "model", "--out", tmp_path, "--count", "2", *arguments)
    assert said.replace("\n", "") == f"wrote {tmp_path / 'origin0'}wrote {tmp_path / 'origin1'}"
    first = load_prompt(tmp_path / "origin1")
    ok("origins", "model", "--out", tmp_path / "again", *arguments)
    assert torch.equal(load_prompt(tmp_path / "again" / "origin1").weight, first.weight)
    assert ok("doctor", tmp_path / "origin1").count("nothing wrong found") == 1
    ok("run", write_from(world, tmp_path), "--store", tmp_path / "store")
    trained = next((tmp_path / "store").glob("sources/mood*/prompts/mood"))
    assert torch.equal(load_prompt(trained).origin, first.weight)
    ok("compose", f"{tmp_path}/origin1 - v('{trained}')", "--out", tmp_path / "unlearned")
    known = load_prompt(tmp_path / "unlearned").provenance
    assert (known.linear, known.text) == ({"mood": -1.0}, load_prompt(trained).provenance.text)


def write_from(world, tmp_path):
    path = world / f"{tmp_path.name}.toml"
    stage = '[[stage]]\nname = "sources"\ntasks = ["mood.toml"]\nprompt.init = '
    path.write_text(f"{QUICK}\n{stage}\"'{tmp_path}/origin1'\"\n")
    return path


def test_refusals_of_the_commands(cpeft_main, tmp_path, prompts, finished):
    other = next(finished.path.glob("sources/mood*s1-*/prompts/mood"))
    for formula, words in {
        f"'{prompts[0]}' + v('{other}')": "different origins",
        f"v('{prompts[0]}')": "this is a task vector",
        f"'{prompts[0]}' + '{other}'": "are prompts, which do not add",
        "nothing": "no formula of prompts",
        f"'{prompts[0]}' + v(nothing)": "nothing: no such prompt",
    }.items():
        code, _, err = cpeft_main("compose", formula, "--out", tmp_path / "made")
        assert code == 2
        assert err.startswith("error: ")
        assert words in err
    assert cpeft_main("origins", "model", "--out", tmp_path, "--count", "0")[0] == 2
    assert not list(tmp_path.iterdir())


def test_cross_origin_is_a_stage_without_training(world, tmp_path):
    """Every task's vector of one seed, put on the origin of the other and on its own: scored as it is, nothing is trained."""
    text = f"""{QUICK}
[[stage]]
name = "sources"
tasks = ["mood.toml", "topic.toml"]
seeds = [0, 1]
[[stage]]
name = "crossed"
tasks = ["mood.toml", "topic.toml"]
seeds = [0, 1]
train.steps = 0
[stage.grid]
"prompt.init" = ["vocab + cross(v(sources/{{task}}@0))", "vocab + cross(v(sources/{{task}}@1))"]
"""
    (world / "crossed.toml").write_text(text)
    plan = Plan(load_recipe(world / "crossed.toml"), Store(tmp_path / "store"))
    run_recipe(plan, Console(quiet=True))
    results = {(r.tasks[0], r.label, r.seed): r for r in plan.store.results() if r.stage == "crossed"}
    assert len(results) == 8
    assert {result.steps for result in results.values()} == {0}
    sources = {(r.tasks[0], r.seed): r for r in plan.store.results() if r.stage == "sources"}
    for (task, label, seed), result in results.items():
        if label.endswith(f"@{seed}))"):  # its own origin: the source prompt itself
            assert result.scores[task]["accuracy"].value == sources[task, seed].scores[task]["accuracy"].value
    html = write_report(plan.store.path).read_text(encoding="utf-8")
    assert 'id="crossing-1"' in html
    assert html.count('<span class="muted">(2)</span>') == 2 * 2  # of both tasks: own cells and other cells
    assert 'id="crossing-tests-1"' in html  # other against own


def test_addition_is_a_stage_of_pairs_with_scales_told_apart_by_validation(world, tmp_path):
    """One run for every two tasks and scale; each is the sum of what the formula says and scores every member."""
    text = f"""{QUICK}
[[stage]]
name = "sources"
tasks = ["mood.toml", "topic.toml", "rank.toml"]
[[stage]]
name = "pairs"
tasks = ["mood.toml", "topic.toml", "rank.toml"]
together = "pairs"
train.steps = 0
[stage.grid]
"prompt.init" = ["vocab + sum(v(sources/{{task}}), ...)", "vocab + 0.5*sum(v(sources/{{task}}), ...)"]
"""
    (world / "pairs.toml").write_text(text)
    plan = Plan(load_recipe(world / "pairs.toml"), Store(tmp_path / "store"))
    run_recipe(plan, Console(quiet=True))
    results = [result for result in plan.store.results() if result.stage == "pairs"]
    pairs = {("mood", "topic"), ("mood", "rank"), ("topic", "rank")}
    assert {tuple(result.tasks) for result in results} == pairs
    assert len(results) == 6
    for result in results:
        assert set(result.scores) == set(result.tasks)
        assert result.validation is not None
        assert result.steps == 0
    prompt = {
        task: load_prompt(next(plan.store.path.glob(f"sources/{task}*/prompts/{task}")))
        for task in ("mood", "topic", "rank")
    }
    half = next(plan.store.path.glob("pairs/mood+rank*0.5*/prompts/*"))
    expected = prompt["mood"].origin + 0.5 * sum(prompt[task].weight - prompt[task].origin for task in ("mood", "rank"))
    assert torch.allclose(load_prompt(half).weight, expected, atol=1e-6)
    html = write_report(plan.store.path).read_text(encoding="utf-8")
    assert 'id="addition-1"' in html
    assert "mood + topic</th>" in html
    assert "Mean validation score of 3 sums" in html


@pytest.mark.parametrize(
    ("formula", "tasks", "said"),
    [
        ("vocab + v(s/{task})", ["a"], "vocab + v(s/a)"),
        ("vocab + sum(v(s/{task}), ...)", ["a", "b"], "vocab + sum(v(s/a), v(s/b))"),
        ("vocab + mean(cross(v(s/{task}@0)), ...)", ["a", "b"], "vocab + mean(cross(v(s/a@0)), cross(v(s/b@0)))"),
        ("weighted('p/k={few_shot}/{task}', s/b)", ["a"], "weighted('p/k=4/a', s/b)"),
        ("vocab + v(prompts/{seed}/{task})", ["a"], "vocab + v(prompts/7/a)"),
        ("x + 2*sum(v({task}), ...) - sum(v(o/{task}), ...)", ["a"], "x + 2*sum(v(a)) - sum(v(o/a))"),
    ],
)
def test_templates_of_recipes_are_filled_in(formula, tasks, said):
    assert fill_in(formula, tasks, {"few_shot": 4, "seed": 7}) == said


def test_dots_need_brackets_and_pairs_two_tasks(world):
    with pytest.raises(ConfigError, match="no brackets"):
        fill_in("v(a), ...)", ["a"], {})
    (world / "alone.toml").write_text(f'{QUICK}\n[[stage]]\nname = "p"\ntasks = ["mood.toml"]\ntogether = "pairs"\n')
    with pytest.raises(ConfigError, match="needs at least 2 tasks; stage 'p' has 1"):
        load_recipe(world / "alone.toml")
