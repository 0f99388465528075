"""The loop: failures stay alone, memory runs out, signals, selection, schedules, several processes."""

import json
import math
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cpeft.data.encode import collate, micro_batches
from cpeft.data.rows import EncodedRow
from cpeft.data.stream import Stream
from cpeft.errors import ConfigError, LostClaim, Stopped
from cpeft.methods.base import ParamGroup
from cpeft.models.prompted import PromptedLM
from cpeft.options.training import GangOptions, OptimOptions
from cpeft.training.callbacks import Callback
from cpeft.training.callbacks.metrics_file import MetricsFile
from cpeft.training.checkpoint import load_checkpoint, save_checkpoint
from cpeft.training.engine import train_gang
from cpeft.training.member import Evaluation
from cpeft.training.optim import PILOT, make_optimizer, schedule_factor
from tiny import SRC, gap, make_batch, make_learner, make_lm, make_member, make_rows, rounding, same_bits, trained_state

MEMBER = GangOptions(pool="member")


def run_of(folder, double=False, method="prompt_tuning", seed=0, lm=None, options=None, **more):
    lm = lm or make_lm("t5", double=double)
    learner = make_learner(lm, method, options or {}, seed)
    return make_member(learner, make_rows(lm, 6, seed=seed), folder, order_seed=seed, **more)


class Poison(Callback):
    """Turns a parameter into NaN after a step, as a diverging run does."""

    def __init__(self, step):
        self.step = step

    def on_step(self, member, record):
        if record["step"] == self.step:
            with torch.no_grad():
                member.trainable[0][0, 0] = math.nan


# Failures


@pytest.mark.parametrize("pool", ["member", "all"])
def test_nan_fails_one_run_and_leaves_its_neighbours_alone(tmp_path, pool):
    lm = make_lm("llama", double=True)
    gang = [run_of(tmp_path / f"g{k}", seed=k, lm=lm, callbacks=[Poison(2)] if k == 1 else []) for k in range(3)]
    train_gang(gang, GangOptions(pool=pool))
    assert [member.failure is None for member in gang] == [True, False, True]
    assert "loss is nan at step 3" in str(gang[1].failure)
    assert gang[1].step == 2
    kept = json.loads((tmp_path / "g1" / "failed_batch.json").read_text())
    assert kept["step"] == 3
    assert kept["rows"] == [
        {"source": list(r.source), "target": list(r.target), "task": 0} for r in gang[1].next_rows()
    ]
    assert not (tmp_path / "g0" / "failed_batch.json").exists()
    for k in (0, 2):
        alone = run_of(tmp_path / f"a{k}", seed=k, lm=lm)
        train_gang([alone], GangOptions(pool=pool))
        assert gap(trained_state(gang[k].learner), trained_state(alone.learner)) < (
            rounding(lm.model, 1e-10) if pool == "all" else 1e-300
        )


def test_a_gradient_that_is_not_finite_fails_before_it_spoils_the_prompt(tmp_path):
    member = run_of(tmp_path / "r")
    member.trainable[0].register_hook(lambda gradient: gradient * math.nan if member.step == 2 else gradient)
    train_gang([member], MEMBER)
    assert "gradient" in str(member.failure)
    assert member.step == 2
    assert bool(torch.isfinite(member.trainable[0]).all())


def test_other_errors_are_not_swallowed(tmp_path, monkeypatch):
    member = run_of(tmp_path / "r")
    monkeypatch.setattr(member.learner, "losses", lambda batch: (_ for _ in ()).throw(RuntimeError("shapes differ")))
    with pytest.raises(RuntimeError, match="shapes differ"):
        train_gang([member], MEMBER)


# Memory


def out_of_memory_above(monkeypatch, rows):
    """Batches of more than `rows` rows run out of memory, once in the backward half-way through a step too."""
    losses, sizes = PromptedLM.losses, []

    def limited(self, batch):
        sizes.append(len(batch))
        if len(batch) > rows:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return losses(self, batch)

    monkeypatch.setattr(PromptedLM, "losses", limited)
    return sizes


@pytest.mark.parametrize("method", ["prompt_tuning", "attempt"])
@pytest.mark.parametrize("arch", ["t5", "llama"])
def test_out_of_memory_halves_the_budget_and_changes_nothing(tmp_path, monkeypatch, method, arch):
    lm = make_lm(arch, double=True)
    still = {"eval_every": 99, "steps": 4}
    whole = run_of(tmp_path / "whole", lm=lm, method=method, train=still, evaluate=lambda: Evaluation(0.0, 0.0, {}))
    train_gang([whole], MEMBER)
    sizes = out_of_memory_above(monkeypatch, 2)
    tight = run_of(tmp_path / "tight", lm=lm, method=method, train=still, evaluate=lambda: Evaluation(0.0, 0.0, {}))
    train_gang([tight], GangOptions(pool="member", token_budget=100))
    assert tight.failure is None
    assert tight.step == 4
    assert max(sizes) > 2, "memory must have run out for this to mean anything"
    assert gap(trained_state(whole.learner), trained_state(tight.learner)) < rounding(lm.model, 1e-12)
    assert tight.budget is not None
    assert tight.budget in (50, 25)
    assert sum(size > 2 for size in sizes) <= 2, "the smaller budget is remembered"


def test_out_of_memory_in_the_middle_of_a_step_leaves_no_half_gradient(tmp_path, monkeypatch):
    lm = make_lm("t5", double=True)
    whole = run_of(tmp_path / "whole", lm=lm)
    train_gang([whole], MEMBER)
    losses, calls = PromptedLM.losses, []

    def fails_once(self, batch):
        calls.append(len(batch))
        if len(calls) == 2 and torch.is_grad_enabled():
            raise torch.OutOfMemoryError("out of memory")
        return losses(self, batch)

    monkeypatch.setattr(PromptedLM, "losses", fails_once)
    tight = run_of(tmp_path / "tight", lm=lm)
    train_gang([tight], GangOptions(pool="member", token_budget=32))
    assert gap(trained_state(whole.learner), trained_state(tight.learner)) < rounding(lm.model, 1e-12)


def test_out_of_memory_in_a_pooled_gang(tmp_path, monkeypatch):
    """The gang halves together; results stay those of runs alone."""
    import cpeft.training.engine as engine

    lm = make_lm("t5", double=True)
    alone = [run_of(tmp_path / f"a{k}", lm=lm, seed=k) for k in range(2)]
    for member in alone:
        train_gang([member], MEMBER)
    pooled = engine.pooled_losses

    def limited(learners, rows):
        if sum(map(len, rows)) > 3:
            raise torch.OutOfMemoryError("out of memory")
        return pooled(learners, rows)

    monkeypatch.setattr(engine, "pooled_losses", limited)
    gang = [run_of(tmp_path / f"g{k}", lm=lm, seed=k) for k in range(2)]
    train_gang(gang, GangOptions(pool="all"))
    assert all(member.budget for member in gang)
    for a, b in zip(alone, gang, strict=True):
        assert gap(trained_state(a.learner), trained_state(b.learner)) < rounding(lm.model, 1e-10)


def test_a_single_row_that_does_not_fit_fails_its_run_alone(tmp_path, monkeypatch):
    losses = PromptedLM.losses

    def limited(self, batch):
        if batch.source_BL.shape[1] > 20:
            raise torch.OutOfMemoryError("out of memory")
        return losses(self, batch)

    lm = make_lm("t5", double=True)
    alone = run_of(tmp_path / "alone", lm=lm)
    train_gang([alone], MEMBER)
    monkeypatch.setattr(PromptedLM, "losses", limited)
    good, bad = run_of(tmp_path / "good", lm=lm), run_of(tmp_path / "bad", lm=lm, seed=1)
    bad.rows = [*bad.rows[:-1], EncodedRow(tuple(range(8, 38)), (10, 1))]
    train_gang([good, bad], MEMBER)
    assert good.failure is None
    assert same_bits(trained_state(good.learner), trained_state(alone.learner))
    assert "single row of 34 tokens" in str(bad.failure)
    assert "data.max_source" in str(bad.failure)


# Exactness


@pytest.mark.parametrize("budget", [1, 30, 57])
def test_gradient_accumulation_is_exact(tmp_path, budget):
    lm = make_lm("bart", double=True)
    states = []
    for tokens in (100_000, budget):
        member = run_of(tmp_path / str(tokens), lm=lm, method="attempt")
        train_gang([member], GangOptions(pool="member", token_budget=tokens))
        states.append(trained_state(member.learner))
    assert gap(*states) < 1e-11


def test_a_step_is_the_mean_over_target_tokens(tmp_path):
    """One plain step by hand: AdamW on the batch's mean token loss."""
    member = run_of(tmp_path / "r", double=True, train={"steps": 1, "batch": 6}, optim={"weight_decay": 0.1})
    other = run_of(tmp_path / "o", double=True)
    rows = member.rows
    loss = other.learner.losses(make_batch(rows))[0].sum() / sum(len(row.target) for row in rows)
    optimizer = torch.optim.AdamW(other.trainable, lr=0.05, weight_decay=0.1)
    loss.backward()
    optimizer.step()
    lines = []
    member.callbacks = [type("Log", (Callback,), {"on_step": lambda self, m, record: lines.append(record)})()]
    train_gang([member], MEMBER)
    assert gap(trained_state(member.learner), trained_state(other.learner)) < 1e-12
    assert lines[0]["loss"] == pytest.approx(float(loss.detach()), rel=1e-12)
    assert lines[0]["gradient_norm"] == pytest.approx(float(other.trainable[0].grad.norm()), rel=1e-9)
    assert lines[0]["lr"] == 0.05


def test_clipping_bounds_the_gradient(tmp_path):
    """Plain comparison with torch's own clipping; the norm that is logged is the one before it."""
    bound, records = 1e-3, []
    keep = type("Log", (Callback,), {"on_step": lambda self, m, record: records.append(record)})()
    member = run_of(tmp_path / "r", double=True, train={"steps": 1}, optim={"clip": bound}, callbacks=[keep])
    seen = {}
    member.optimizer.register_step_pre_hook(lambda o, a, k: seen.update(norm=float(member.trainable[0].grad.norm())))
    train_gang([member], MEMBER)
    assert seen["norm"] == pytest.approx(bound, rel=1e-2)
    assert records[0]["gradient_norm"] > 10 * bound


def test_base_dropout_is_the_models_own_and_repeatable(tmp_path):
    lm = make_lm("t5")
    states = {}
    for name, mode, seed in (("off", "off", 1), ("on", "on", 1), ("again", "on", 1), ("other", "on", 2)):
        member = run_of(tmp_path / name, lm=lm, train={"base_dropout": mode, "steps": 3}, dropout_seed=seed)
        torch.manual_seed(len(states))
        train_gang([member], MEMBER)
        states[name] = trained_state(member.learner)
        assert not lm.model.training
    assert same_bits(states["on"], states["again"])
    assert not same_bits(states["on"], states["off"])
    assert not same_bits(states["on"], states["other"])


# Selection and ends


def scripted(values):
    """An `evaluate` that returns (headline, loss) pairs in turn."""
    turn = iter(values)
    return lambda: Evaluation(*next(turn), {"accuracy": 1.0})


SCORES = [(10.0, 3.0), (30.0, 2.0), (20.0, 1.0), (30.0, 1.5)]


@pytest.mark.parametrize(("select", "higher", "best"), [("metric", True, 2), ("metric", False, 1), ("loss", True, 3)])
def test_the_best_state_is_put_back(tmp_path, select, higher, best):
    states = {}
    watch = type("Watch", (Callback,), {"on_eval": lambda s, m, r: states.update({m.step: trained_state(m.learner)})})()
    train = {"steps": 4, "eval_every": 1, "select": select}
    evaluate = scripted(SCORES)
    member = run_of(tmp_path / "r", evaluate=evaluate, higher_is_better=higher, callbacks=[watch], train=train)
    train_gang([member], MEMBER)
    assert member.best_step == best
    assert (member.best_headline, member.best_loss) == SCORES[best - 1]
    assert same_bits(trained_state(member.learner), states[best])
    assert not same_bits(states[best], states[4])


def test_patience_ends_a_run_early_and_the_neighbour_goes_on(tmp_path):
    lm = make_lm("t5")
    values = [(5.0, 1.0), (4.0, 1.0), (6.0, 1.0), (6.0, 1.0), (1.0, 1.0), (9.0, 1.0)]
    train = {"steps": 6, "eval_every": 1, "patience": 2}
    member = run_of(tmp_path / "r", lm=lm, evaluate=scripted(values), train=train)
    other = run_of(tmp_path / "o", lm=lm)
    train_gang([member, other], MEMBER)
    assert member.step == 5
    assert member.stopped == "no gain in 2 evaluations"
    assert member.best_step == 3
    assert other.step == 6
    again = run_of(tmp_path / "r", lm=lm, evaluate=scripted([]), train=train)
    train_gang([again], MEMBER)
    assert again.step == 5
    assert same_bits(trained_state(again.learner), trained_state(member.learner))


def test_a_checkpoint_of_other_settings_is_refused(tmp_path):
    lm = make_lm("t5")
    train_gang([run_of(tmp_path / "r", lm=lm, identity="these")], MEMBER)
    again = run_of(tmp_path / "r", lm=lm, identity="these")
    again.start()
    assert again.step == 6
    with pytest.raises(ConfigError, match="belongs to other settings, data or sources; give another folder"):
        run_of(tmp_path / "r", lm=lm, identity="others").start()


@pytest.mark.parametrize("step", [3, 6])
def test_a_signal_stops_with_everything_saved(tmp_path, step):
    """SIGTERM in the middle or in the last step: Stopped, exit code 4, and the same call goes on to the same result."""
    lm = make_lm("t5")
    kill = type(
        "Kill", (Callback,), {"on_step": lambda s, m, r: r["step"] == step and os.kill(os.getpid(), signal.SIGTERM)}
    )()
    before = signal.getsignal(signal.SIGTERM)
    quiet = {"checkpoint_every": 99, "eval_every": 99}
    pair = [
        run_of(tmp_path / "r0", lm=lm, callbacks=[kill], train=quiet),
        run_of(tmp_path / "r1", lm=lm, seed=1, train=quiet),
    ]
    with pytest.raises(Stopped, match="saved") as caught:
        train_gang(pair, MEMBER)
    assert caught.value.exit_code == 4
    assert signal.getsignal(signal.SIGTERM) is before
    assert [member.step for member in pair] == [step, step]
    assert all(load_checkpoint(member.path)[0]["step"] == step for member in pair)
    for k in range(2):
        resumed, whole = (run_of(tmp_path / f, lm=lm, seed=k, train=quiet) for f in (f"r{k}", f"w{k}"))
        train_gang([resumed], MEMBER)
        train_gang([whole], MEMBER)
        assert same_bits(trained_state(resumed.learner), trained_state(whole.learner))


def test_a_lost_claim_writes_nothing(tmp_path):
    def guard():
        raise LostClaim("somebody else holds it")

    member = run_of(tmp_path / "r", guard=guard, callbacks=[MetricsFile()])
    train_gang([member], MEMBER)
    assert isinstance(member.failure, LostClaim)
    assert not (tmp_path / "r").exists()


def test_other_processes_write_nothing(tmp_path):
    member = run_of(tmp_path / "r", writes=False)
    train_gang([member], MEMBER)
    assert member.step == 6
    assert not (tmp_path / "r").exists()


def test_steps_and_epochs(tmp_path):
    assert run_of(tmp_path / "a", train={"steps": None, "epochs": 2.5}).total == 5  # six rows in batches of four
    for wrong in ({"steps": 3, "epochs": 1.0}, {"steps": None}):
        with pytest.raises(ConfigError, match="either steps or epochs"):
            run_of(tmp_path / "b", train=wrong)


def test_metrics_file_is_cut_back_on_resumption(tmp_path):
    lm, file, whole = make_lm("t5"), tmp_path / "r" / "metrics.jsonl", tmp_path / "w" / "metrics.jsonl"
    for path in (file, whole):
        path.parent.mkdir()

    class Crash(Callback):
        def on_step(self, member, record):
            if record["step"] == 5:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_gang([run_of(tmp_path / "r", lm=lm, callbacks=[MetricsFile(), Crash()])], MEMBER)
    with file.open("a") as stream:
        stream.write('{"step": 5, "lo')  # cut by the kill
    train_gang([run_of(tmp_path / "r", lm=lm, callbacks=[MetricsFile()])], MEMBER)
    train_gang([run_of(tmp_path / "w", lm=lm, callbacks=[MetricsFile()])], MEMBER)
    assert file.read_text() == whole.read_text()
    records = [json.loads(line) for line in file.read_text().splitlines()]
    assert [r["step"] for r in records if "loss" in r] == [1, 2, 3, 4, 5, 6]
    assert [r["step"] for r in records if "headline" in r] == [3, 6]


@pytest.mark.parametrize("name", ["adamw", "adafactor"])
def test_optimisers_resume_bit_for_bit(tmp_path, name):
    lm = make_lm("t5")

    class Crash(Callback):
        def on_step(self, member, record):
            if record["step"] == 5:
                raise KeyboardInterrupt

    whole = run_of(tmp_path / "w", lm=lm, optim={"name": name})
    train_gang([whole], MEMBER)
    with pytest.raises(KeyboardInterrupt):
        train_gang([run_of(tmp_path / "r", lm=lm, optim={"name": name}, callbacks=[Crash()])], MEMBER)
    resumed = run_of(tmp_path / "r", lm=lm, optim={"name": name})
    train_gang([resumed], MEMBER)
    assert same_bits(trained_state(whole.learner), trained_state(resumed.learner))


def test_checkpoint_round_trip(tmp_path):
    states = {
        "learner": {"a/b": torch.randn(2, 3), "t": torch.tensor(1.5)},
        "best": {"a/b": torch.ones(2, dtype=torch.long)},
    }
    counters = {"step": 3, "best_loss": -math.inf, "budget": None}
    save_checkpoint(tmp_path / "c" / "x.safetensors", counters, **states)
    got, loaded = load_checkpoint(tmp_path / "c" / "x.safetensors")
    assert got == counters
    assert loaded.keys() == states.keys()
    assert all(same_bits(loaded[name], states[name]) for name in states)
    assert [file.name for file in (tmp_path / "c").iterdir()] == ["x.safetensors"]


# Schedules and optimisers


def factors(total, **options):
    return [schedule_factor(OptimOptions(**options), step, total) for step in range(total)]


def test_schedules():
    assert factors(6, warmup=2, schedule="linear") == pytest.approx([0.5, 1, 1, 0.75, 0.5, 0.25])
    assert factors(6, warmup=2, schedule="constant") == pytest.approx([0.5, 1, 1, 1, 1, 1])
    cosine = [(1 + math.cos(math.pi * k / 4)) / 2 for k in range(4)]
    assert factors(6, warmup=2, schedule="cosine") == pytest.approx([0.5, 1, *cosine])
    assert factors(4, warmup=0, schedule="linear", floor=0.2) == pytest.approx([1, 0.8, 0.6, 0.4])
    assert factors(20, warmup=0.1) == factors(20, warmup=2)
    assert factors(3, warmup=10) == pytest.approx([0.1, 0.2, 0.3])
    assert schedule_factor(OptimOptions(warmup=0, floor=0.1), 99, 10) == pytest.approx(0.1)


def test_linear_schedule_equals_transformers():
    from transformers import get_linear_schedule_with_warmup

    parameter = torch.nn.Parameter(torch.zeros(1))
    reference = torch.optim.SGD([parameter], lr=1.0)
    schedule = get_linear_schedule_with_warmup(reference, 5, 25)
    theirs = []
    for _ in range(25):
        theirs.append(reference.param_groups[0]["lr"])
        reference.step()
        schedule.step()
    ours = factors(25, warmup=5)
    assert ours[5:] == pytest.approx(theirs[5:])
    assert ours[:5] == pytest.approx([rate + 0.2 for rate in theirs[:5]])  # theirs wastes its first step on rate 0


def test_groups_keep_their_own_rates(tmp_path):
    """The rates of the method or the rule, and the same share of both under the schedule."""
    member = run_of(
        tmp_path / "r", method="attempt", options={"attention_lr": 0.1}, scale=0.2, optim={"lr": None, "warmup": 0.0}
    )
    rates = [[group["lr"] for group in member.optimizer.param_groups]]
    watch = {"on_step": lambda s, m, r: rates.append([group["lr"] for group in m.optimizer.param_groups])}
    member.callbacks = [type("Watch", (Callback,), watch)()]
    train_gang([member], MEMBER)
    assert rates[0] == pytest.approx([PILOT * 0.2, 0.1])
    for step, now in enumerate(rates[1:]):
        assert now == pytest.approx([rate * schedule_factor(member.optim, step, 6) for rate in rates[0]])
    fixed = make_optimizer(OptimOptions(lr=0.3), [ParamGroup("prompt", [torch.nn.Parameter(torch.zeros(2))])], 3.0)
    assert fixed.param_groups[0]["lr"] == 0.3


def test_weight_decay_without_gradient_shrinks_by_rate_times_decay():
    parameter = torch.nn.Parameter(torch.full((3,), 2.0))
    optimizer = make_optimizer(OptimOptions(lr=0.1, weight_decay=0.5), [ParamGroup("prompt", [parameter])], 1.0)
    parameter.grad = torch.zeros(3)
    optimizer.step()
    torch.testing.assert_close(parameter.detach(), torch.full((3,), 2.0 * (1 - 0.1 * 0.5)))


# Rows


@given(st.integers(1, 40), st.integers(1, 15), st.integers(0, 99), st.integers(0, 5))
@settings(max_examples=60)
def test_every_epoch_is_a_permutation_and_any_step_can_be_asked_for(rows, batch, seed, epoch):
    stream = Stream(rows, batch, seed)
    per = stream.steps_per_epoch
    drawn = [stream.at(epoch * per + k) for k in range(per)]
    assert sorted(i for part in drawn for i in part) == list(range(rows))
    assert all(len(part) == batch for part in drawn[:-1])
    for k in reversed(range(per)):  # a fresh stream, asked out of order, as after a restart
        assert Stream(rows, batch, seed).at(epoch * per + k) == drawn[k]


def test_epochs_and_seeds_differ():
    orders = {tuple(Stream(30, 30, seed).at(step)) for seed in range(3) for step in range(3)}
    assert len(orders) == 9


@given(st.lists(st.integers(1, 30), min_size=1, max_size=30), st.integers(1, 100))
@settings(max_examples=80)
def test_micro_batches_keep_to_the_budget(widths, budget):
    groups = micro_batches(range(len(widths)), widths.__getitem__, budget)
    assert sorted(i for group in groups for i in group) == list(range(len(widths)))
    for group in groups:
        assert len(group) == 1 or len(group) * max(widths[i] for i in group) <= budget


@given(st.lists(st.integers(1, 30), min_size=1, max_size=30), st.integers(1, 60))
@settings(max_examples=80)
def test_a_full_micro_batch_takes_no_row_that_it_would_pad(widths, enough):
    for group in micro_batches(range(len(widths)), widths.__getitem__, 10**6, enough):
        widest = widths[group[0]]
        for count, row in enumerate(group):
            assert count * widest < enough or 8 * widths[row] >= 7 * widest
    whole = micro_batches(range(len(widths)), widths.__getitem__, 10**6)
    assert len(whole) == 1


@pytest.mark.parametrize(("arch", "pads"), [("t5", False), ("llama", False), ("bart", True), ("gpt2", True)])
def test_rows_of_like_length_share_a_pass_where_padding_costs_time(arch, pads, tmp_path, monkeypatch):
    """The same losses and steps up to rounding, in passes that are padded less."""
    monkeypatch.setattr("cpeft.training.engine.ENOUGH", 12)
    lm = make_lm(arch, double=True)
    assert lm.pads == pads
    member, seen = run_of(tmp_path / "a", lm=lm, train={"steps": 2}), []
    losses = member.learner.losses
    monkeypatch.setattr(member.learner, "losses", lambda batch: seen.append(batch.source_BL.shape) or losses(batch))
    train_gang([member], MEMBER)
    passes = [shape for shape in seen if shape[0] < 6]  # all six rows are those of validation
    assert (len(passes) > 2) == pads
    monkeypatch.setattr("cpeft.training.engine.ENOUGH", 10**6)
    whole = run_of(tmp_path / "b", lm=lm, train={"steps": 2})
    train_gang([whole], MEMBER)
    assert gap(trained_state(member.learner), trained_state(whole.learner)) < rounding(lm.model, 1e-9)


def test_collate():
    batch = collate([EncodedRow((5, 6, 7), (8,), 1), EncodedRow((9,), (3, 4))], pad=0)
    assert batch.source_BL.tolist() == [[5, 6, 7], [9, 0, 0]]
    assert batch.mask_BL.tolist() == [[True] * 3, [True, False, False]]
    assert batch.target_BT.tolist() == [[8, -100], [3, 4]]
    assert batch.task_B.tolist() == [1, 0]
    assert collate([EncodedRow((5,), (8,))], 0, max_length=4).source_BL.shape == (1, 4)
    assert collate([EncodedRow((pad := 0,), (8,))], pad).mask_BL.tolist() == [[True]], "a mask knows lengths, not ids"


@pytest.mark.parametrize("arch", ["t5", "llama"])
def test_a_cut_source_keeps_the_end_token_or_the_answer_cue(arch):
    codec = make_lm(arch).text
    cue = " w7 w8"
    whole, none = codec.sources(["w1 w2 w3 w4 w5 w6"], cue)
    assert none == 0
    cut, one = codec.sources(["w1 w2 w3 w4 w5 w6", "w1"], cue, limit=4)
    assert one == 1
    assert len(cut[0]) == 4
    tail = 1 if arch == "t5" else 2
    assert cut[0][-tail:] == whole[0][-tail:]
    assert cut[0][:2] == whole[0][:2]
    assert codec.sources(["w1"], cue, limit=4)[0] == codec.sources(["w1"], cue)[0]


# Several processes

SCRIPT = """
import atexit, os, sys
sys.path.insert(0, {tests!r})
from pathlib import Path
import torch
torch.set_num_threads(1)
from tiny import make_learner, make_lm, make_member, make_rows, trained_state
from cpeft.training.engine import GangOptions, train_gang
from cpeft.training.workers import Workers

left = Path({folder!r}) / f"left-{{os.environ.get('WORLD_SIZE', 1)}}-{{os.environ.get('RANK', 0)}}"
atexit.register(lambda: None if torch.distributed.is_initialized() else left.touch())  # runs after what Workers registers
workers = Workers()
lm = make_lm("t5", double=True)
members = []
for pool in ("member", "all"):
    gang = []
    for k in range(2):
        learner = make_learner(lm, "attempt", {{}}, seed=k)
        folder = Path({folder!r}) / f"{{workers.world}}-{{pool}}-{{k}}"
        gang.append(make_member(learner, make_rows(lm, 7, seed=k), folder, writes=workers.first))
    train_gang(gang, GangOptions(pool=pool), workers)
    members += gang
shared = workers.gather(workers.share(list(range(7))))
assert shared == list(range(7)), shared
assert workers.agree(workers.rank == 0) and not workers.agree(False)
assert workers.broadcast(workers.rank) == 0
torch.save([trained_state(m.learner) for m in members], Path({folder!r}) / f"{{workers.world}}-{{workers.rank}}.pt")
"""


@pytest.mark.slow
def test_two_processes_equal_one(tmp_path):
    (tmp_path / "train.py").write_text(SCRIPT.format(tests=str(Path(__file__).parents[1]), folder=str(tmp_path)))
    env = {**os.environ, "PYTHONPATH": SRC, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    for command in ([], launch):
        done = subprocess.run(
            [sys.executable, *command, str(tmp_path / "train.py")], env=env, capture_output=True, text=True, timeout=180
        )
        assert done.returncode == 0, done.stderr[-3000:]
    assert {path.name for path in tmp_path.glob("left-*")} == {"left-1-0", "left-2-0", "left-2-1"}, (
        "a process ended inside its group"
    )
    one, first, second = (torch.load(tmp_path / f"{name}.pt") for name in ("1-0", "2-0", "2-1"))
    assert len(one) == 4
    for k in range(4):
        assert gap(one[k], first[k]) < 1e-6
        assert same_bits(first[k], second[k]), "every process holds the same prompt"


def test_one_process_needs_no_accelerate(monkeypatch):
    from cpeft.training.workers import Workers

    monkeypatch.setitem(sys.modules, "accelerate", None)
    workers = Workers()
    assert (workers.world, workers.rank, workers.first) == (1, 0, True)
    assert workers.share([1, 2, 3]) == workers.gather([1, 2, 3]) == [1, 2, 3]
    assert workers.agree(True)
    assert not workers.agree(False)
    assert workers.broadcast(5) == 5
    tensor = torch.ones(2)
    workers.sum([tensor])
    assert np.array_equal(tensor.numpy(), [1, 1])
