"""An answer of the server is the one that `cpeft predict` gives the row alone, whatever else is in the batch."""

import csv
from concurrent.futures import ThreadPoolExecutor

import openai
import pytest
import torch
from alone import alone, texts

from cpeft.data.rows import EncodedRow
from cpeft.evaluation.choice import label_scores
from cpeft.evaluation.decoding import decode_rows
from cpeft.methods.base import METHODS, MethodInputs
from cpeft.models.prompted import PromptedLM
from cpeft.options.evaluation import EvalOptions


@pytest.mark.parametrize("arch", ["t5", "llama"])
def test_answers_equal_predict_under_many_clients(shops, loaded, serving, arch):
    shop, lm = shops[arch], loaded[arch][1]["a"].subject.learner.lm
    rows = [{"text": text} for text in texts(12, 7)]
    asked = [(name, row) for place, row in enumerate(rows) for name in list(shop.prompts)[place % 3 :: 3]]
    expected = [alone(shop, name, lm, row) for name, row in asked]
    assert len(set(expected)) > 3
    with serving(arch) as running, ThreadPoolExecutor(32) as pool, running.client() as client:
        single = list(pool.map(lambda pair: client.predict(pair[0], [pair[1]])[0], asked))
        together = client.predict([name for name, _ in asked], [row for _, row in asked])
    for found in (single, together):
        assert [each.answer for each in found] == expected
        assert [each.prompt for each in found] == [name for name, _ in asked]
    assert max(running.rows_of_batches) > 1
    for one, other in zip(single, together, strict=True):
        assert (one.attention is None) == (one.prompt != "mix")
        if one.prompt == "say":
            assert one.probabilities is one.in_label_set is None
            continue
        assert one.in_label_set == (one.answer in ("negative", "positive"))
        assert list(one.probabilities) == ["negative", "positive"]
        assert one.probabilities == pytest.approx(other.probabilities, abs=1e-5)
    mixed = [each for each in together if each.prompt == "mix"]
    assert all(list(each.attention) == ["mnli", "qnli", "squad", "target"] for each in mixed)
    assert all(sum(each.attention.values()) == pytest.approx(1, abs=1e-5) for each in mixed)


def test_answers_and_probabilities_equal_the_commands(shops, loaded, serving, cpeft_main, tmp_path):
    shop, prompt = shops["t5"], loaded["t5"][1]["a"]
    rows = texts(6, 11)
    with open(tmp_path / "in.csv", "w", newline="") as file:
        csv.writer(file).writerows([["text"], *([text] for text in rows)])
    code, _, error = cpeft_main("predict", shop.prompts["a"], "--task", shop.tasks[0], "--input", tmp_path / "in.csv",
                                "--out", tmp_path / "out.csv")  # fmt: skip
    assert code == 0, error
    with open(tmp_path / "out.csv", newline="") as file:
        expected = [row["prediction"] for row in csv.DictReader(file)]
    with serving() as running, running.client() as client:
        found = client.predict("a", [{"text": text} for text in rows])
    assert [each.answer for each in found] == expected
    sources, _ = prompt.reader.encode([{"text": rows[0]}])
    scores = label_scores(
        prompt.subject.learner, [EncodedRow(tuple(sources[0]), (), prompt.index)], prompt.reader.closed
    )
    shares = scores.softmax(-1)[0].tolist()
    assert list(found[0].probabilities.values()) == pytest.approx(shares, abs=1e-5)


@pytest.mark.parametrize("arch", ["t5", "llama"])
def test_the_openai_package_is_a_client(serving, loaded, arch):
    lm, prompts = loaded[arch]
    reader = prompts["say"].reader
    text = "w1 w2 </s> w3"
    with (
        serving(arch, keys=["k1", "k2"]) as running,
        openai.OpenAI(base_url=f"{running.url}/v1", api_key="k2") as client,
        running.client(key="k1") as ours,
    ):
        assert {model.id for model in client.models.list()} == {*prompts, "model"}
        found = client.completions.create(model="say", prompt=[text, "w5"], max_tokens=3)
        message = [{"role": "user", "content": "w5 w7"}]
        chat = client.chat.completions.create(model="say", messages=message, max_tokens=3)
        closed = client.chat.completions.create(model="a", messages=message)
        bare = client.completions.create(model="model", prompt="w5", max_tokens=5)
        assert client.completions.create(
            model="mix", prompt="w5", max_tokens=2
        ).choices  # a method that reads the input
        with pytest.raises(openai.NotFoundError, match="no prompt 'sya', did you mean 'say'"):
            client.completions.create(model="sya", prompt=text)
        with pytest.raises(openai.BadRequestError, match="greedy"):
            client.completions.create(model="say", prompt=text, temperature=0.7)
        with pytest.raises(openai.AuthenticationError):
            client.with_options(api_key="k3").models.list()
        [row] = ours.predict("a", [{"text": "w5 w7"}])
    [ids] = reader.codec.sources([text])[0]
    assert ids.count(reader.codec.end) == (1 if arch == "t5" else 0)  # a control token in a text is text
    assert found.usage.prompt_tokens == len(ids) + len(reader.codec.sources(["w5"])[0][0])
    assert found.choices[0].finish_reason in ("stop", "length")
    assert 0 < chat.usage.completion_tokens <= 3
    assert closed.choices[0].message.content == row.answer  # a message is the row of a task with one column
    none = PromptedLM(
        lm, METHODS.get("no_prompt")(METHODS.get("no_prompt").Options(), MethodInputs(("",), torch.zeros(0, lm.width)))
    )
    [ids] = none.text.sources(["w5"])[0]
    [alone] = decode_rows(none, [EncodedRow(tuple(ids), ())], (), EvalOptions(decode=None, max_new_tokens=5))
    assert bare.choices[0].text == alone.text


@pytest.mark.parametrize("arch", ["t5", "llama"])
def test_streams_are_the_whole_answer_in_parts(serving, loaded, arch):
    texts = ["w1 w2 w3", "w9", "w4 w5 w6 w7"]
    with serving(arch) as running, openai.OpenAI(base_url=f"{running.url}/v1", api_key="none") as client:
        ask = {"model": "say", "prompt": texts, "max_tokens": 24}
        whole = client.completions.create(**ask)
        parts = list(client.completions.create(**ask, stream=True, stream_options={"include_usage": True}))
        message = {"model": "say", "messages": [{"role": "user", "content": "w5 w7"}], "max_tokens": 24}
        answer = client.chat.completions.create(**message).choices[0]
        chunks = list(client.chat.completions.create(**message, stream=True))
        with pytest.raises(openai.BadRequestError, match="at most"):  # refused before the stream begins
            client.completions.create(model="say", prompt="w1 " * 5000, stream=True)
    assert len(parts) > len(texts) + 1
    for place, choice in enumerate(whole.choices):
        own = [part.choices[0] for part in parts[:-1] if part.choices[0].index == place]
        assert "".join(each.text for each in own) == choice.text
        assert [each.finish_reason for each in own] == [None] * (len(own) - 1) + [choice.finish_reason]
    assert parts[-1].usage == whole.usage
    assert chunks[0].choices[0].delta.role == "assistant"
    assert "".join(chunk.choices[0].delta.content for chunk in chunks) == answer.message.content
