"""An answer of the server is the one that `cpeft predict` gives the row alone, whatever else is in the batch."""

import csv
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import openai
import pytest

from cpeft.data.rows import EncodedRow
from cpeft.evaluation.choice import label_scores
from cpeft.use.target import load_subject
from tiny import WORDS


def texts(count, seed):
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(WORDS, size=rng.integers(1, 40))) for _ in range(count)]


def alone(shop, name, lm, row):
    """What `cpeft predict` answers to one row."""
    task = next(
        path for path in shop.tasks if path.endswith("open.toml" if name == "say" else "mood.toml") and "=" not in path
    )
    return load_subject(shop.prompts[name], lm=lm).predict(task, [row])[0]


@pytest.mark.parametrize("arch", ["t5", "llama"])
def test_answers_equal_predict_under_many_clients(shops, loaded, serving, arch):
    shop, lm = shops[arch], loaded[arch]["a"].subject.learner.lm
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
    shop, prompt = shops["t5"], loaded["t5"]["a"]
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
    prompt = loaded[arch]["say"]
    text = "w1 w2 </s> w3"
    with (
        serving(arch, keys=["k1", "k2"]) as running,
        openai.OpenAI(base_url=f"{running.url}/v1", api_key="k2") as client,
    ):
        assert {model.id for model in client.models.list()} == set(loaded[arch])
        found = client.completions.create(model="say", prompt=[text, "w5"], max_tokens=3)
        chat = client.chat.completions.create(model="say", messages=[{"role": "user", "content": text}], max_tokens=3)
        with pytest.raises(openai.NotFoundError, match="no prompt 'sya', did you mean 'say'"):
            client.completions.create(model="sya", prompt=text)
        with pytest.raises(openai.BadRequestError, match="not streamed"):
            client.completions.create(model="say", prompt=text, stream=True)
        with pytest.raises(openai.BadRequestError, match="greedy"):
            client.completions.create(model="say", prompt=text, temperature=0.7)
        with pytest.raises(openai.AuthenticationError):
            client.with_options(api_key="k3").models.list()
    [ids] = prompt.reader.codec.sources([text])[0]
    assert ids.count(prompt.reader.codec.end) == (1 if arch == "t5" else 0)  # a control token in a text is text
    assert found.usage.prompt_tokens == len(ids) + len(prompt.reader.codec.sources(["w5"])[0][0])
    first = found.choices[0]
    assert first.text == chat.choices[0].message.content
    assert first.text
    assert first.finish_reason in ("stop", "length")
    assert 0 < chat.usage.completion_tokens <= 3
