"""Ranking sources for a new task by a probe."""

import json

import pytest
import torch
from typer.testing import CliRunner

import cpeft
from cpeft.cli import app
from cpeft.errors import ConfigError, PromptError
from cpeft.prompts.soft_prompt import SoftPrompt
from cpeft.use.suggest import prompts_below, suggest_sources

PROBE = {"optim": {"lr": 0.05}, "train": {"steps": 6, "batch": 4, "eval_every": 3}}


@pytest.fixture(autouse=True)
def at_home(world, monkeypatch):
    monkeypatch.chdir(world)


@pytest.fixture
def sources(finished):
    return {str(path): cpeft.load_prompt(path) for path in prompts_below(finished.path / "sources")}


@pytest.fixture(scope="module")
def lm(world):
    return cpeft.load_lm(world / "model", dtype="float32")


def test_a_probe_that_is_the_source_itself_has_similarity_one(sources, lm):
    """Trained like the source, from its origin, with its seed, the probe moves to the same place."""
    first = {path: prompt for path, prompt in sources.items() if ".s0-" in path}
    found = suggest_sources(first, "mood.toml", lm, **PROBE)
    assert [each.source for each in found] == ["mood", "topic"]
    assert found[0].similarity == pytest.approx(1.0, abs=1e-6)
    assert found[1].similarity < 0.999
    assert [each.prompts for each in found] == [1, 1]


def test_prompts_of_one_task_are_averaged_over_their_origins(sources, lm):
    together = {each.source: each for each in suggest_sources(sources, "rank.toml", lm, **PROBE)}
    assert {name: each.prompts for name, each in together.items()} == {"mood": 2, "topic": 2}
    apart = []
    for seed in ("s0", "s1"):
        part = {path: prompt for path, prompt in sources.items() if f".{seed}-" in path}
        apart.append({each.source: each.similarity for each in suggest_sources(part, "rank.toml", lm, **PROBE)})
    for name in ("mood", "topic"):
        assert together[name].similarity == pytest.approx((apart[0][name] + apart[1][name]) / 2)


def test_training_starts_where_it_is_told(lm, sources):
    start = next(iter(sources.values()))
    learner = cpeft.train(lm, "rank.toml", start=start, **(PROBE | {"train": {"steps": 1, "eval_every": 1}}))
    assert torch.equal(learner.export()["rank"].origin, start.weight)


def test_the_command_takes_a_store(finished):
    done = CliRunner().invoke(
        app, ["suggest", str(finished.path / "sources"), "--target", "rank.toml", "--set", "train.steps=2",
              "--set", "train.eval_every=2", "--set", "optim.lr=0.05", "--json"],
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    rows = json.loads(done.output)
    assert {row["source"] for row in rows} == {"mood", "topic"}
    assert rows[0]["similarity"] >= rows[1]["similarity"]


def test_folders_that_hold_prompts_themselves(sources, tmp_path, cpeft_main):
    """Prompts that somebody saved side by side, as the README's `prompts/mnli`."""
    for task in ("mood", "topic"):
        next(prompt for prompt in sources.values() if prompt.provenance.task == task).save(tmp_path / "mine" / task)
    assert prompts_below(tmp_path / "mine") == [tmp_path / "mine" / task for task in ("mood", "topic")]
    settings = ("--set", "train.steps=2", "--set", "train.eval_every=2", "--set", "optim.lr=0.05")
    code, out, err = cpeft_main("suggest", tmp_path / "mine", "--target", "rank.toml", *settings, "--json")
    assert code == 0, err
    assert {row["source"] for row in json.loads(out)} == {"mood", "topic"}
    both = f"'{tmp_path}/mine/mood' + v('{tmp_path}/mine/topic')"
    code, out, err = cpeft_main(
        "suggest", tmp_path / "mine" / "mood", both, "--target", "rank.toml", *settings, "--json"
    )
    assert code == 0, err
    assert {row["source"] for row in json.loads(out)} == {"mood", "mood+topic"}
    code, out, _ = cpeft_main("list", "prompts", "--store", tmp_path, "--json")
    assert [row["task"] for row in json.loads(out)] == ["mood", "topic"]


def test_what_cannot_be_ranked(sources, lm, tmp_path):
    with pytest.raises(ConfigError, match="flattened or token_mean"):
        suggest_sources(sources, "rank.toml", lm, measure="cka")
    with pytest.raises(PromptError, match="no source prompts"):
        suggest_sources({}, "rank.toml", lm)
    with pytest.raises(PromptError, match="records no origin"):
        suggest_sources({"bare": SoftPrompt(torch.zeros(4, lm.width))}, "rank.toml", lm)
    with pytest.raises(PromptError, match="neither a prompt nor a folder"):
        prompts_below(tmp_path)
