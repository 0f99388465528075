"""A chat task on a small model with trained weights and a real tokenizer, which is given a chat template: what the template
and transformers make of two turns is what is trained on and answered."""

import shutil
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import cpeft
from cpeft.data.options import DataOptions
from cpeft.errors import ConfigError
from cpeft.evaluation.decoding import decode_rows, mean_loss
from cpeft.evaluation.task_data import task_data
from cpeft.models.chat import ChatCodec
from cpeft.models.greedy import plain_greedy
from cpeft.models.prompted import PromptedLM
from cpeft.options.evaluation import EvalOptions
from tiny import make_batch

MODEL = Path(__file__).resolve().parents[3] / "shared" / "models" / "tinystories-656k"
TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'user' %}{{ 'Mom asked: ' + m['content'] + '\n\n' }}"
    "{% else %}{{ 'Lily said:\n' + m['content'] + eos_token }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'Lily said:\n' }}{% endif %}"
)
TASK = "mini/sentiment"
DATA = {"form": "chat", "limit_train": 24, "limit_validation": 8, "limit_test": 12}
SETTINGS = {
    "prompt": {"length": 6, "vocab_range": [3, 2047]}, "optim": {"lr": 0.4, "schedule": "constant"}, "eval": {"bootstrap": 20},
    "train": {"steps": 80, "batch": 6, "eval_every": 80, "select": "loss"},
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    if not MODEL.exists():
        pytest.skip(f"no trained model in {MODEL}")
    copy = tmp_path_factory.mktemp("chat") / "model"
    shutil.copytree(MODEL, copy)
    copy.chmod(0o755)
    for file in copy.iterdir():
        file.chmod(0o644)
    tokenizer = AutoTokenizer.from_pretrained(copy)
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(copy)
    return copy


@pytest.fixture(scope="module")
def lm(folder):
    return cpeft.load_lm(folder, dtype="float32", device="cpu")


@pytest.fixture(scope="module")
def learner(lm):
    return cpeft.train(lm, TASK, data=DATA, **SETTINGS)


@pytest.fixture(scope="module")
def untrained(lm):
    return cpeft.train(lm, TASK, data=DATA, **{**SETTINGS, "train": {"steps": 0}})


@pytest.fixture(scope="module")
def data(lm):
    return task_data(TASK, None, DataOptions(**DATA), 0, lm)


@pytest.fixture(scope="module")
def plain(folder):
    """Model and tokenizer as transformers alone loads them."""
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval(), AutoTokenizer.from_pretrained(
        folder
    )


def turns(data, part):
    """What is asked and said, as messages."""
    opening = "Does the review praise or blame?\nAnswer with the label alone, one of: negative, positive.\n"
    examples = data.parts[part].examples
    assert all(example.source.startswith(opening) for example in examples)
    return [
        [{"role": "user", "content": f"{e.source}\nlabel:"}, {"role": "assistant", "content": e.target}]
        for e in examples
    ]


def behind_the_prompt(learner, model, ids):
    """The embeddings transformers is given: the trained prompt, then the text."""
    [prompt] = learner.export().values()
    return torch.cat([prompt.weight, model.get_input_embeddings()(torch.tensor(ids))])[None].detach()


def test_a_short_training_lowers_the_loss(untrained, learner, data):
    for part in ("train", "test"):  # rows never trained on too
        old, new = (mean_loss(each, data.rows(part, 0), 4096) for each in (untrained, learner))
        assert new < 0.5 * old, part
    prompt = learner.export()[TASK]
    assert prompt.provenance.text["form"] == "chat"
    assert bool(((prompt.weight - prompt.origin).abs() > 0).all())


def test_a_boundary_inside_a_token_is_told(lm):
    """Tokens of this vocabulary span words: behind "said: " an answer would begin within one."""
    tokenizer = AutoTokenizer.from_pretrained(lm.name)
    tokenizer.chat_template = TEMPLATE.replace("said:\n' +", "said: ' +").replace("said:\n' }}", "said:' }}")
    with pytest.raises(
        ConfigError, match=r"joins answers with the chat template's text before them \('.*Lily said:'\)"
    ):
        ChatCodec(tokenizer, lm.model.config).targets(["positive"])


def test_text_and_loss_are_those_of_transformers(learner, data, plain):
    """Rows are the template's tokens, its begin token once; the loss is the model's own with labels on answer and end alone."""
    model, tokenizer = plain
    rows = data.rows("test", 0)
    expected = []
    for row, said in zip(rows, turns(data, "test"), strict=True):
        whole = tokenizer.apply_chat_template(said, return_dict=False)
        asked = tokenizer.apply_chat_template(said[:1], add_generation_prompt=True, return_dict=False)
        assert [*row.source, *row.target] == whole
        assert list(row.source) == asked
        assert whole.count(tokenizer.bos_token_id) == row.target.count(tokenizer.eos_token_id) == 1
        assert tokenizer.decode(row.target).strip().endswith("<|end_story|>")
        answer = torch.tensor([[*[-100] * (6 + len(asked)), *whole[len(asked) :]]])
        with torch.no_grad():
            mean = model(inputs_embeds=behind_the_prompt(learner, model, whole), labels=answer).loss
        expected.append(float(mean) * len(row.target))
    with torch.no_grad():
        got = learner.losses(make_batch(rows))[0]
    torch.testing.assert_close(got, torch.tensor(expected), rtol=1e-4, atol=1e-4)
    everything = PromptedLM(learner.lm, learner.method, DataOptions(**DATA, loss="sequence"))
    with torch.no_grad():
        assert bool((everything.losses(make_batch(rows))[0] > got + 1).all()), (
            "the mask must matter for this to show anything"
        )


def plain_answers(learner, data, plain):
    """What `generate` itself says, row by row."""
    (model, tokenizer), answers = plain, []
    with plain_greedy(model, pad=0, end=tokenizer.eos_token_id):
        for said in turns(data, "test"):
            asked = tokenizer.apply_chat_template(said[:1], add_generation_prompt=True, return_dict=False)
            seen = behind_the_prompt(learner, model, asked)
            made = model.generate(inputs_embeds=seen, attention_mask=torch.ones(seen.shape[:2]), max_new_tokens=12)
            answers.append(tokenizer.decode(made[0], skip_special_tokens=True).strip())
    return answers


def test_answers_are_those_of_transformers(untrained, learner, data, plain):
    """Before training anything may be said, after it labels; from rows of a batch of different lengths."""
    rows, labels = data.rows("test", 0), tuple(data.labels)
    assert len({len(row.source) for row in rows}) > 1
    before, after = (plain_answers(each, data, plain) for each in (untrained, learner))
    assert len(set(before)) > 1
    for each, answers in ((untrained, before), (learner, after)):
        assert [row.text for row in decode_rows(each, rows, (), EvalOptions(max_new_tokens=12))] == answers
    assert set(after) <= set(labels)
    assert [row.text for row in decode_rows(learner, rows, labels, EvalOptions())] == after
    right = sum(text == example.target for text, example in zip(after, data.parts["test"].examples, strict=True))
    assert cpeft.evaluate(learner, TASK)["accuracy"].value == pytest.approx(100 * right / len(after))
