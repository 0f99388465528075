"""In-context examples: which rows are shown, how they read in each form, what is left out where they do not fit, and that a
prompt meets the ones it was trained behind."""

import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import torch
from rich.console import Console

import cpeft
from cpeft.config import read_toml
from cpeft.data.few_shot import SplitRows, example_places
from cpeft.data.options import DataOptions
from cpeft.errors import ConfigError, PromptMismatch
from cpeft.evaluation.task_data import drawn_examples, shown_examples, task_data
from cpeft.seeds import derive
from cpeft.store.run_folder import Store
from cpeft.study.recipe.recipe import load_recipe
from cpeft.study.runner.plan import Plan
from cpeft.study.runner.worker import run_recipe
from cpeft.use.target import prompts_subject
from tiny import QUICK, make_lm
from tiny_chat import FAMILIES, make_chat_lm

SUBSET = derive(0, "subset")
TODAY = {"date_string": "26 Jul 2024"}


@pytest.fixture(autouse=True)
def at_home(world, monkeypatch):
    monkeypatch.chdir(world)
    return world


def options_of(**more):
    return DataOptions(**{"examples": 3, "max_source": None, **more})


def data_of(lm, seed=0, **more):
    return task_data("mood.toml", None, options_of(**more), seed, lm)


def told(lm, data, split="test", row=0):
    return lm.tokenizer.decode(data.parts[split].rows[row].source)


# Which rows


def rows_of(counts):
    classes = np.random.default_rng(0).permutation(np.repeat(np.arange(len(counts)), counts))
    return SplitRows(pa.table({"text": [str(i) for i in range(len(classes))]}), classes, np.arange(len(classes)))


def test_examples_are_as_balanced_as_their_number_allows():
    rows = rows_of([50, 20, 3, 1])
    for k, counts in {4: [1, 1, 1, 1], 8: [1, 2, 2, 3], 10: [1, 3, 3, 3], 100: [1, 3, 20, 50]}.items():
        places = example_places(rows, k, 0)
        assert sorted(np.bincount(rows.classes[places], minlength=4)) == counts, k
        assert len(set(places.tolist())) == min(k, len(rows))
    classes_of_two = {tuple(sorted(rows.classes[example_places(rows, 2, seed)])) for seed in range(40)}
    assert len(classes_of_two) == 6, "which classes come first is drawn, and the rare ones are as likely"
    orders = {tuple(rows.classes[example_places(rows, 4, seed)]) for seed in range(40)}
    assert len(orders) > 10


def test_fewer_examples_are_the_first_of_more():
    rows = rows_of([9, 9])
    eight = example_places(rows, 8, 5).tolist()
    assert all(example_places(rows, k, 5).tolist() == eight[:k] for k in range(9))
    assert eight != example_places(rows, 8, 6).tolist()


def test_examples_are_training_rows_of_the_seeds_few_shot_subset(at_home):
    task_rows = {split: (at_home / f"mood-{split}.csv").read_text() for split in ("train", "validation", "test")}
    seen = set()
    for seed in range(6):
        few = DataOptions(examples=4, few_shot=3)
        shown = drawn_examples("mood.toml", None, few, seed)
        data = task_data("mood.toml", None, DataOptions(few_shot=3), seed, make_lm("llama"))
        sources = [
            make_lm("llama").tokenizer.decode(row.source, skip_special_tokens=True) for row in data.parts["train"].rows
        ]
        for place, (text, answer) in shown.items():
            line = f"{text},{('negative', 'positive').index(answer)}\n"
            assert line in task_rows["train"]
            assert line not in task_rows["validation"] + task_rows["test"]
            assert sources[place].startswith(text)
            seen.add(text)
        assert sorted(answer for _, answer in shown.values()) == ["negative"] * 2 + ["positive"] * 2
    assert len(seen) > 6, "seeds draw other rows"


# How they read


def test_text_forms():
    lm = make_lm("llama")
    pairs = shown_examples("mood.toml", None, options_of(), 0, lm.text).examples
    assert len(pairs) == 3
    data, plain = data_of(lm), task_data("mood.toml", None, DataOptions(), 0, lm)
    lead = "".join(f"{text}\nanswer: {answer}\n\n" for text, answer in pairs)
    for split in ("validation", "test"):
        own = plain.parts[split].examples
        sources = [row.source for row in data.parts[split].rows]
        assert sources == [tuple(ids) for ids in lm.text.sources([lead + each.source for each in own], "\nanswer:")[0]]
        assert [row.target for row in data.parts[split].rows] == [row.target for row in plain.parts[split].rows]


def test_an_instruction_stands_once():
    lm = make_chat_lm("qwen")
    data = data_of(lm, form="instruction")
    pairs = shown_examples("mood.toml", None, options_of(form="instruction"), 0, lm.text).examples
    opening = "Which label fits the text?\nAnswer with the label alone, one of: negative, positive.\n"
    own = [text.removeprefix(opening) for text, _ in pairs]
    assert all(text.startswith(opening) for text, _ in pairs)
    lead = "".join(f"{text}\nlabel: {answer}\n\n" for text, (_, answer) in zip(own, pairs, strict=True))
    row = data.parts["test"].examples[0].source
    assert told(lm, data) == opening + lead + row.removeprefix(opening) + "\nlabel:"


def test_an_encoder_reads_examples_with_their_answers():
    lm = make_lm("t5")
    pairs = shown_examples("mood.toml", None, options_of(), 0, lm.text).examples
    words = [*(f"{text} <unk> {answer}" for text, answer in pairs)]  # its vocabulary has no "answer:"
    row = data_of(lm).parts["test"].examples[0].source
    assert told(lm, data_of(lm)) == " ".join([*words, row, "</s>"])


@pytest.mark.parametrize("family", list(FAMILIES))
def test_examples_are_earlier_turns_of_the_models_own_template(family):
    lm = make_chat_lm(family)
    data = data_of(lm, form="chat")
    pairs = shown_examples("mood.toml", None, options_of(form="chat"), 0, lm.codec("chat")).examples
    example = data.parts["test"].examples[0]
    turns = [
        {"role": role, "content": content}
        for text, answer in (*pairs, (example.source, example.target))
        for role, content in (("user", f"{text}\nlabel:"), ("assistant", answer))
    ]
    row = data.parts["test"].rows[0]
    whole = lm.tokenizer.apply_chat_template(turns, return_dict=False, **TODAY)
    ids = [*row.source, *row.target]
    kept = len(ids) - (family == "untold")
    assert ids[:kept] == whole[:kept]
    assert "earlier turns" not in " ".join(data.notes)


@pytest.mark.parametrize(
    "template",
    [
        "{{ '<|im_start|>user\n' + messages[0]['content'] + '<|im_end|>\n<|im_start|>assistant\n' + messages[1]['content'] }}",
        "{% if messages | length > 2 %}{{ raise_exception('one turn') }}{% endif %}"
        "{{ '<|im_start|>user\n' + messages[0]['content'] + '<|im_end|>\n<|im_start|>assistant\n' + messages[1]['content'] }}",
    ],
)
def test_a_template_without_earlier_turns_gets_them_inside_the_users_turn(template):
    lm = make_chat_lm("qwen")
    lm.tokenizer.chat_template = template
    data = data_of(lm, form="chat")
    pairs = shown_examples("mood.toml", None, options_of(form="chat"), 0, lm.codec("chat")).examples
    text = told(lm, data)
    opening = "Which label fits the text?\nAnswer with the label alone, one of: negative, positive.\n"
    assert text.startswith(f"<|im_start|>user\n{opening}")
    assert text.count(opening) == text.count("<|im_start|>assistant\n") == 1
    assert all(f"{t.removeprefix(opening)}\nlabel: {answer}\n\n" in text for t, answer in pairs)
    assert any("the chat template renders no earlier turns" in note for note in data.notes)


# What does not fit


def test_what_does_not_fit_is_left_out_and_told():
    lm = make_lm("llama")
    all_of_them = shown_examples("mood.toml", None, options_of(examples=4), 0, lm.text)
    lengths = [
        len(lm.text.sources([f"{text}\nanswer: {answer}\n\n"])[0][0]) - 1 for text, answer in all_of_them.examples
    ]
    assert all_of_them.notes == (f"4 of data.examples = 4 stand before every row, {sum(lengths)} tokens",)
    shown = shown_examples("mood.toml", None, options_of(examples=4, examples_tokens=sum(lengths) - 1), 0, lm.text)
    assert len(shown.examples) == 3
    assert shown.notes[1] == (
        f"1 of 4 examples were left out, which would be more than data.examples_tokens = {sum(lengths) - 1} tokens together"
    )
    none = shown_examples("mood.toml", None, options_of(examples=4, examples_tokens=1), 0, lm.text)
    assert none.examples == ()
    many = shown_examples("mood.toml", None, options_of(examples=50), 0, lm.text)
    assert len(many.examples) == 12
    assert "there are 12 training rows for data.examples = 50" in many.notes


def test_a_long_example_makes_room_for_shorter_ones():
    lm = make_lm("llama")
    pairs = shown_examples("mood.toml", None, options_of(examples=4), 0, lm.text).examples
    lengths = [len(lm.text.sources([f"{text}\nanswer: {answer}\n\n"])[0][0]) - 1 for text, answer in pairs]
    room = sum(lengths) - max(lengths)
    kept = shown_examples("mood.toml", None, options_of(examples=4, examples_tokens=room), 0, lm.text).examples
    assert sum(lengths[pairs.index(pair)] for pair in kept) <= room
    assert len(kept) >= 2


def test_examples_go_before_a_rows_own_text_is_cut():
    """Every row keeps all of its own words as long as they fit without examples, and as many examples as fit with it."""
    lm = make_lm("llama")
    plain = task_data("mood.toml", None, DataOptions(max_source=None), 0, lm).parts["test"].rows
    full = data_of(lm).parts["test"].rows
    limit = sorted(len(row.source) for row in full)[len(full) // 2] - 1
    data = data_of(lm, max_source=limit)
    fewer = 0
    for own, whole, row in zip(plain, full, data.parts["test"].rows, strict=True):
        assert row.source[-(len(own.source) - 1) :] == own.source[1:]
        assert len(row.source) <= limit
        assert row.source == whole.source or len(whole.source) > limit
        fewer += row.source != whole.source
    assert 0 < fewer < len(full)
    assert data.parts["test"].cut == 0
    wanted = f"{fewer} of {len(full)} test rows have fewer examples before them than there are, to be no more than"
    assert any(note.startswith(wanted) for note in data.notes)
    short = max(len(row.source) for row in plain) - 1
    cut = data_of(lm, max_source=short)
    assert cut.parts["test"].cut > 0
    longest = max(zip(plain, cut.parts["test"].rows, strict=True), key=lambda pair: len(pair[0].source))
    assert longest[1].source == (*longest[0].source[: short - 1], longest[0].source[-1])


def test_a_training_row_does_not_see_itself():
    lm = make_lm("llama")
    shown, data = shown_examples("mood.toml", None, options_of(), 0, lm.text), data_of(lm)
    plain = task_data("mood.toml", None, DataOptions(), 0, lm)
    for place, row in enumerate(data.parts["train"].rows):
        own = plain.parts["train"].rows[place].source[1:]
        others = [pair for pair, at in zip(shown.examples, shown.places, strict=True) if at != place]
        lead = "".join(f"{text}\nanswer: {answer}\n\n" for text, answer in others)
        assert row.source == (*lm.text.sources([lead])[0][0], *own)
    assert len(shown.places) == 3


# Runs


RECIPE = f"""{QUICK}
[data]
examples = 2
max_source = 60
[[stage]]
name = "s"
tasks = ["mood.toml"]
[[stage.variant]]
name = "none"
method.name = "no_prompt"
[[stage.variant]]
name = "tuned"
[[stage.variant]]
name = "without"
data.examples = 0
"""


@pytest.fixture(scope="module")
def done(world, tmp_path_factory):
    place = tmp_path_factory.mktemp("examples")
    path = world / "examples.toml"
    path.write_text(RECIPE)
    plan = Plan(load_recipe(path), Store(place / "store"))
    assert run_recipe(plan, Console(quiet=True)).failures == {}
    return {entry.run.label: entry.folder for entry in plan.entries()}


def test_runs_say_what_they_were_shown_and_are_made_again_alike(done, tmp_path, cpeft_main):
    notes = done["none"].result().data["mood"].notes
    assert any(note.startswith("2 of data.examples = 2 stand before every row") for note in notes)
    assert not any("data.examples" in note for note in done["without"].result().data["mood"].notes)
    assert read_toml(done["tuned"].path / "config.toml")["data"]["examples"] == 2
    for label in ("none", "tuned"):
        code, out, _ = cpeft_main("eval", done[label].path, "--task", "mood.toml", "--json")
        kept = done[label].result().scores["mood"]
        assert code == 0
        assert {m: s["value"] for m, s in json.loads(out).items()} == {m: s.value for m, s in kept.items()}


def test_examples_are_texts_that_may_not_leave(at_home, tmp_path):
    path = at_home / f"{tmp_path.name}.toml"
    path.write_text(RECIPE)
    plan = Plan(load_recipe(path, ["predictions.texts='hash'"]), Store(tmp_path / "store"), only=["s/mood.tuned*"])
    assert run_recipe(plan, Console(quiet=True)).failures == {}
    [entry] = plan.entries()
    shown = drawn_examples("mood.toml", None, DataOptions(examples=2), SUBSET).values()
    files = [file for file in entry.folder.path.rglob("*") if file.is_file()]
    assert {"cpeft.json", "README.md", "result.json", "predictions.parquet"} <= {file.name for file in files}
    assert not [file for file in files for text, _ in shown if text.encode() in file.read_bytes()]


def test_a_prompt_is_used_behind_the_examples_it_was_trained_behind(done, at_home):
    folder = done["tuned"].path / "prompts" / "mood"
    prompt = cpeft.load_prompt(folder)
    assert prompt.provenance.text["examples"] == 2
    assert "examples" not in cpeft.load_prompt(done["without"].path / "prompts" / "mood").provenance.text
    lm = cpeft.load_lm(str(at_home / "model"), dtype="float32")
    run, alone = (cpeft.evaluate(str(what), "mood.toml", lm=lm) for what in (done["tuned"].path, folder))
    assert run["accuracy"].value == alone["accuracy"].value
    subject = prompts_subject({"it": prompt}, lm=lm)
    assert subject.learner.subset == SUBSET
    other = replace(prompt, provenance=replace(prompt.provenance, seeds={"subset": 1}))
    with pytest.raises(PromptMismatch, match="drawn by other seeds"):
        prompts_subject({"it": prompt, "other": other}, lm=lm)


def test_unlabelled_rows_are_read_behind_the_same_examples(done, at_home, monkeypatch):
    from cpeft.use import target as module

    seen, lm = [], cpeft.load_lm(str(at_home / "model"), dtype="float32")
    decode = module.decode_rows
    monkeypatch.setattr(
        module, "decode_rows", lambda learner, rows, *more: seen.extend(rows) or decode(learner, rows, *more)
    )
    data = task_data("mood.toml", None, DataOptions(examples=2, max_source=60), SUBSET, lm)
    rows = [{"text": example.source} for example in data.parts["test"].examples]
    cpeft.predict(str(done["tuned"].path), "mood.toml", rows, lm=lm)
    assert [row.source for row in seen] == [row.source for row in data.parts["test"].rows]


def test_a_trained_learner_meets_its_examples_again(at_home):
    lm = make_lm("t5")
    settings = {
        "prompt": {"length": 4, "vocab_range": [4, 80]},
        "train": {"steps": 2, "batch": 4},
        "optim": {"lr": 0.05},
    }
    learner = cpeft.train(lm, "mood.toml", data={"examples": 2}, seed=3, **settings)
    assert learner.subset == derive(3, "subset")
    assert learner.export()["mood"].provenance.seeds == {"subset": learner.subset}
    assert cpeft.evaluate(learner, "mood.toml") == cpeft.evaluate(learner.export()["mood"], "mood.toml", lm=lm)


def test_ids_follow_the_examples(at_home, tmp_path):
    path = at_home / f"{tmp_path.name}.toml"
    path.write_text(f'{QUICK}\n[[stage]]\nname = "s"\ntasks = ["mood.toml"]\n')

    def identity(*overrides):
        [run] = load_recipe(path, overrides).runs
        return run.identity(None)

    ids = [identity(), identity("data.examples=2"), identity("data.examples=2", "data.examples_tokens=50"),
           identity("data.examples=3")]  # fmt: skip
    assert len(set(ids)) == 4
    assert identity("data.examples=0") == ids[0]


def test_show_task_shows_them(cpeft_main, at_home, tmp_path):
    pairs = drawn_examples("mood.toml", None, DataOptions(examples=2), SUBSET).values()
    code, out, _ = cpeft_main("show", "task", "mood.toml", "data.examples=2")
    assert code == 0
    assert all(
        f"example before every row, for seed 0: {text}\nwith its answer: {answer}\n" in out for text, answer in pairs
    )
    lm = make_chat_lm("qwen")
    lm.model.save_pretrained(tmp_path / "chat")
    lm.tokenizer.save_pretrained(tmp_path / "chat")
    code, out, _ = cpeft_main(
        "show", "task", "mood.toml", "--model", tmp_path / "chat", "data.examples=2", "data.form=chat"
    )
    assert code == 0
    assert out.count("<|im_start|>assistant") == 3
    assert "2 of data.examples = 2 stand before every row" in out


def test_no_rows_to_show_is_an_error(at_home, cpeft_main, tmp_path):
    with pytest.raises(ConfigError, match=r"data.examples = 2 shows training rows, and data.few_shot = 0 leaves none"):
        data_of(make_lm("llama"), examples=2, few_shot=0)
    path = at_home / f"{tmp_path.name}.toml"
    path.write_text(f'{QUICK}\n[[stage]]\nname = "s"\ntasks = ["mood.toml"]\nmethod.name = "no_prompt"\n')
    for setting in ("data.examples=-1", "data.examples_tokens=0"):
        code, out, error = cpeft_main("run", path, setting, "--store", tmp_path / "store")
        assert (code, out) == (2, "")
        assert "or more" in error


def test_rows_behind_examples_answer_as_alone(at_home):
    """Batches of rows of unlike length behind the same examples."""
    lm = make_lm("llama", double=True)
    data = data_of(lm, examples=2)
    learner = cpeft.train(lm, "mood.toml", method={"name": "no_prompt"}, prompt={"length": 4}, data={"examples": 2})
    rows = data.rows("test", 0)
    together = learner.score(learner.layout.batch(rows))
    alone = torch.cat([learner.score(learner.layout.batch([row])) for row in rows])
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-5)
