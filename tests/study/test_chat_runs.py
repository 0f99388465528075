"""Whole runs of a chat model: train, evaluate and predict from Python, a recipe, what a run's id depends on."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from rich.console import Console

import cpeft
from cpeft.data.options import DataOptions
from cpeft.data.resolve import locate
from cpeft.errors import ConfigError
from cpeft.evaluation.task_data import task_data
from cpeft.options.training import GangOptions
from cpeft.store.run_folder import Store
from cpeft.study.recipe.recipe import load_recipe
from cpeft.study.runner.plan import Plan
from cpeft.study.runner.worker import run_recipe
from cpeft.tasks import TASKS
from cpeft.training.engine import train_gang
from cpeft.use.target import prompts_subject
from tiny import gap, make_member, make_method, rounding, trained_state
from tiny_chat import make_chat_lm

SHARED = Path(__file__).parents[3] / "shared" / "data"
DATA = {"form": "chat"}
SETTINGS = {
    "prompt": {"length": 4, "vocab_range": [20, 300]},
    "optim": {"lr": 0.05, "schedule": "cosine", "warmup": 0.03},
    "train": {"steps": 12, "batch": 4, "eval_every": 6, "select": "loss"},
}
ROWS = [{"text": f"w{i} w{3 * i % 85} w{7 * i % 85}"} for i in range(6)]


@pytest.fixture(autouse=True)
def at_home(world, monkeypatch):
    monkeypatch.chdir(world)


@pytest.fixture(scope="module")
def chat_model(tmp_path_factory):
    """A folder with a tiny chat model."""
    folder, lm = tmp_path_factory.mktemp("chat") / "model", make_chat_lm("smollm")
    lm.model.save_pretrained(folder)
    lm.tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def lm(chat_model):
    return cpeft.load_lm(chat_model, dtype="float32")


@pytest.fixture
def quick(world):
    """`mood` with one metric, whose thousand resamples cost nothing."""
    text = (world / "mood.toml").read_text().replace('"mood"', '"quick"', 1).replace(', "macro_f1"', "")
    (world / "quick.toml").write_text(text)
    return "quick.toml"


@pytest.mark.parametrize("loss", ["answer", "sequence"])
@pytest.mark.parametrize("family", ["qwen", "deepseek"])
def test_a_whole_run(family, loss, quick):
    """Training lowers the loss that it is told to lower; the prompt alone knows under which text it was trained."""
    lm = make_chat_lm(family)
    frozen = {name: value.clone() for name, value in lm.model.state_dict().items()}
    learner = cpeft.train(lm, quick, data={**DATA, "loss": loss}, **SETTINGS)
    data = task_data(quick, None, learner.data, 0, lm)
    batch = learner.layout.batch(data.rows("train", 0))
    untrained = cpeft.train(lm, quick, data={**DATA, "loss": loss}, **{**SETTINGS, "train": {"steps": 0}})
    with torch.no_grad():
        assert float(learner.losses(batch)[0].sum()) < 0.95 * float(untrained.losses(batch)[0].sum())
    assert all(torch.equal(frozen[name], value) for name, value in lm.model.state_dict().items())
    prompt = learner.export()["quick"]
    assert prompt.provenance.text["form"] == "chat"
    assert cpeft.evaluate(learner, quick) == cpeft.evaluate(prompt, quick, lm=lm)
    said = cpeft.predict(learner, quick, ROWS)
    assert said == cpeft.predict(prompt, quick, ROWS, lm=lm)
    assert len(said) == len(ROWS)


RECIPE = """
name = "chat"
[model]
name = "{model}"
dtype = "float32"
[data]
form = "chat"
{more}
[prompt]
length = 4
vocab_range = [20, 300]
[train]
steps = 2
batch = 4
[eval]
decode = ["greedy", "choice"]
match = "lower"
bootstrap = 5
[[stage]]
name = "s"
tasks = ["{task}"]
"""


def planned(world, tmp_path, model, task="mood.toml", more=""):
    path = world / f"{tmp_path.name}.toml"
    path.write_text(RECIPE.format(model=model, task=task, more=more))
    return Plan(load_recipe(path), Store(tmp_path / "store"))


def test_a_recipe_and_what_is_made_of_its_run(world, tmp_path, chat_model, cpeft_main):
    plan = planned(world, tmp_path, chat_model)
    summary = run_recipe(plan, Console(quiet=True))
    assert (summary.done, summary.failures) == (1, {})
    [entry] = plan.entries()
    kept = entry.folder.result().scores["mood"]
    assert {"accuracy", "choice_accuracy"} <= set(kept)
    code, out, error = cpeft_main("eval", entry.folder.path, "--task", "mood.toml", "--json")
    assert code == 0, error
    assert {m: s["value"] for m, s in json.loads(out).items()} == {m: s.value for m, s in kept.items()}
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    answered = tmp_path / "out.jsonl"
    code, _, error = cpeft_main(
        "predict", entry.folder.path, "--task", "mood.toml", "--input", tmp_path / "rows.jsonl", "--out", answered
    )
    assert code == 0, error
    said = [json.loads(line)["prediction"] for line in answered.read_text().splitlines()]
    assert len(said) == len(ROWS)
    assert "none" not in said, "what is no label is answered with what was said, not with a word of ours"


def test_show_and_doctor_know_the_form(world, tmp_path, chat_model, cpeft_main):
    code, out, _ = cpeft_main("show", "task", "mood.toml", "--model", chat_model, "data.form=chat")
    assert code == 0
    assert "answer questions<|im_end|>\n    <|im_start|>user\n    Which label fits the text?\n    Answer with" in out
    assert "\n    label:<|im_end|>\n    <|im_start|>assistant\n" in out
    assert "and says it:\n    negative<|im_end|>\n" in out or "and says it:\n    positive<|im_end|>\n" in out
    assert "longest" in out
    code, out, error = cpeft_main("show", "task", "mood.toml", "--model", "model", "data.form=chat")
    assert (code, out) == (2, "")
    assert "decoder-only" in error
    recipe = world / f"{tmp_path.name}.toml"
    planned(world, tmp_path, chat_model, more="max_source = 20")
    code, out, _ = cpeft_main("doctor", recipe)
    assert code == 2
    assert "data.max_source = 20 leaves nothing of the text" in out.replace("\n", " ")
    planned(world, tmp_path, chat_model)
    code, out, _ = cpeft_main("doctor", recipe)
    assert code == 0, out


@pytest.mark.parametrize("task", ["squad_v2", "math"])
def test_open_answers_are_generated(task, monkeypatch):
    """Real rows, where this machine has them."""
    if "CPEFT_DATA" not in os.environ and SHARED.is_dir():
        monkeypatch.setenv("CPEFT_DATA", str(SHARED))
    if not locate(TASKS.get(task)):
        pytest.skip(f"no rows of {task} under CPEFT_DATA")
    few = {"limit_train": 4, "limit_validation": 2, "limit_test": 2, "max_source": 120}
    settings = {**SETTINGS, "train": {"steps": 2, "batch": 2}, "eval": {"max_new_tokens": 8}}
    learner = cpeft.train(make_chat_lm("llama", positions=4096), task, data={**DATA, **few}, **settings)
    assert set(cpeft.evaluate(learner, task)) == set(TASKS.get(task).metrics)


def test_ids_follow_the_instruction_where_a_run_reads_it(world, tmp_path, chat_model):
    own = world / "own.toml"

    def identity(form, ask):
        own.write_text(
            (world / "mood.toml")
            .read_text()
            .replace('"mood"', '"own"', 1)
            .replace("metrics", f'ask = "{ask}"\nmetrics')
        )
        plan = planned(world, tmp_path, chat_model, "own.toml")
        run = plan.recipe.runs[0]
        settings = run.settings.model_copy(update={"data": DataOptions(form=form)})
        return plan.references.folder(replace(run, settings=settings)).path.name

    assert identity("fields", "Glad?") == identity("fields", "Sad?")
    assert identity("chat", "Glad?") != identity("chat", "Sad?")
    assert len({identity(form, "Glad?") for form in ("fields", "instruction", "chat")}) == 3


def test_options_at_their_defaults_are_not_in_an_id():
    assert DataOptions().model_dump(exclude_defaults=True) == {}
    assert DataOptions().cue_for(True) == DataOptions().cue_for(False) == "\nanswer:"
    chat = DataOptions(form="chat")
    assert (chat.cue_for(True), chat.cue_for(False)) == ("\nlabel:", "\nanswer:")
    assert DataOptions(form="chat", cue="").cue_for(True) == ""


def test_prompts_of_one_text_answer_together(lm):
    """The cue may be spelled out, and prompts saved before there were forms know none."""
    prompt = cpeft.train(lm, "mood.toml", data={"max_source": 64}, **SETTINGS).export()["mood"]

    def under(**text):
        return replace(prompt, provenance=replace(prompt.provenance, text=text))

    old = under(prefix="task", labels="words", cue="\nanswer:", max_source=64, padding="none")
    assert prompts_subject({"new": prompt, "old": old}, lm=lm).learner.data == DataOptions(max_source=64)
    with pytest.raises(cpeft.errors.PromptMismatch, match="trained on other text"):
        prompts_subject({"new": prompt, "chat": under(form="chat", max_source=64)}, lm=lm)


def test_a_gang_of_both_losses_trains_each_as_alone(tmp_path):
    """Members with different losses share no pass; token budgets change nothing."""
    lm = make_chat_lm("qwen")
    lm.model.double()
    rows = task_data("mood.toml", None, DataOptions(form="chat"), 0, lm).rows("train", 0)

    def members(folder):
        learners = [
            cpeft.PromptedLM(lm, make_method(lm, "prompt_tuning", {}, seed), DataOptions(form="chat", loss=loss))
            for seed, loss in enumerate(("answer", "sequence", "sequence"))
        ]
        return [make_member(each, rows, folder / str(i)) for i, each in enumerate(learners)]

    together, alone = members(tmp_path / "a"), members(tmp_path / "b")
    train_gang(together, GangOptions(pool="all", token_budget=400))
    for member in alone:
        train_gang([member], GangOptions(pool="member"))
    for one, other in zip(together, alone, strict=True):
        assert one.failure is other.failure is None
        assert gap(trained_state(one.learner), trained_state(other.learner)) < rounding(lm.model, 1e-9)
    assert gap(trained_state(alone[1].learner), trained_state(alone[2].learner)) > 1e-3


def test_a_model_without_a_template_is_an_error(world):
    lm = make_chat_lm("llama")
    lm.tokenizer.chat_template = None
    with pytest.raises(ConfigError, match=r"use data\.form = 'instruction' or 'fields'"):
        cpeft.train(lm, "mood.toml", data=DATA, **SETTINGS)
    assert cpeft.train(lm, "mood.toml", data={"form": "instruction"}, **SETTINGS).data.form == "instruction"
