"""Dropout of the packed T5: every place of the module, with its rate, given back to the gradient; seeds; attention left out."""

import numpy as np
import pytest
import torch

from cpeft.data.encode import collate
from cpeft.data.rows import EncodedRow
from cpeft.models.example_losses import example_losses
from cpeft.models.fast.dropout import Dropout, Kept
from cpeft.models.noise import base_dropout
from tiny import ARCHITECTURES, EOS, PAD, D, P, V, make_lm

RATE = 0.25


def noisy(arch, rate=RATE):
    """A tiny model in double precision whose dropout is on."""
    lm = make_lm(arch, double=True)
    lm.model.set_attn_implementation("eager")  # the one whose probabilities are dropped in the open
    for module in lm.model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = rate
        for name in ("dropout", "attention_dropout"):
            if isinstance(getattr(module, name, None), float):
                setattr(module, name, rate)
    return lm


def batch_of_like_length():
    """Rows of one length, so that both forms draw masks of the same shapes."""
    rng = torch.Generator().manual_seed(0)

    def ids(n):
        return tuple(torch.randint(4, V, (n,), generator=rng).tolist())

    return collate([EncodedRow((*ids(4), EOS), (*ids(2), EOS)) for _ in range(3)], PAD)


def loss_and_gradient(lm, batch, kind="on", seed=1):
    prompt_PD = torch.randn(P, D, generator=torch.Generator().manual_seed(1), dtype=torch.float64).requires_grad_(True)
    with base_dropout(lm.model, kind, seed):
        loss_B = example_losses(lm, prompt_PD.expand(3, -1, -1), lm.embed(batch.source_BL), batch)
    loss_B.sum().backward()
    return loss_B.detach(), prompt_PD.grad


class Script:
    """The same masks for either form, by the place of a draw in the pass."""

    def __init__(self):
        self.shapes = []

    def mask(self, shape, rate):
        self.shapes.append(tuple(shape))
        draw = np.random.default_rng(len(self.shapes)).random(int(np.prod(shape)))
        return torch.from_numpy((draw >= rate).astype(np.int8)).view(tuple(shape))


@pytest.fixture
def scripted(monkeypatch):
    """Both forms drop by a script: the module through torch's function, the packed form through its own draw."""
    ours, theirs = Script(), Script()

    def functional(x, p=0.5, training=True, inplace=False):
        return x * theirs.mask(x.shape, p) / (1 - p) if training and p else x

    def draw(self, shape):
        return Kept(ours.mask(shape, 1 - 1 / self.scale), self.scale)

    monkeypatch.setattr(torch.nn.functional, "dropout", functional)
    monkeypatch.setattr(Dropout, "draw", draw)
    return ours, theirs


@pytest.mark.parametrize("kind", ["on", "outside-attention"])
@pytest.mark.parametrize("arch", ["t5", "t5-gated"])
def test_every_place_of_the_module_drops_with_its_rate(arch, kind, scripted, monkeypatch):
    """With the same masks at the same places, loss and gradient are the module's."""
    ours, theirs = scripted
    lm, batch = noisy(arch), batch_of_like_length()
    assert lm.packed is not None
    packed = loss_and_gradient(lm, batch, kind)
    monkeypatch.setitem(vars(lm), "packed", None)
    module = loss_and_gradient(lm, batch, kind)
    assert [int(np.prod(shape)) for shape in ours.shapes] == [int(np.prod(shape)) for shape in theirs.shapes]
    layers = len(lm.model.encoder.block) * 3 + len(lm.model.decoder.block) * 4 + 4  # two ends of two stacks
    attention = len(lm.model.encoder.block) + 2 * len(lm.model.decoder.block)
    assert len(ours.shapes) == layers + (attention if kind == "on" else 0)
    for own, other in zip(packed, module, strict=True):  # the module's eager softmax is in float32
        torch.testing.assert_close(own, other, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("rate", [0.1, 0.25, 0.5])
def test_as_many_are_dropped_as_the_rate_says(rate):
    """Within five deviations, of a million elements; what is kept keeps the mean."""
    kept = Dropout(rate, seed=3).draw((1000, 1003))
    zeros = 1 - float(kept.mask.double().mean())
    assert abs(zeros - rate) < 5 * (rate * (1 - rate) / 1_003_000) ** 0.5
    assert float(kept.of(torch.ones(1000, 1003)).mean()) == pytest.approx(1, abs=0.01)
    assert set(kept.mask.unique().tolist()) == {0, 1}


def test_draws_are_new_and_hang_on_the_seed_alone():
    def draws(seed):
        drop = Dropout(0.5, seed)
        return [drop.draw((64,)).mask for _ in range(2)]

    first, second = draws(1)
    assert not torch.equal(first, second)
    assert all(map(torch.equal, draws(1), [first, second]))
    assert not torch.equal(draws(2)[0], first)


def test_a_seed_gives_the_same_step_whatever_was_drawn_before():
    lm, batch = noisy("t5"), batch_of_like_length()
    first = loss_and_gradient(lm, batch, seed=5)
    torch.manual_seed(99)
    loss_and_gradient(lm, batch, seed=6)
    assert all(map(torch.equal, first, loss_and_gradient(lm, batch, seed=5)))
    assert not torch.equal(first[0], loss_and_gradient(lm, batch, seed=6)[0])
    assert not lm.model.training


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_attention_can_be_left_whole_in_every_architecture(arch, monkeypatch):
    """No probabilities, whose last two dimensions are queries and keys, are dropped; other places are; rates come back."""
    lm, dropped = noisy(arch), []
    monkeypatch.setitem(vars(lm), "packed", None)
    whole = torch.nn.functional.dropout

    def seen(x, p=0.5, training=True, inplace=False):
        if training and p:
            dropped.append(x.dim())
        return whole(x, p, training)

    monkeypatch.setattr(torch.nn.functional, "dropout", seen)
    batch = batch_of_like_length()
    counts = {}
    for kind in ("on", "outside-attention", "on"):
        dropped.clear()
        loss_and_gradient(lm, batch, kind)
        counts[kind] = (sum(d == 4 for d in dropped), sum(d < 4 for d in dropped))
    assert counts["on"][0] > 0
    assert counts["outside-attention"] == (0, counts["on"][1])


def test_a_rate_of_nothing_draws_nothing(monkeypatch):
    lm = noisy("t5", rate=0.0)
    monkeypatch.setattr(Dropout, "draw", lambda *args: pytest.fail("drawn"))
    loss_and_gradient(lm, batch_of_like_length())
