"""Mistakes a user makes: one sentence that says where and what, the right exit code, nothing half-written in the store."""

import json
import os
import pickle
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from cpeft.errors import ConfigError, MissingModel
from cpeft.evaluation import task_data
from cpeft.models.loading import load_lm
from cpeft.models.named_models import MODELS
from cpeft.prompts.exchange import load_prompt
from cpeft.use.fetch import fetch_all
from tiny import QUICK, make_lm

HEAD = f"""name = "bad"
{QUICK}
[[stage]]
name = "sources"
tasks = ["mood.toml"]
"""
TARGET = """
[[stage]]
name = "targets"
tasks = ["rank.toml"]
"""
ATTEMPT = TARGET + 'method = { name = "attempt", temperature = "auto" }\n'


@pytest.fixture
def place(world, tmp_path, monkeypatch):
    """A copy of the tiny world that a test may spoil; the current folder, so that no message depends on it."""
    folder = tmp_path / "world"
    folder.mkdir()
    (folder / "model").symlink_to(world / "model")
    for path in world.glob("[mtr]*[lv]"):
        if path.suffix in (".csv", ".toml"):
            shutil.copy(path, folder)
    monkeypatch.delenv("CPEFT_DATA", raising=False)
    for cached in (task_data.dataset_of, task_data._splits_of, task_data._split_data, task_data._encoded):
        cached.cache_clear()  # files of one name, but another content
    monkeypatch.chdir(folder)
    return folder


def refused(call, code, *arguments):
    """The one sentence on standard error; nothing else is said and nothing is left in the store."""
    got, _, err = call(*arguments)
    assert got == code, err
    assert err.startswith("error: ")
    assert "Traceback" not in err
    assert len(err.strip().splitlines()) <= 2  # a missing model adds the remedy in a second line
    return err.strip()


def left(store):
    """Files below a store that a reader would take for something."""
    return [path for path in store.rglob("*") if path.is_file() and path.name != ".lock"] if store.exists() else []


def run_refused(call, place, text, code=2, *overrides):
    (place / "bad.toml").write_text(text)
    store = place / "store"
    said = refused(call, code, "run", "bad.toml", *overrides, "--store", store)
    assert left(store) == []
    assert not [folder for folder in store.glob("*/*") if folder.is_dir()] if store.exists() else True
    return said


RECIPES = {  # name -> (recipe text, words of the message)
    "unknown task": (HEAD.replace("mood.toml", "mnlii"), ["unknown task 'mnlii'", "did you mean 'mnli'?"]),
    "unknown method": (HEAD + 'method.name = "atempt"\n', ["unknown method 'atempt'", "did you mean 'attempt'?"]),
    "method without a name": (HEAD + "method.score = 1\n", ["[method] needs a name", "prompt_tuning"]),
    "wrong table": (HEAD.replace("[prompt]", "[promt]"), ["bad.toml:6: [top level]", "'promt'", "did you mean 'prompt'?"]),
    "wrong key": (HEAD.replace("lr =", "lrr ="), ["bad.toml:10: [optim] unknown key 'lrr', did you mean 'lr'?"]),
    "wrong key of a method": (
        HEAD + 'method = { name = "attempt", temprature = 3 }\n',
        ["bad.toml:23: [method] unknown key 'temprature', did you mean 'temperature'?"],
    ),
    "wrong key of a stage": (HEAD + "variants = 3\n", ["bad.toml:23: [stage.sources]", "did you mean 'variant'?"]),
    "wrong key of a variant": (
        HEAD + '[[stage.variant]]\nname = "a"\npromt.length = 3\n', ["bad.toml:25:", "did you mean 'prompt'?"],
    ),
    "wrong grid key": (
        HEAD + '[stage.grid]\n"optim.schedul" = [1]\n', ["[optim] unknown key 'schedul', did you mean 'schedule'?"],
    ),
    "wrong type": (HEAD.replace("steps = 6", 'steps = "six"'), ["bad.toml:12: [train] 'steps' = 'six'", "a whole number"]),
    "wrong choice": (HEAD.replace("eval_every = 3", 'eval_every = "epok"'), ["bad.toml:14: [train] 'eval_every' = 'epok'"]),
    "a table that is none": (
        HEAD.replace('[model]\nname = "model"\ndtype = "float32"', 'model = "model"'), ["'model' = 'model'"],
    ),
    "no stage": (QUICK, ["at least one [[stage]]"]),
    "single brackets": (HEAD.replace("[[stage]]", "[stage]"), ["[[stage]], in double brackets"]),
    "stage without tasks": (HEAD.replace('tasks = ["mood.toml"]\n', ""), ["[stage.0] missing key 'tasks'"]),
    "two stages of one name": (HEAD + TARGET.replace("targets", "sources"), ["two stages are called 'sources'"]),
    "two variants of one name": (
        HEAD + '[[stage.variant]]\nname = "a"\n[[stage.variant]]\nname = "a"\noptim.lr = 1.0\n',
        ["two runs called 'mood.a.s0'"],
    ),
    "variant without a name": (HEAD + "[[stage.variant]]\noptim.lr = 1.0\n", ["has no name"]),
    "no TOML": (HEAD.replace("lr = 0.05", "lr = = 3"), ["bad.toml: not valid TOML", "line 10"]),
    "nested too deeply": (HEAD + "x = " + "[" * 3000 + "\n", ["bad.toml: not valid TOML"]),
    "a number of thousands of digits": (HEAD.replace("steps = 6", f"steps = {'6' * 5000}"), ["bad.toml: not valid TOML"]),
    "steps and epochs": (HEAD.replace("steps = 6", "steps = 6\nepochs = 1"), ["either steps or epochs"]),
    "unknown stage": (HEAD + TARGET + 'prompt.init = "source/mood"\n', ["'source/mood'", "did you mean 'sources'?"]),
    "unknown task of a stage": (HEAD + TARGET + 'prompt.init = "sources/rank"\n', ["'sources/rank'", "trains no such task"]),
    "seed not there": (HEAD + TARGET + 'prompt.init = "sources/mood@7"\n', ["no seed 7", "there are seeds [0]"]),
    "broken formula": (HEAD + TARGET + 'prompt.init = "mean(sources/mood"\n', ["')' is missing"]),
    "prompts added": (HEAD + TARGET + 'prompt.init = "vocab + sources/mood"\n', ["write vocab + v(sources/mood)"]),
    "a multiple of a prompt": (HEAD + 'prompt.init = "0.5*vocab"\n', ["vocab is a prompt, which has no multiples"]),
    "a vector for a prompt": (HEAD + TARGET + 'prompt.init = "v(sources/mood)"\n', ["this is a task vector; add it"]),
    "a formula among sources": (
        HEAD + ATTEMPT + 'sources = ["sources/mood", "sources/mood + v(sources/mood)"]\n',
        ["'sources/mood + v(sources/mood)' names no run", "formulas have no place in a list of names",
         "a stage with train.steps = 0 and prompt.init = 'sources/mood + v(sources/mood)'"],
    ),
    "a formula to compare": (
        HEAD + '[[stage]]\nname = "c"\ncompare = ["sources/mood", "vocab + v(sources/mood)"]\n',
        ["neither a file nor", "a stage with train.steps = 0 and prompt.init = 'vocab + v(sources/mood)'"],
    ),
    "few vocabulary ids": (HEAD.replace("[4, 80]", "[4, 5]"), ["vocab_range [4, 5] holds 2 ids", "4 rows"]),
    "attempt without sources": (HEAD + 'method.name = "attempt"\n', ["'attempt' needs source prompts", "sources ="]),
}  # fmt: skip


@pytest.mark.parametrize("mistake", RECIPES)
def test_recipes(cpeft_main, place, mistake):
    text, words = RECIPES[mistake]
    said = run_refused(cpeft_main, place, text)
    for word in words:
        assert word in said


def test_the_remedy_for_formulas_in_lists(cpeft_main, place):
    """What the error above says to do, done; and a formula of any length is told so."""
    made = """
[[stage]]
name = "made"
tasks = ["mood.toml"]
train.steps = 0
prompt.init = "sources/mood + v(sources/mood)"
"""
    mixed = ATTEMPT.replace("targets", "mixed") + "sources = ['sources/mood', 'made/mood']\n"
    compared = '[[stage]]\nname = "c"\ncompare = ["sources/mood", "made/mood"]\n'
    (place / "good.toml").write_text(HEAD + made + mixed + compared)
    assert cpeft_main("run", "good.toml", "--store", "good")[0] == 0
    long = "sources/mood" + " + v(sources/mood)" * 50
    said = run_refused(cpeft_main, place, HEAD + ATTEMPT + f'sources = ["{long}"]\n')
    assert "formulas have no place" in said


def test_rows_of_a_source_that_do_not_fit(cpeft_main, place):
    (place / "bad.toml").write_text(HEAD + "prompt.length = 6\n" + TARGET + 'prompt.init = "sources/mood"\n')
    said = refused(cpeft_main, 2, "run", "bad.toml", "--store", "store")
    assert "'sources/mood' has 6 rows, prompt.length is 4" in said
    [result] = (place / "store").glob("*/*/result.json")  # the run that cannot be has none
    assert result.parent.name.startswith("mood.")


OVERRIDES = {
    "optm.lr=3": "unknown key 'optm', did you mean 'optim'?",
    "optim.lrr=3": "unknown key 'lrr', did you mean 'lr'?",
    "source.rows": "not of the form key=value",
    "train.steps=many": "'steps' = 'many'",
    "tasks=mnlii": "unknown task 'mnlii', did you mean 'mnli'?",
    "sources.optim.lrr=3": "unknown key 'lrr'",
}


@pytest.mark.parametrize("override", OVERRIDES)
def test_overrides(cpeft_main, place, override):
    assert OVERRIDES[override] in run_refused(cpeft_main, place, HEAD, 2, override)


def test_a_recipe_that_is_not_there(cpeft_main, place):
    said = refused(cpeft_main, 2, "run", "https://example.org/r.toml")
    assert said.endswith("is an address; recipes are read from files: download it and name the file")
    assert "did you mean 'small/attempt'?" in refused(cpeft_main, 2, "run", "small/attemt")
    assert "recipe file" in refused(cpeft_main, 2, "plan", "nothing.toml")


# Data


def test_rows_that_are_missing_offline(cpeft_main, place, monkeypatch):
    said = run_refused(cpeft_main, place, HEAD.replace("mood.toml", "rte"), 3)
    assert "task 'rte'" in said
    assert "cpeft fetch task:rte --out DIR" in said
    monkeypatch.setenv("CPEFT_DATA", str(place))
    assert f"nothing in {place}/rte" in run_refused(cpeft_main, place, HEAD.replace("mood.toml", "rte"), 3)


def test_a_split_that_is_missing(cpeft_main, place):
    (place / "mood-test.csv").unlink()
    said = run_refused(cpeft_main, place, HEAD, 3)
    assert "the file of split 'test' does not exist" in said
    assert "mood-test.csv" in said
    task = (place / "topic.toml").read_text()
    (place / "topic.toml").write_text("".join(line for line in task.splitlines(True) if "train =" not in line))
    text = HEAD.replace("mood.toml", "topic.toml").replace("[prompt]", '[data]\nsplit = "tpv"\n[prompt]')
    assert "needs the train rows" in run_refused(cpeft_main, place, text, 3)


@pytest.mark.parametrize(("content", "word"), [("", "the file is empty"), ("text,label\n", "no rows")])
def test_an_empty_csv(cpeft_main, place, content, word):
    (place / "mood-train.csv").write_text(content)
    said = run_refused(cpeft_main, place, HEAD)
    assert "mood-train.csv" in said
    assert word in said


def test_labels_outside_the_map(cpeft_main, place):
    with (place / "mood-test.csv").open("a") as file:
        file.write("w1 w2,7\n")
    said = run_refused(cpeft_main, place, HEAD)
    assert "label '7' in column 'label' is outside the label map ('0', '1')" in said
    assert "mood-test.csv row 13 (line 14): " in said


def test_a_column_that_is_missing(cpeft_main, place):
    path = place / "mood-train.csv"
    path.write_text(path.read_text().replace("text,label", "txt,label"))
    said = run_refused(cpeft_main, place, HEAD)
    assert "no column 'text'" in said
    assert "txt" in said


def test_an_unknown_metric_of_a_task(cpeft_main, place):
    path = place / "mood.toml"
    path.write_text(path.read_text().replace('"accuracy"', '"acuracy"'))
    said = run_refused(cpeft_main, place, HEAD)
    assert "mood.toml:3:" in said
    assert "unknown metric 'acuracy', did you mean 'accuracy'?" in said


# Models


def test_a_model_that_is_missing(cpeft_main, place):
    said = run_refused(cpeft_main, place, HEAD.replace('"model"', '"no/such"'), 3)
    assert "model 'no/such': no such folder, here or in CPEFT_MODELS" in said
    assert "cpeft fetch model:no/such" in said


def test_a_prompt_longer_than_the_models_positions(cpeft_main, place):
    lm = make_lm("gpt2")
    lm.model.save_pretrained(place / "gpt2")
    lm.tokenizer.save_pretrained(place / "gpt2")
    text = HEAD.replace('"model"', '"gpt2"').replace("length = 4", "length = 60")
    said = run_refused(cpeft_main, place, text)
    assert "60 prompt rows" in said
    assert "64 positions" in said
    assert "prompt.length" in said


# Prompts


@pytest.fixture
def prompt(finished):
    return next(finished.path.glob("sources/mood*s0*/prompts/mood"))


def test_the_prompt_of_another_model(cpeft_main, place, prompt):
    other = make_lm("t5", seed=5)
    other.model.save_pretrained(place / "other")
    other.tokenizer.save_pretrained(place / "other")
    said = refused(cpeft_main, 2, "eval", prompt, "--task", "mood.toml", "--model", place / "other")
    assert str(place / "other") in said
    assert "was trained on" in said
    text = HEAD.replace('"model"', '"other"') + f"prompt.init = '\"{prompt}\"'\n"
    said = run_refused(cpeft_main, place, text)
    assert "was trained on" in said
    assert "this model is" in said


def test_corrupt_safetensors(cpeft_main, place, prompt):
    shutil.copytree(prompt, place / "broken")
    file = place / "broken" / "adapter_model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    said = refused(cpeft_main, 2, "eval", "broken", "--task", "mood.toml")
    assert "broken/adapter_model.safetensors: not a readable safetensors file" in said
    assert "broken" in run_refused(cpeft_main, place, HEAD + "prompt.init = '\"broken\"'\n")


class Bomb:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.mark.parametrize("name", ["prompt.pt", "prompt.bin", "prompt.npy", "zip.pt"])
def test_a_pickle_with_code_is_refused_and_does_not_run(cpeft_main, place, name):
    bomb, ran = Bomb(str(place / "ran")), place / "ran"
    if name == "zip.pt":
        torch.save(bomb, name)
    elif name.endswith(".npy"):
        np.save(name, np.array([bomb], dtype=object), allow_pickle=True)
    else:
        (place / name).write_bytes(pickle.dumps(bomb))
    said = refused(cpeft_main, 2, "import", name, "imported")
    assert name in said
    assert not (place / "imported").exists()
    assert "error" in cpeft_main("doctor", name)[1]
    assert not ran.exists()
    if name == "zip.pt":
        torch.load(name, weights_only=False)
    elif name.endswith(".npy"):
        np.load(name, allow_pickle=True)
    else:
        pickle.loads((place / name).read_bytes())
    assert ran.exists(), "the file would have run its code"


def test_what_is_no_prompt(cpeft_main, place, prompt):
    for wrong, word in {
        "nothing": "no run folder, no prompt and no formula",
        "model": "without cpeft.json or adapter_config.json",
        "mood.toml": "'.toml' is none of",
        f"mean({prompt}, nothing)": "nothing: no such prompt",
        f"mean({prompt}, vocab)": "only saved prompts can be combined here, not 'vocab'",
        f"max({prompt})": "unknown function 'max'",
        f"{prompt} + {prompt}": "are prompts, which do not add",
        f"v({prompt})": "this is a task vector; add it to a prompt",
    }.items():
        assert word in refused(cpeft_main, 2, "eval", wrong, "--task", "mood.toml")
    for name, word in {"random.npy": "expected one matrix", "empty.pt": "damaged"}.items():
        np.save("random.npy", np.zeros(3))
        (place / "empty.pt").write_bytes(b"")
        assert word in refused(cpeft_main, 2, "import", name, "imported")


def test_what_cannot_be_written(cpeft_main, place, prompt):
    """One sentence that names the place; nothing is left, not even a half-written file beside it."""
    (place / "taken").write_text("mine")
    (place / "folder").mkdir()
    (place / "rows.csv").write_text("text\nw1\n")
    before = sorted(place.rglob("*"))
    into = {
        "taken": "a file is in its way", "taken/below": "not a directory", "/proc/nowhere": "no such file or directory",
    }  # fmt: skip
    for out, why in into.items():
        for command in (
            ("compose", f"'{prompt}' + v('{prompt}')", "--out", out),
            ("export", prompt, "--out", out),
            ("import", prompt, out),
            ("origins", "model", "prompt.length=4", "prompt.vocab_range=[4, 80]", "--out", f"{out}/of"),
        ):
            said = refused(cpeft_main, 2, *command)
            assert said.startswith(f"error: cannot write {out}")
            assert why in said or command[0] == "origins"
            assert said.endswith("; name another place")
    for out, command in (
        ("folder", ("export", prompt, "--form", "npy", "--out")),
        ("folder", ("export", prompt, "--form", "prompt_embeds", "--out")),
        ("/proc/x.svg", ("similar", prompt, f"'{prompt}' + v('{prompt}')", "--out")),
        ("taken/x.svg", ("similar", prompt, f"'{prompt}' + v('{prompt}')", "--out")),
        ("folder", ("predict", prompt, "--task", "mood.toml", "--input", "rows.csv", "--out")),
    ):
        assert f"cannot write {out}: " in refused(cpeft_main, 2, *command, out)
    assert "unknown form" in refused(cpeft_main, 2, "export", prompt, "--form", "onnx", "--out", "new/x")
    assert sorted(place.rglob("*")) == before
    assert (place / "taken").read_text() == "mine"


@pytest.mark.parametrize(
    "deep",
    ["(" * 5000 + "{}" + ")" * 5000, "2*" * 5000 + "v({})", "v(" * 5000 + "{}" + ")" * 5000, "{0}" + " + v({0})" * 300],
)
def test_formulas_that_are_nested_too_deeply(cpeft_main, place, prompt, deep):
    for command in (("compose", "--out", "x"), ("similar", prompt)):
        said = refused(cpeft_main, 2, *command, deep.format(f"'{prompt}'"))
        assert "is nested more than 100 levels deep" in said
        assert len(said) < 300
    assert not (place / "x").exists()


def test_names_too_long_for_a_file(cpeft_main, place, prompt):
    name = "a" * 5000
    for command in (("compose", f"'{prompt}' + v({name})", "--out", "x"), ("export", name, "--out", "x"), ("import", name, "x"),
                    ("show", "prompt", name), ("suggest", name, "--target", "mood.toml")):  # fmt: skip
        assert re.search("no such prompt|no prompt", refused(cpeft_main, 2, *command))


def test_stores_that_cannot_be(cpeft_main, place):
    (place / "taken").write_text("mine")
    for command in (("run", "quickstart", "--store"), ("status",), ("report",), ("plan", "quickstart", "--store")):
        assert re.search("aaa.*: [Ff]ile name too long", refused(cpeft_main, 2, *command, "a" * 300))
    assert "taken" in refused(cpeft_main, 2, "run", "quickstart", "--store", "taken")
    assert (place / "taken").read_text() == "mine"


def test_prompts_of_different_lengths_do_not_mix(cpeft_main, place, prompt):
    load_prompt(prompt).keep("first:3").save("short")
    said = refused(cpeft_main, 2, "eval", f"mean({prompt}, short)", "--task", "mood.toml")
    assert "different lengths: 4 and 3 rows" in said


def test_wrong_options_of_other_commands(cpeft_main, place, prompt, finished):
    run = prompt.parents[1]
    for arguments, word in (
        (("eval", run, "--task", "nosuch"), "unknown task 'nosuch'"),
        (("eval", run, "--task", "nosuch.toml"), "no such file"),
        (("eval", run, "--task", "mood.toml", "--split", "tset"), "use train, validation or test"),
        (("eval", run, "--task", "mood.toml", "data.prefx=none"), "unknown key 'prefx', did you mean 'prefix'?"),
        (("eval", run, "--task", "mood.toml", "train.steps=3"), "only data.* and eval.* can be set here, not train"),
        (("show", "task", "mood.toml", "train.steps=3"), "only data.* can be set here, not train"),
        (("show", "tasks", "rte"), "cannot show 'tasks', did you mean 'task'"),
        (("list", "task"), "did you mean 'tasks'?"),
        (("fetch", "smolm2"), "no model or recipe 'smolm2', did you mean 'smollm2'?"),
        (("run", "quickstart-mini", "--only", "tunde/*"), "no run 'tunde/*'; `cpeft plan` lists"),
        (("eval",), "Missing argument 'what': A run, a prompt folder"),
        (("export", prompt, "--out", "x", "--form", "onnx"), "unknown form 'onnx'"),
        (("import", prompt, "x", "--rows", "first:9"), "first:N"),
        (("eval", run), "--task"),
        (("evall",), "No such command 'evall'"),
        (("run", "small/attempt", "--stor", "x"), "No such option: --stor"),
    ):
        assert word in refused(cpeft_main, 2, *arguments)
    assert "cpeft fetch" in refused(cpeft_main, 3, "eval", run, "--task", "rte")
    missing = ("--input", "nothing.csv", "--out", "x.jsonl")
    assert "nothing.csv" in refused(cpeft_main, 3, "predict", run, "--task", "mood.toml", *missing)


def test_a_copy_without_the_embedded_model_says_so(monkeypatch, tmp_path):
    lost = replace(MODELS.get("mini"), source=tmp_path / "mini")
    monkeypatch.setitem(MODELS._items, "mini", lost)
    with pytest.raises(MissingModel, match="the embedded model 'mini' is not in this copy of cpeft"):
        load_lm("mini")


def test_nothing_is_fetched_for_a_recipe_of_embedded_model_and_generated_tasks(tmp_path):
    assert list(fetch_all(["quickstart-mini"], tmp_path, None)) == []


@pytest.mark.parametrize("device", ["x", "cpu:x", "cuda:99", "meta"])
def test_a_device_that_is_none_or_not_here(cpeft_main, place, device):
    said = f"device '{device}' of a model: use "
    with pytest.raises(ConfigError, match=said):
        load_lm(place / "model", device=device)
    assert said in run_refused(cpeft_main, place, HEAD, 2, f"model.device={device}")
    assert said in " ".join(cpeft_main("doctor", "bad.toml", f"model.device={device}")[1].split())


@pytest.mark.parametrize("dtype", ["int8", "x"])
def test_a_prompt_of_a_number_format_that_is_none(cpeft_main, place, prompt, dtype):
    shutil.copytree(prompt, place / "p")
    card = json.loads((place / "p" / "cpeft.json").read_text())
    (place / "p" / "cpeft.json").write_text(json.dumps(card | {"dtype": dtype}))
    said = f"[the prompt's model] 'dtype' = '{dtype}': must be 'auto', 'float32', "
    assert said in refused(cpeft_main, 2, "eval", "p", "--task", "mood.toml")
    assert said in " ".join(cpeft_main("doctor", "p")[1].split())
