"""ATTEMPT against an independent transcription of its equations in numpy, float64, with the whole mixture spelled out.

The transcription follows the published order of operations: pool the input, bottleneck, LayerNorm, scores over the sources
and the target, softmax, mix, add the target once more. Gradients of the transcription are central differences.
"""

import math

import numpy as np
import pytest
import torch

from cpeft.data.encode import collate
from cpeft.data.options import DataOptions
from cpeft.errors import ConfigError, PromptMismatch
from cpeft.methods.attempt import Attempt, AttemptOptions
from cpeft.methods.base import MethodInputs, PromptContext
from cpeft.models.prompted import PromptedLM
from cpeft.prompts.soft_prompt import SoftPrompt
from tiny import close, make_lm, make_rows, make_sources

B, L, M, D, R, S, T = 3, 5, 4, 6, 3, 2, 2
SCORES = ["sub", "token", "linear", "dot", "constant"]


def attempt(tasks=("a", "b"), **options) -> Attempt:
    """A method in float64 whose trained parts have left their start."""
    rng = torch.Generator().manual_seed(3)
    initial = torch.randn(M, D, generator=rng)
    method = Attempt(
        AttemptOptions(**{"bottleneck": R, "temperature": 1.75, **options}),
        MethodInputs(tuple(tasks), initial, make_sources(S, M, D), seed=9),
    ).double()
    with torch.no_grad():
        for parameter in method.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=rng).double() * 0.4)
    return method


def context(seed=0, **more) -> PromptContext:
    """Three rows of 5, 3 and 4 tokens, of both tasks."""
    rng = torch.Generator().manual_seed(seed)
    x_BLD = torch.randn(B, L, D, generator=rng).double()
    mask_BL = torch.arange(L).expand(B, L) < torch.tensor([[5], [3], [4]])
    return PromptContext(x_BLD, mask_BL, torch.tensor([1, 0, 1]), **more)


def softmax(x, axis):
    e = np.exp(x - x.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


def layer_norm(x, weight, bias):
    mean = x.mean(-1, keepdims=True)
    return (x - mean) / np.sqrt(((x - mean) ** 2).mean(-1, keepdims=True) + 1e-5) * weight + bias


def oracle(p, sources, x, lengths, task_B, score, temperature, per_task, pad=None):
    """Instance prompts (B, m, d). `p`: trained arrays by name. `pad`: the embedding of padding if it takes part in pooling."""
    out = []
    for b in range(len(x)):
        tokens = list(x[b][: lengths[b]]) + ([pad] * (len(x[b]) - lengths[b]) if pad is not None else [])
        pooled = np.max(np.stack(tokens), axis=0)
        target = p["target"][task_B[b]] if per_task else p["target"][0]
        mixture = np.concatenate([sources, target[None]])  # the target is the last of the t + 1 candidates
        if score in ("sub", "token"):
            z = p["down"] @ pooled
            h = layer_norm(p["up"] @ (z / (1 + np.exp(-z))), p["gamma"], p["beta"])
        elif score == "linear":
            h = layer_norm(p["down"] @ pooled, p["gamma"], p["beta"])
        else:
            h = pooled
        if score == "token":
            weights = softmax(np.einsum("pld,d->pl", mixture, h) / temperature, axis=0)[:, :, None]
        elif score == "constant":
            weights = np.full((len(mixture), 1, 1), 1 / len(mixture))
        else:
            raw = mixture.max(axis=1) @ h
            weights = softmax(raw if score == "dot" else raw / temperature, axis=0)[:, None, None]
        out.append((weights * mixture).sum(0) + target)
    return np.stack(out)


def arrays(method: Attempt) -> dict[str, np.ndarray]:
    named = {"target": method.target_TPD, "down": getattr(method.attention, "down", None)}
    named |= {"up": getattr(method.attention, "up", None)}
    norm = getattr(method.attention, "norm", None)
    named |= {"gamma": norm.weight, "beta": norm.bias} if norm is not None else {}
    return {key: value.detach().numpy().copy() for key, value in named.items() if value is not None}


def gradients(method: Attempt) -> dict[str, np.ndarray]:
    norm = getattr(method.attention, "norm", None)
    named = {"target": method.target_TPD, "down": getattr(method.attention, "down", None)}
    named |= {"up": getattr(method.attention, "up", None)}
    named |= {"gamma": norm.weight, "beta": norm.bias} if norm is not None else {}
    return {key: value.grad.numpy() for key, value in named.items() if value is not None}


def numeric_gradients(f, p, step=1e-6):
    """Central differences of f with respect to every array of p."""
    result = {}
    for key, array in p.items():
        result[key] = np.zeros_like(array)
        for index in np.ndindex(array.shape):
            old = array[index]
            array[index] = old + step
            above = f(p)
            array[index] = old - step
            below = f(p)
            array[index] = old
            result[key][index] = (above - below) / (2 * step)
    return result


@pytest.mark.parametrize("targets", ["one", "per_task"])
@pytest.mark.parametrize("score", SCORES)
def test_prompts_and_gradients_equal_the_equations(score, targets):
    method, given = attempt(score=score, targets=targets), context()
    sources = method.sources_SPD.numpy()
    upstream = np.random.default_rng(0).standard_normal((B, M, D))
    lengths, task_B = given.mask_BL.sum(1).tolist(), given.task_B.tolist()

    def prompts(p):
        return oracle(p, sources, given.x_BLD.numpy(), lengths, task_B, score, 1.75, targets == "per_task")

    got = method(given).prompt_BPD
    np.testing.assert_allclose(got.detach().numpy(), prompts(arrays(method)), rtol=1e-10, atol=1e-10)
    (got * torch.from_numpy(upstream)).sum().backward()
    want = numeric_gradients(lambda p: float((prompts(p) * upstream).sum()), arrays(method))
    have = gradients(method)
    assert have.keys() == want.keys()
    assert set(have) == {"sub": {"target", "down", "up", "gamma", "beta"}, "token": {"target", "down", "up", "gamma", "beta"},
                         "linear": {"target", "down", "gamma", "beta"}}.get(score, {"target"})  # fmt: skip
    for key in want:
        assert np.abs(want[key]).max() > 1e-3, f"{key}: nothing to compare"
        np.testing.assert_allclose(have[key], want[key], rtol=1e-6, atol=1e-7, err_msg=key)


def test_attention_weights_are_a_distribution_over_named_candidates():
    method = attempt()
    weights = method(context()).extras["attention"]
    assert method.candidates == ("mnli", "qnli", "target")
    assert weights.shape == (B, S + 1)
    torch.testing.assert_close(weights.sum(1), torch.ones(B).double())
    assert bool((weights[0] != weights[1]).any())


@pytest.mark.parametrize("score", ["sub", "token", "linear", "dot"])
def test_pooling_over_padding_equals_padding_to_the_room(score):
    """`pool_padding` on short batches gives what published code got by padding every row to the maximal length."""
    room, pad = 9, torch.full((D,), 0.7).double()
    method, given = attempt(score=score, pool_padding=True), context(pad_D=pad, max_length=9)
    wide = np.concatenate([given.x_BLD.numpy(), np.zeros((B, room - L, D))], axis=1)
    lengths = given.mask_BL.sum(1).tolist()
    args = (arrays(method), method.sources_SPD.numpy(), wide, lengths, given.task_B.tolist(), score, 1.75, False)
    published = oracle(*args, pad=pad.numpy())
    np.testing.assert_allclose(method(given).prompt_BPD.detach().numpy(), published, rtol=1e-10, atol=1e-10)
    assert np.abs(published - oracle(*args)).max() > 1e-3, "padding must matter here, or the switch is not tested"


def test_pooling_over_padding_leaves_a_full_row_alone():
    """A row as long as the room has no padding in published code either."""
    pad = torch.full((D,), 9.0).double()
    method, given = attempt(pool_padding=True), context(pad_D=pad, max_length=L)
    plain = attempt()(context()).prompt_BPD
    padded = method(given).prompt_BPD
    torch.testing.assert_close(padded[0], plain[0], rtol=1e-12, atol=1e-12)  # five of five tokens
    assert bool((padded[1] - plain[1]).abs().max() > 1e-3)


def test_room_of_a_learner_equals_padded_batches():
    """Through PromptedLM: `room` and no padding equals a batch that really is padded to the room."""
    lm = make_lm("t5", double=True)
    rows = make_rows(lm, 4)
    inputs = MethodInputs(("a",), torch.randn(4, lm.width), make_sources(width=lm.width))
    method = Attempt(AttemptOptions(pool_padding=True, temperature=3.0), inputs).double()
    room = DataOptions(max_source=20)
    narrow, wide = collate(rows, 0), collate(rows, 0, max_length=20)
    with torch.no_grad():
        by_switch = PromptedLM(lm, method, room).losses(narrow)[0]
        x_BLD = lm.embed(wide.source_BL)
        everything = torch.ones_like(wide.mask_BL)
        plain = Attempt(AttemptOptions(temperature=3.0), inputs).double()
        plain.load_state_dict(method.state_dict())
        by_hand = plain(PromptContext(x_BLD, everything, wide.task_B)).prompt_BPD
        close(lm, PromptedLM(lm, method, room).losses(wide)[0], by_switch)
        own = PromptedLM(lm, method, room).prompts(lm.embed(narrow.source_BL), narrow.mask_BL, narrow.task_B)
    torch.testing.assert_close(own.prompt_BPD, by_hand, rtol=1e-12, atol=1e-12)


def test_reductions():
    """Mean and max-mean pooling against numpy; attention pooling starts as a mean."""
    given = context()
    rows = [given.x_BLD[b, : int(given.mask_BL[b].sum())] for b in range(B)]
    means = torch.stack([row.mean(0) for row in rows])
    tops = torch.stack([row.max(0).values for row in rows])
    inputs = MethodInputs(("a",), torch.randn(M, D), make_sources(S, M, D))
    for reduce, want in {"mean": means, "max": tops, "max-mean": (means + tops) / 2, "attention": means}.items():
        method = Attempt(AttemptOptions(reduce=reduce), inputs).double()
        pooled = method.attention.pool_input(given.x_BLD, given.mask_BL.double())
        torch.testing.assert_close(pooled, want, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("reduce", ["max", "mean", "max-mean", "attention"])
def test_pooled_padding_counts_as_often_as_published_code_pads(reduce):
    """Every reduction over the padded row equals the one over the short row with its missing padding counted."""
    given = context()
    pad, room = torch.randn(D), 9
    inputs = MethodInputs(("a",), torch.randn(M, D), make_sources(S, M, D))
    method = Attempt(AttemptOptions(reduce=reduce, pool_padding=True), inputs).double()
    if method.attention.pool_input.query is not None:
        torch.nn.init.normal_(method.attention.pool_input.query)
    short = PromptContext(given.x_BLD, given.mask_BL, given.task_B, pad.double(), room)
    wide_BLD = pad.double().expand(B, room, D).clone()
    for b in range(B):
        length = int(given.mask_BL[b].sum())
        wide_BLD[b, :length] = given.x_BLD[b, given.mask_BL[b]]
    want = method.attention.pool_input(wide_BLD, torch.ones(B, room, dtype=torch.float64))
    torch.testing.assert_close(method._pooled_input(short), want, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("width", "published"), [(512, 1392), (768, 2087), (1024, 2783), (4096, 11134)])
def test_default_temperature_is_width_times_e(width, published):
    inputs = MethodInputs(("a",), torch.randn(2, width), make_sources(2, 2, width))
    assert math.isclose(float(Attempt(AttemptOptions(), inputs).attention.divisor()), published, rel_tol=5e-4)
    learned = Attempt(AttemptOptions(temperature="learned"), inputs)
    assert math.isclose(float(learned.attention.divisor().detach()), published, rel_tol=5e-4)
    assert learned.attention.tau.requires_grad


def test_published_parameter_count():
    """S0: 231 936 with length 100 at width 768: the prompt, two projections and the LayerNorm."""
    inputs = MethodInputs(("a",), torch.randn(100, 768), make_sources(6 - 2, 100, 768))
    count = sum(p.numel() for p in Attempt(AttemptOptions(), inputs).parameters() if p.requires_grad)
    assert count == 231_936
    frozen = Attempt(AttemptOptions(layer_norm="frozen"), inputs)
    assert sum(p.numel() for p in frozen.parameters() if p.requires_grad) == 231_936 - 2 * 768


@pytest.mark.parametrize("score", ["sub", "linear", "token"])
def test_auto_temperature_scales_the_reachable_spread_to_one_once(score):
    method = attempt(score=score, temperature="auto")
    assert math.isnan(float(method.attention.temperature))
    given = context()
    method.calibrate(given)
    scores = method._scores(given) / method.attention.divisor()
    root = given.x_BLD.shape[-1] ** 0.5
    assert float(scores.detach().std(-1).mean()) == pytest.approx(1 / root, rel=1e-6)
    fixed = float(method.attention.temperature)
    method.calibrate(context(seed=1))
    assert float(method.attention.temperature) == fixed


def test_attention_learning_rate_takes_effect():
    groups = {group.name: group for group in attempt(attention_lr=0.1, sources="trained").param_groups()}
    assert groups["attention"].lr == 0.1
    assert groups["prompt"].lr is None
    assert len(groups["prompt"].params) == 2
    assert len(groups["attention"].params) == 4


def test_attention_from_starts_from_trained_attention():
    trained = attempt()
    state = trained.state_dict()
    inputs = MethodInputs(("a",), torch.randn(M, D), make_sources(S, M, D), state=lambda reference: state)
    started = Attempt(AttemptOptions(bottleneck=R, attention_from="run"), inputs)
    torch.testing.assert_close(started.attention.down.double(), trained.attention.down, rtol=0, atol=1e-6)
    assert not torch.equal(started.target_TPD.double(), trained.target_TPD[:1])
    with pytest.raises(ConfigError, match="attention_from 'run'"):
        Attempt(AttemptOptions(bottleneck=R + 1, attention_from="run"), inputs)


def test_mistakes_are_named():
    sources = make_sources(S, M, D)
    with pytest.raises(ConfigError, match="needs source prompts"):
        Attempt(AttemptOptions(), MethodInputs(("a",), torch.randn(M, D)))
    with pytest.raises(PromptMismatch, match=r"\(4, 6\).*\(5, 6\)"):
        Attempt(AttemptOptions(), MethodInputs(("a",), torch.randn(5, D), sources))
    with pytest.raises(PromptMismatch, match=r"'mnli'.*4 and 3 rows"):
        Attempt(
            AttemptOptions(), MethodInputs(("a",), torch.randn(M, D), {**sources, "x": SoftPrompt(torch.randn(3, D))})
        )


@pytest.mark.parametrize("score", ["constant", "dot"])
def test_an_attempt_that_trains_nothing_is_refused(score):
    with pytest.raises(ConfigError, match="trains nothing"):
        attempt(score=score, target="none")
    assert attempt(score=score, target="none", sources="trained").param_groups()
