"""The README of a prompt folder: its lines, run as they stand in plain transformers and peft, say what CPEFT says."""

import re
from dataclasses import replace

import pytest

import cpeft
from cpeft.options.evaluation import EvalOptions
from cpeft.prompts.soft_prompt import Provenance, SoftPrompt
from cpeft.use.target import Subject
from tiny import make_lm
from tiny_chat import make_chat_lm

ROWS = [{"text": " ".join(f"w{7 * i * j % 85}" for j in range(1, 3 + i))} for i in range(6)]
SETTINGS = {"prompt": {"length": 4, "vocab_range": [4, 80]}, "train": {"steps": 4, "batch": 4}, "optim": {"lr": 0.05}}
CASES = [
    *(("smollm", form) for form in ("chat", "instruction", "fields")),
    *((family, "chat") for family in ("llama", "mistral", "thinking")),
    *((arch, form) for arch in ("t5", "bart", "llama-words") for form in ("fields", "instruction")),
]


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A loaded model of each kind, from a folder that transformers reads too."""
    made = {}

    def load(kind):
        if kind not in made:
            arch = kind.removesuffix("-words")
            lm = make_lm(arch) if arch in ("t5", "bart") or arch != kind else make_chat_lm(kind)
            folder = tmp_path_factory.mktemp(kind)
            lm.model.generation_config.repetition_penalty = 3.0  # a habit of the model that CPEFT puts aside
            lm.model.save_pretrained(folder)
            lm.tokenizer.save_pretrained(folder)
            made[kind] = cpeft.load_lm(folder, dtype="float32", device="cpu")
        return made[kind]

    return load


def code_of(folder):
    text = (folder / "README.md").read_text()
    return re.search(r"```python\n(.*?)```", text, re.S)[1]


def run(folder, monkeypatch, capsys):
    """Execute the lines as a reader would, in the folder; what they define, and what they print."""
    monkeypatch.chdir(folder)
    names = {}
    exec(compile(code_of(folder), "README.md", "exec"), names)
    return names["answer"], capsys.readouterr().out.strip().splitlines()[-1:]


@pytest.fixture
def open_task(world, tmp_path):
    """`mood` without its label set: answers are generated to their end."""
    text = (world / "mood.toml").read_text().replace('"mood"', '"open"', 1)
    text = re.sub(r"\[labels\].*\[files\]", "[files]", text, flags=re.S).replace('"mood-', f'"{world}/mood-')
    (tmp_path / "open.toml").write_text(text.replace('metrics = ["accuracy", "macro_f1"]', 'metrics = ["squad_em"]'))
    return str(tmp_path / "open.toml")


@pytest.mark.parametrize(("kind", "form"), CASES)
def test_the_lines_answer_as_cpeft_does(kind, form, saved, open_task, tmp_path, monkeypatch, capsys):
    lm = saved(kind)
    options = EvalOptions(max_new_tokens=7)
    learner = cpeft.train(lm, open_task, data={"form": form}, eval={"max_new_tokens": 7}, **SETTINGS)
    [prompt] = learner.export().values()
    prompt.save(tmp_path / "prompt")
    expected = Subject(learner, eval=options).predict(open_task, ROWS)
    answer, _ = run(tmp_path / "prompt", monkeypatch, capsys)
    assert [answer(row) for row in ROWS] == expected
    assert len(set(expected)) > 1, "answers must depend on rows for this to mean anything"


@pytest.mark.parametrize(
    ("kind", "form"), [("smollm", "chat"), ("smollm", "instruction"), ("mistral", "chat"), ("t5", "fields")]
)
def test_the_lines_have_the_examples_of_the_run(kind, form, saved, world, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(world)
    data = {"form": form, "examples": 2, "max_source": None}
    learner = cpeft.train(saved(kind), "mood.toml", data=data, **SETTINGS)
    [prompt] = learner.export().values()
    prompt.save(tmp_path / "prompt")
    expected = cpeft.predict(learner, "mood.toml", ROWS)
    without = cpeft.predict(learner, "mood.toml", ROWS, examples=0)
    answer, _ = run(tmp_path / "prompt", monkeypatch, capsys)
    assert [answer(row) for row in ROWS] == expected != without


def test_labels_of_a_run_are_said_alike(world, tmp_path, monkeypatch, capsys):
    """A model that has learned to say labels; the folder is what `cpeft export` writes of a formula."""
    monkeypatch.chdir(world)
    lm = cpeft.load_lm("model", dtype="float32", device="cpu")
    for task in ("mood", "rank"):
        learner = cpeft.train(lm, f"{task}.toml", **SETTINGS)
        learner.export()[task].save(tmp_path / task)
    mixed = cpeft.compose("mood + 0.5*v(rank)", {task: SoftPrompt.load(tmp_path / task) for task in ("mood", "rank")})
    mixed.save(tmp_path / "mixed")
    expected = {task: cpeft.predict(mixed, f"{task}.toml", ROWS, lm=lm) for task in ("mood", "rank")}
    answer, printed = run(tmp_path / "mixed", monkeypatch, capsys)
    assert {task: [answer(row, task) for row in ROWS] for task in expected} == expected
    assert {"negative", "very"} <= set(expected["mood"]), "labels, and what is none as far as it was said"
    assert printed == [answer({"text": "..."})]


@pytest.mark.parametrize("match", ["exact", "lower"])
def test_what_is_no_label_ends_where_cpeft_ends_it(match, saved, world, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(world)
    lm = saved("smollm")
    settings = {**SETTINGS, "train": {"steps": 0}, "eval": {"match": match}}
    learner = cpeft.train(lm, "mood.toml", data={"form": "chat"}, **settings)
    expected = Subject(learner, eval=EvalOptions(match=match)).predict("mood.toml", ROWS)
    learner.export()["mood"].save(tmp_path)
    answer, _ = run(tmp_path, monkeypatch, capsys)
    assert [answer(row) for row in ROWS] == expected
    assert not set(expected) & {"negative", "positive"}


def test_a_prompt_that_does_not_know_its_rows_says_so(tmp_path):
    SoftPrompt.drawn(make_lm("t5").vocabulary.table_VD[:4], Provenance("some/model", encoder_decoder=True)).save(
        tmp_path
    )
    text = (tmp_path / "README.md").read_text()
    assert "not on record: complete `ASKED`" in text
    compile(code_of(tmp_path), "README.md", "exec")


def test_a_readme_tells_what_its_lines_leave_out(tmp_path, monkeypatch, world):
    monkeypatch.chdir(world)
    lm = cpeft.load_lm("model", dtype="float32", device="cpu")
    prompt = cpeft.train(lm, "mood.toml", data={"max_source": 50}, **SETTINGS).export()["mood"]
    replace(prompt, provenance=replace(prompt.provenance, note="target prompt of a mixture")).save(tmp_path)
    text = (tmp_path / "README.md").read_text()
    assert "Note: target prompt of a mixture." in text
    assert "more than 50 tokens" in text
    assert SoftPrompt.load(tmp_path).provenance.asked.keys() == {"mood"}


def test_the_real_chat_model_answers_alike(smollm2, tmp_path, monkeypatch, capsys):
    """A vocabulary prompt that was never trained: what it makes the model say is open text that ends where CPEFT ends it."""
    rows = [{"text": text} for text in ("What a lovely day it is.", "the train was late again", "Fine.")]
    settings = {"prompt": {"length": 8}, "train": {"steps": 0}, "eval": {"max_new_tokens": 6}}
    learner = cpeft.train(smollm2, "mini/mood", data={"form": "chat", "limit_validation": 2}, **settings)
    expected = Subject(learner, eval=EvalOptions(max_new_tokens=6)).predict("mini/mood", rows)
    learner.export()["mini/mood"].save(tmp_path)
    answer, _ = run(tmp_path, monkeypatch, capsys)
    assert [answer(row) for row in rows] == expected
    assert len(set(expected)) > 1
