"""What a run keeps of its test rows: the raw answer, what the model read, no text where none may be kept."""

import json
from functools import partial
from html import unescape

import pyarrow.parquet as pq
import pytest
from rich.console import Console

import cpeft
from cpeft.evaluation.decoding import DecodedRow, label_matcher
from cpeft.evaluation.predictions import hashed, is_label, prediction_rows
from cpeft.evaluation.task_data import task_data
from cpeft.metrics import METRICS, MetricContext
from cpeft.metrics.base import NO_LABEL
from cpeft.models.text import TextCodec
from cpeft.options.evaluation import EvalOptions
from cpeft.report.page import write_report
from cpeft.store.run_folder import Store
from cpeft.study.recipe.recipe import load_recipe
from cpeft.study.runner.plan import Plan
from cpeft.study.runner.worker import run_recipe
from cpeft.tasks import Example
from cpeft.use.target import Subject
from tiny import make_learner, make_lm
from tiny_chat import make_chat_lm

RECIPE = """
name = "kept"
[model]
name = "{model}"
dtype = "float32"
[data]
form = "{form}"
max_source = 120
[prompt]
length = 4
vocab_range = [20, 300]
[train]
steps = {steps}
batch = 4
[eval]
match = "lower"
bootstrap = 20
{more}
[[stage]]
name = "s"
tasks = ["{task}"]
"""


@pytest.fixture(scope="module")
def chat_model(tmp_path_factory):
    folder, lm = tmp_path_factory.mktemp("chat") / "model", make_chat_lm("smollm")
    lm.model.save_pretrained(folder)
    lm.tokenizer.save_pretrained(folder)
    return folder


def write_task(world, folder, name, labels, rows=("w1 w2", "w3 W4", "w5 w6")):
    """A task of its own with three rows a split, beside a recipe."""
    (folder / f"{name}.toml").write_text(
        f'name = "{name}"\ntemplate = "{{text}}"\nlabel_column = "label"\n'
        + ('metrics = ["accuracy", "macro_f1"]\n' if labels else 'metrics = ["squad_em"]\n')
        + (f'[labels]\n0 = "{labels[0]}"\n1 = "{labels[1]}"\n' if labels else "")
        + "".join(f'{"[files]" if split == "train" else ""}\n{split} = "{name}-{split}.csv"' for split in SPLITS)
    )
    for split in SPLITS:
        lines = [f"{split} {text},{i % 2}\n" for i, text in enumerate(rows)]
        (folder / f"{name}-{split}.csv").write_text("text,label\n" + "".join(lines))


SPLITS = ("train", "validation", "test")


def planned(folder, store, **more):
    told = {"form": "chat", "steps": 0, "more": "", "task": "own.toml", **more}
    (folder / "recipe.toml").write_text(RECIPE.format(**told))
    return Plan(load_recipe(folder / "recipe.toml"), Store(store))


def done(plan):
    summary = run_recipe(plan, Console(quiet=True))
    assert (summary.done, summary.failures) == (1, {})
    [entry] = plan.entries()
    return entry.folder


def test_a_label_called_none_is_a_label_and_nothing_else_is():
    """The published rule called every other text "none"; a label of that name must not be given by silence."""
    say = label_matcher({"none": "none", "some": "some"}, "lower")
    assert [say(text) for text in ("None", "SOME", "1", "", "none at all")] == ["none", "some", *[NO_LABEL] * 3]
    said = [DecodedRow(say(text), None, {}, answer=text) for text in ("None", "1")]
    assert [is_label(row, ("none", "some")) for row in said] == [True, False]
    kept = prediction_rows("t", [Example("x", "none", ("none",))] * 2, ["x"] * 2, said, ("none", "some"))
    assert [(row["answer"], row["prediction"], row["in_label_set"]) for row in kept] == [
        ("None", "none", True),
        ("1", None, False),
    ]
    context = MetricContext(("none", "some"))
    assert METRICS.get("accuracy")([NO_LABEL], [("none",)], context) == 0
    assert METRICS.get("macro_f1")([NO_LABEL], [("none",)], context) == 0


def test_raw_answers_and_texts_as_read_are_kept(world, tmp_path, chat_model, cpeft_main):
    write_task(world, tmp_path, "own", ("none", "some"))
    plan = planned(tmp_path, tmp_path / "store", model=chat_model)
    code, out, error = cpeft_main("run", tmp_path / "recipe.toml", "--store", tmp_path / "store")
    assert code == 0, error
    [entry] = plan.entries()
    rows = pq.read_table(entry.folder.path / "predictions.parquet").to_pylist()
    result = entry.folder.result()
    assert [row["prediction"] for row in rows] == [None] * 3, "an untrained model says no label"
    assert [row["in_label_set"] for row in rows] == [False] * 3
    assert all(row["answer"] for row in rows)
    assert result.scores["own"]["accuracy"].value == 0
    assert result.data["own"].no_label == 3
    lm = cpeft.load_lm(chat_model, dtype="float32")
    for row, given in zip(rows, ("test w1 w2", "test w3 W4", "test w5 w6"), strict=True):
        asked = f"Which label fits the text?\nAnswer with the label alone, one of: none, some.\n{given}"
        assert row["source"] == asked
        turn = [{"role": "user", "content": f"{asked}\nlabel:"}]
        assert row["read"] == lm.tokenizer.apply_chat_template(turn, tokenize=False, add_generation_prompt=True)
    said = cpeft_main("predict", entry.folder.path, "--task", tmp_path / "own.toml", "--input", tmp_path / "own-test.csv",
                      "--out", tmp_path / "out.jsonl")  # fmt: skip
    assert said[0] == 0, said
    told = [json.loads(line)["prediction"] for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert told == [row["answer"] for row in rows], "unlabelled rows are answered with what was said"
    assert "careful: " in out
    assert "answers that are no label (1 of 1 scores of tasks with labels)" in out
    page = (tmp_path / "store" / "report.html").read_text()
    assert "Answers that are no label" in page
    assert "seed 0: 3 of 3 answers are no label" in page
    assert f"{rows[0]['answer']} (no label)" in unescape(page), "shown beside the right answer"


def test_what_was_read_is_what_a_cut_left(world, tmp_path, chat_model):
    write_task(world, tmp_path, "own", ("no", "yes"), rows=[f"w{i} " + "and more words " * 40 for i in range(3)])
    folder = done(planned(tmp_path, tmp_path / "store", model=chat_model))
    lm = cpeft.load_lm(chat_model, dtype="float32")
    for row in pq.read_table(folder.path / "predictions.parquet").to_pylist():
        ids = lm.tokenizer(row["read"], add_special_tokens=False)["input_ids"]
        assert len(ids) == 120 < len(lm.tokenizer(row["source"])["input_ids"])
        assert row["read"].endswith("label:<|im_end|>\n<|im_start|>assistant\n")


@pytest.mark.parametrize("arch", ["t5", "bart", "llama", "gpt2"])
def test_a_row_reads_as_its_tokens(arch):
    codec = make_lm(arch).text
    assert isinstance(codec, TextCodec)
    sources, _ = codec.sources(["w1 w2 positive"], "\nanswer:")
    [read] = codec.read(sources)
    assert codec.tokenizer(read, add_special_tokens=False)["input_ids"] == sources[0]


@pytest.mark.parametrize("labels", [("no", "yes"), ()], ids=["closed", "open"])
def test_without_texts_nothing_of_them_is_left(world, tmp_path, chat_model, labels):
    write_task(world, tmp_path, "own", labels)
    more = "max_new_tokens = 6\n" if not labels else ""
    make = partial(planned, tmp_path, model=chat_model, steps=2)
    full, short = (
        done(make(tmp_path / texts, more=f'{more}[predictions]\ntexts = "{texts}"\n')) for texts in ("full", "hash")
    )
    assert full.path.name == short.path.name, "what is kept changes no number and makes no other run"
    with_texts, without = (pq.read_table(each.path / "predictions.parquet").to_pylist() for each in (full, short))
    assert with_texts[0]["source"].endswith("test w1 w2")
    for one, other in zip(with_texts, without, strict=True):
        assert all(other[name] == hashed(one[name]) for name in ("source", "read", "answer"))
        assert other["references"] == (one["references"] if labels else [hashed(text) for text in one["references"]])
        assert (one["in_label_set"], one["row"]) == (other["in_label_set"], other["row"])
        assert other["prediction"] in (None, *labels, hashed(one["prediction"] or ""))
    page = write_report(tmp_path / "hash").read_text()
    kept = [path for path in (tmp_path / "hash").rglob("*") if path.is_file() and path.suffix != ".parquet"]
    everything = "\n".join([page, *(path.read_text(errors="replace") for path in kept)])
    assert "test w1 w2" in write_report(tmp_path / "full").read_text()
    answers = [row["answer"] for row in with_texts if len(row["answer"]) > 5]
    for text in ("w1 w2", "w3 W4", "w5 w6", *answers):
        assert text not in everything.replace(tmp_path.as_posix(), "")


def test_a_run_that_fails_keeps_its_batch_only_with_texts(tmp_path, monkeypatch):
    from tiny import make_member, make_rows

    lm = make_lm("t5")
    for keeps in (True, False):
        learner = make_learner(lm, "prompt_tuning", {})
        member = make_member(learner, make_rows(lm), tmp_path / str(keeps), keeps_batch=keeps)
        member.fail(ValueError("broken"))
        assert (tmp_path / str(keeps) / "failed_batch.json").exists() == keeps


def test_python_has_no_run_folder_to_keep_them_in():
    with pytest.raises(cpeft.errors.ConfigError, match=r"and \[predictions\] needs one"):
        cpeft.train(make_lm("t5"), "mini/mood", predictions={"texts": "hash"})


def test_predictions_of_other_text_are_answered_as_they_are_said(world, monkeypatch):
    """`exact`: a text that is no label stays what it is, and is no label."""
    monkeypatch.chdir(world)
    lm = cpeft.load_lm("model", dtype="float32")
    learner = cpeft.train(lm, "mood.toml", prompt={"length": 4, "vocab_range": [4, 80]}, train={"steps": 0})
    data = task_data("mood.toml", None, learner.data, 0, lm)
    for row in data.answers(learner, 0, "test", EvalOptions()):
        assert row.text == row.answer
    assert Subject(learner).predict("mood.toml", [{"text": "w1"}])
