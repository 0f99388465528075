"""The identity of runs and prompts: what is made again, what is not, and what is refused."""

import json
import shutil

import pytest

from cpeft.models import loading
from cpeft.prompts.soft_prompt import SoftPrompt
from cpeft.store.result import RunResult
from cpeft.store.run_folder import Store
from cpeft.study.runner.prepare import model_of

ONE = ("--only", "sources/mood.sources.s0")


@pytest.fixture(autouse=True)
def fresh():
    """No model of an earlier content of its folder."""
    model_of.cache_clear()
    yield
    model_of.cache_clear()


@pytest.fixture
def place(world, tmp_path):
    """A copy of the tiny world whose model may be spoilt."""
    return shutil.copytree(world, tmp_path / "world")


def edited(path, change):
    card = json.loads(path.read_text(encoding="utf-8"))
    change(card)
    path.write_text(json.dumps(card), encoding="utf-8")


def swap(card):
    vocabulary = card["model"]["vocab"]
    a, b = list(vocabulary)[8:10]
    vocabulary[a], vocabulary[b] = vocabulary[b], vocabulary[a]


def state_of(call, place, store, *more):
    code, out, err = call("plan", place / "study.toml", "--store", store, *ONE, "--json", *more)
    assert code == 0, err
    (run,) = json.loads(out)["runs"]
    return run["state"], run["folder"]


CHANGES = {
    "tokenizer": lambda model: edited(model / "tokenizer.json", swap),
    "configuration": lambda model: edited(model / "config.json", lambda card: card.update(layer_norm_epsilon=1e-3)),
    "template": lambda model: (model / "chat_template.jinja").write_text("{{ messages[0].content }}"),
}


@pytest.mark.parametrize("part", CHANGES)
def test_a_run_on_a_changed_model_is_another_run(place, tmp_path, cpeft_main, part):
    store = tmp_path / "store"
    assert cpeft_main("run", place / "study.toml", "--store", store, *ONE)[0] == 0
    assert state_of(cpeft_main, place, store)[0] == "done"
    CHANGES[part](place / "model")
    assert state_of(cpeft_main, place, store)[0] == "ready"
    code, _, err = cpeft_main("report", store)  # what is finished stays readable
    assert code == 0, err


@pytest.mark.parametrize("part", ["tokenizer", "configuration"])
def test_a_prompt_or_run_on_a_changed_model_is_refused(place, tmp_path, cpeft_main, part):
    store = tmp_path / "store"
    assert cpeft_main("run", place / "study.toml", "--store", store, *ONE)[0] == 0
    (run,) = store.glob("sources/mood*")
    prompt = run / "prompts" / "mood"
    known = SoftPrompt.load(prompt).provenance
    assert all(len(each) == 16 for each in (known.config, known.tokenizer))
    other = shutil.copytree(place / "model", place / "other")
    CHANGES[part](other)
    (place / "rows.jsonl").write_text('{"text": "w1 w2"}\n')
    task = ("--task", place / "mood.toml")
    said = f"was trained under {part}"
    for arguments in (
        ("eval", prompt, *task, "--model", other), ("eval", run, *task, "--model", other),
        ("predict", prompt, *task, "--input", place / "rows.jsonl", "--out", place / "out.jsonl", "--model", other),
        ("run", place / "study.toml", "--store", tmp_path / "second", *ONE, f"model.name={other}", f"prompt.init='{prompt}'"),
    ):  # fmt: skip
        code, _, err = cpeft_main(*arguments)
        assert code == 2, (arguments, err)
        assert said in err, arguments
        assert str(other) in err or "other" in err
    out = cpeft_main("doctor", prompt, "--model", other)[1]
    assert said in " ".join(out.split())
    assert cpeft_main("eval", prompt, *task)[0] == 0


def test_prompts_of_before_are_taken_and_doctor_says_so(place, tmp_path, cpeft_main):
    store = tmp_path / "store"
    assert cpeft_main("run", place / "study.toml", "--store", store, *ONE)[0] == 0
    (run,) = store.glob("sources/mood*")
    prompt = run / "prompts" / "mood"
    for path in (prompt / "cpeft.json", run / "method" / "method.json"):
        edited(path, lambda card: [card.pop(name, None) for name in ("config", "tokenizer", "template", "mixed")])
    for what in (prompt, run):
        assert cpeft_main("eval", what, "--task", place / "mood.toml")[0] == 0
    out = cpeft_main("doctor", prompt)[1]
    assert "not checked: tokenizer and chat template" in " ".join(out.split())


def test_the_machine_that_plans_has_no_say(place, tmp_path, monkeypatch, cpeft_main):
    """A login node without the matrix unit, a node that has it: one id, and one number format in the store."""
    text = (place / "study.toml").read_text().replace('dtype = "float32"\n', "")
    (place / "study.toml").write_text(text)
    store = tmp_path / "store"
    for name, flags in (("amx", "flags: amx_bf16"), ("plain", "flags: avx2")):
        (tmp_path / name).write_text(flags)
    monkeypatch.setattr(loading, "CPU", tmp_path / "plain")
    before = state_of(cpeft_main, place, store)
    assert Store(store).dtype() is None  # a plan writes nothing
    monkeypatch.setattr(loading, "CPU", tmp_path / "amx")
    assert state_of(cpeft_main, place, store) == before
    assert cpeft_main("run", place / "study.toml", "--store", store, *ONE)[0] == 0
    assert Store(store).dtype() == "bfloat16"
    model_of.cache_clear()
    monkeypatch.setattr(loading, "CPU", tmp_path / "plain")
    assert state_of(cpeft_main, place, store) == ("done", before[1])
    assert cpeft_main("run", place / "study.toml", "--store", store, "--only", "sources/mood.sources.s1")[0] == 0
    formats = {result.model.dtype for result in Store(store).results()}
    assert formats == {"bfloat16"}


def test_a_format_that_is_asked_for_is_kept_nowhere(place, tmp_path, cpeft_main):
    assert cpeft_main("run", place / "study.toml", "--store", tmp_path / "store", *ONE)[0] == 0
    assert Store(tmp_path / "store").dtype() is None


def test_a_result_tells_what_its_model_was(finished):
    for result in finished.results():
        if isinstance(result, RunResult):
            assert {"config", "tokenizer", "template", "embedding", "dtype"} <= result.model.model_fields_set
