"""Switches that bring published behaviour back: each does what its option says, and is off unless asked for."""

import pytest
import torch
from torch.nn import functional as F

from cpeft.data.options import DataOptions
from cpeft.errors import ConfigError
from cpeft.evaluation.decoding import mean_loss
from cpeft.models.prompted import PromptedLM
from cpeft.study.task_data import task_data
from tiny import PAD, P, make_lm, make_method

IN_LOSS = DataOptions(label_padding="in-loss")


@pytest.fixture(autouse=True)
def at_home(world, monkeypatch):
    monkeypatch.chdir(world)


# data.label_padding


def test_pads_bear_loss_as_in_a_plain_forward_pass():
    """The loss equals that of transformers itself on labels that end in pad ids and hold no -100."""
    lm = make_lm("t5")
    learner = PromptedLM(lm, make_method(lm, "prompt_tuning", {}), IN_LOSS)
    data = task_data("rank.toml", None, IN_LOSS, 0, lm)
    rows = data.rows("train", 0)
    masked = task_data("rank.toml", None, DataOptions(), 0, lm).rows("train", 0)
    assert {len(row.target) for row in masked} == {2, 4}, "'negative' and 'very very good', each with its end token"
    assert {len(row.target) for row in rows} == {4}
    batch = learner.shape.batch(rows)
    labels = torch.tensor([[*row.target, *[PAD] * (4 - len(row.target))] for row in masked])
    assert torch.equal(batch.target_BT, labels)
    embedded = torch.cat([learner.method.weight.expand(len(batch), -1, -1), lm.embed(batch.source_BL)], 1)
    seen = torch.cat([torch.ones(len(batch), P, dtype=torch.bool), batch.mask_BL], 1)
    with torch.no_grad():
        logits = lm.model(inputs_embeds=embedded, attention_mask=seen.long(), labels=labels).logits
        by_hand = F.cross_entropy(logits.flatten(0, 1), labels.flatten())
        ours = learner.losses(batch)[0].sum() / sum(map(learner.shape.heard, rows))
    torch.testing.assert_close(ours, by_hand)
    assert mean_loss(learner, rows, 4096) == pytest.approx(float(by_hand), rel=1e-5)
    assert mean_loss(learner, masked, 4096) != pytest.approx(float(by_hand), rel=1e-2)


def test_pads_are_no_answer():
    """Scores and what counts as an answer stay as they are."""
    lm = make_lm("t5")
    plain, padded = (task_data("rank.toml", None, options, 0, lm) for options in (DataOptions(), IN_LOSS))
    assert plain.spoken == padded.spoken
    assert [part.examples for part in plain.parts.values()] == [part.examples for part in padded.parts.values()]


def test_pads_need_labels_and_an_encoder(world):
    with pytest.raises(
        ConfigError, match="label_padding = 'in-loss' is for tasks with labels on encoder-decoder models"
    ):
        task_data("rank.toml", None, IN_LOSS, 0, make_lm("llama"))
    files = 'train = "rank-train.csv"\ntest = "rank-test.csv"'
    (world / "open.toml").write_text(
        f'name = "open"\ntemplate = "{{text}}"\nmetrics = ["squad_f1"]\n[files]\n{files}\n'
    )
    with pytest.raises(ConfigError, match="task 'open'"):
        task_data("open.toml", None, IN_LOSS, 0, make_lm("t5"))
