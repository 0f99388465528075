"""The public names in a user's own program."""

import subprocess
import sys

import pytest
import torch

import cpeft
from cpeft.errors import ConfigError, PromptMismatch
from tiny import child_environment, make_lm

SETTINGS = {
    "prompt": {"length": 4, "vocab_range": [4, 80]},
    "optim": {"lr": 0.05},
    "train": {"steps": 6, "batch": 4, "eval_every": 3},
}
ROWS = [{"text": f"w{i} w{3 * i % 85} w{7 * i % 85}"} for i in range(20)]


@pytest.fixture(autouse=True)
def at_home(world, monkeypatch):
    monkeypatch.chdir(world)


@pytest.fixture(scope="module")
def lm(world):
    return cpeft.load_lm(world / "model", dtype="float32")


@pytest.fixture
def learner(lm):
    return cpeft.train(lm, "mood.toml", **SETTINGS)


def test_names_are_those_listed():
    for name in cpeft.__all__:
        assert getattr(cpeft, name) is not None
    assert set(cpeft.__all__) <= set(dir(cpeft))
    with pytest.raises(AttributeError, match="has no attribute 'trian'"):
        _ = cpeft.trian


def test_importing_modules_hides_no_function():
    code = """
import cpeft, cpeft.training.engine, cpeft.evaluation.scoring, cpeft.use.api, cpeft.prompts.soft_prompt
from cpeft.use import api
assert cpeft.train is api.train and cpeft.evaluate is api.evaluate and cpeft.predict is api.predict
assert callable(cpeft.load_lm) and isinstance(cpeft.PromptedLM, type) and isinstance(cpeft.SoftPrompt, type)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=child_environment())
    assert done.returncode == 0, done.stderr


def test_train_is_what_a_recipe_trains(learner, finished):
    """The same settings, seed and rows give the same prompt, bit for bit."""
    [path] = finished.path.glob("sources/mood*s0-*/prompts/mood")
    assert torch.equal(learner.export()["mood"].weight, cpeft.load_prompt(path).weight)


def test_evaluate_and_predict(learner, lm, finished):
    [run] = finished.path.glob("sources/mood*s0-*")
    prompt = cpeft.load_prompt(run / "prompts" / "mood")
    every = [
        cpeft.evaluate(what, "mood.toml", lm=lm) for what in (learner, prompt, str(run), str(run / "prompts/mood"))
    ]
    assert every[0] == every[1] == every[3]
    values = [{name: score.value for name, score in scores.items()} for scores in every]
    assert values[2] == values[0]  # a run brings its own number of resamples, so its intervals differ
    assert every[0]["accuracy"].low <= every[0]["accuracy"].value <= every[0]["accuracy"].high
    said = [cpeft.predict(what, "mood.toml", ROWS, lm=lm) for what in (learner, prompt, str(run))]
    assert said[0] == said[1] == said[2]
    assert len(set(said[0])) > 1
    assert cpeft.predict(str(run), "mood.toml", ROWS) == said[0]  # the model is found by its recorded name
    short = cpeft.evaluate(learner, "mood.toml", max_source=2)
    assert short != every[0]
    assert cpeft.evaluate(learner, "mood.toml", split="validation") != every[0]


def test_sources_come_as_prompts(lm, learner, finished):
    sources = {"mood": learner.export()["mood"], "twin": learner.export()["mood"]}
    method = {"name": "attempt", "temperature": "auto", "bottleneck": 8}
    mixed = cpeft.train(lm, "rank.toml", sources=sources, method=method, **SETTINGS)
    assert mixed.method.source_names == ("mood", "twin")
    assert list(mixed.export()) == ["rank"]


def test_training_goes_on_where_it_stopped(lm, learner, tmp_path, monkeypatch):
    from cpeft.training.member import Member

    apply = Member.apply

    def breaks(self, *arguments):
        if self.step == 4:
            raise KeyboardInterrupt
        apply(self, *arguments)

    settings = {**SETTINGS, "train": {**SETTINGS["train"], "checkpoint_every": 2}}
    with monkeypatch.context() as patch:
        patch.setattr(Member, "apply", breaks)
        with pytest.raises(KeyboardInterrupt):
            cpeft.train(lm, "mood.toml", folder=tmp_path, **settings)
    made = []
    monkeypatch.setattr(Member, "apply", lambda self, *a: (made.append(self.step), apply(self, *a))[1])
    again = cpeft.train(lm, "mood.toml", folder=tmp_path, **settings)
    assert made == [4, 5]
    assert torch.equal(again.export()["mood"].weight, learner.export()["mood"].weight)


def test_a_users_own_loop(lm, finished):
    """PromptedLM is a module with the base model's outputs; the loss falls and only the prompt learns."""
    from cpeft.data.rows import EncodedRow
    from tiny import make_batch

    [path] = finished.path.glob("sources/mood*s0-*/prompts/mood")
    learner = cpeft.train(lm, "mood.toml", **{**SETTINGS, "train": {"steps": 1, "batch": 4}})
    sources, targets = (
        lm.text.sources([row["text"] for row in ROWS[:8]])[0],
        lm.text.targets(["positive", "negative"] * 4),
    )
    batch = make_batch([EncodedRow(tuple(s), tuple(t)) for s, t in zip(sources, targets, strict=True)])
    frozen = {name: value.clone() for name, value in lm.model.state_dict().items()}
    optimizer = torch.optim.Adam([p for group in learner.param_groups() for p in group.params], lr=0.1)
    losses = []
    for _ in range(30):
        loss = learner.losses(batch)[0].sum() / sum(map(len, targets))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.7 * losses[0]
    assert all(torch.equal(frozen[name], value) for name, value in lm.model.state_dict().items())
    prompt = learner.export()["mood"]
    assert not torch.equal(prompt.weight, cpeft.load_prompt(path).weight)
    assert cpeft.predict(prompt, "mood.toml", ROWS, lm=lm) == cpeft.predict(learner, "mood.toml", ROWS)


def test_mistakes(lm, learner, finished):
    with pytest.raises(ConfigError, match="did you mean 'mnli'"):
        cpeft.train(lm, "mnlii", **SETTINGS)
    with pytest.raises(ConfigError, match="did you mean 'prompt'"):
        cpeft.train(lm, "mood.toml", promt={"length": 3})
    with pytest.raises(ConfigError, match="did you mean 'prefix'"):
        cpeft.evaluate(learner, "mood.toml", prefx="none")
    [path] = finished.path.glob("sources/mood*s0-*/prompts/mood")
    with pytest.raises(PromptMismatch, match="this model is tiny-bart"):
        cpeft.evaluate(str(path), "mood.toml", lm=make_lm("bart"))
