"""Members that take the places of those that ended: the same steps as alone, saved whatever happens, nobody's time."""

import math
import os
import signal
import time

import pytest
import torch

from cpeft.errors import Stopped
from cpeft.options.training import GangOptions
from cpeft.training.callbacks import Callback
from cpeft.training.checkpoint import load_checkpoint
from cpeft.training.engine import train_gang
from cpeft.training.signals import stopping
from tiny import make_learner, make_lm, make_member, make_rows, same_bits, trained_state

MEMBER = GangOptions(pool="member")
STEPS = {"a": 2, "b": 9, "c": 4, "d": 3}


@pytest.fixture(scope="module")
def lm():
    return make_lm("t5")


def run_of(lm, folder, name, **more):
    seed = ord(name)
    learner = make_learner(lm, "attempt", {}, seed)
    train = {"steps": STEPS[name], "eval_every": 2}
    return make_member(learner, make_rows(lm, 6, seed=seed), folder / name, order_seed=seed, train=train, **more)


@pytest.fixture
def alone(lm, tmp_path):
    """The states of all runs trained one by one."""
    states = {}
    for name in STEPS:
        train_gang([member := run_of(lm, tmp_path / "alone", name)], MEMBER)
        states[name] = trained_state(member.learner)
    return states


class Told(Callback):
    """Who made which step, in order."""

    def __init__(self):
        self.steps = []

    def on_step(self, member, record):
        self.steps.append((member.name, record["step"]))


def test_the_next_starts_when_one_ends_and_makes_the_steps_it_makes_alone(lm, tmp_path, alone):
    told, waiting, ends = Told(), ["c", "d"], []
    made = {name: run_of(lm, tmp_path, name, callbacks=[told]) for name in STEPS}

    def refill(ended):
        ends.append([member.name for member in ended])
        return [made[waiting.pop(0)] for _ in ended if waiting]

    train_gang([made["a"], made["b"]], MEMBER, refill=refill)
    assert ends == [["a"], ["c"], ["b", "d"]]
    together = [("a", 1), ("b", 1), ("a", 2), ("b", 2), ("b", 3), ("c", 1), ("b", 4), ("c", 2)]
    assert told.steps[:8] == together, "c takes the place of a at once, beside b"
    assert {name: same_bits(trained_state(made[name].learner), alone[name]) for name in STEPS} == dict.fromkeys(
        STEPS, True
    )


def test_one_that_fails_makes_room_too(lm, tmp_path, alone):
    class Poison(Callback):
        def on_step(self, member, record):
            with torch.no_grad():
                member.trainable[0][0, 0] = math.nan

    waiting = [run_of(lm, tmp_path, "c", callbacks=[Poison()]), run_of(lm, tmp_path, "d")]
    made = [run_of(lm, tmp_path, "a"), run_of(lm, tmp_path, "b"), *waiting]
    train_gang(made[:2], MEMBER, refill=lambda ended: [waiting.pop(0)] if waiting else [])
    assert [member.failure is None for member in made] == [True, True, False, True]
    assert all(same_bits(trained_state(made[i].learner), alone[name]) for i, name in ((0, "a"), (1, "b"), (3, "d")))


def test_a_signal_saves_those_that_came_later_as_well(lm, tmp_path, alone):
    class Kill(Callback):
        def on_step(self, member, record):
            if record["step"] == 3:
                os.kill(os.getpid(), signal.SIGINT)

    waiting = [run_of(lm, tmp_path, "c", callbacks=[Kill()])]
    both = [run_of(lm, tmp_path, "a"), run_of(lm, tmp_path, "b"), *waiting]
    with pytest.raises(Stopped, match="everything is saved"):
        train_gang(both[:2], MEMBER, refill=lambda ended: [waiting.pop()] if waiting else [])
    assert [load_checkpoint(member.path)[0]["step"] for member in both] == [2, 5, 3]
    again = [run_of(lm, tmp_path, name) for name in "abc"]
    train_gang(again, MEMBER)
    assert all(same_bits(trained_state(member.learner), alone[member.name]) for member in again)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_while_others_are_scored_or_loaded_saves_those_in_training(lm, tmp_path, number):
    """It interrupts what is going on, though that would swallow any exception."""

    def refill(ended):
        try:
            os.kill(os.getpid(), number)
            time.sleep(60)
        except Exception:
            return []

    pair = [run_of(lm, tmp_path, "a"), run_of(lm, tmp_path, "b", writes=True)]
    pair[1].options = pair[1].options.model_copy(update={"checkpoint_every": 99, "eval_every": 99})
    with pytest.raises(Stopped, match="re-run the same command to resume"), stopping():
        train_gang(pair, MEMBER, refill=refill)
    assert load_checkpoint(pair[1].path)[0]["step"] == 2


def test_a_mistake_in_what_comes_next_saves_those_in_training(lm, tmp_path):
    def refill(ended):
        raise KeyError("no such source")

    pair = [run_of(lm, tmp_path, "a"), run_of(lm, tmp_path, "b")]
    with pytest.raises(KeyError):
        train_gang(pair, MEMBER, refill=refill)
    assert load_checkpoint(pair[1].path)[0]["step"] == 2


def test_the_second_signal_does_not_interrupt_the_leaving(lm, tmp_path):
    """As from a terminal: one for everybody, and another from the command to its helpers."""
    left = []

    class Kill(Callback):
        def on_step(self, member, record):
            os.kill(os.getpid(), signal.SIGINT)

    def leave(work):
        try:
            work()
        finally:
            os.kill(os.getpid(), signal.SIGTERM)
            left.append("claims given back")

    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Stopped), stopping():
        leave(lambda: train_gang([run_of(lm, tmp_path, "a", callbacks=[Kill()])], MEMBER))
    with pytest.raises(Stopped), stopping():
        leave(lambda: os.kill(os.getpid(), signal.SIGINT))
    with stopping():
        with pytest.raises(Stopped), stopping():
            os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)  # amid the last words
        left.append("said why")
    assert len(left) == 3
    assert signal.getsignal(signal.SIGTERM) is before


def test_what_is_done_for_others_is_nobodys_training_time(lm, tmp_path):
    began = time.monotonic()
    pair = [run_of(lm, tmp_path, "a"), run_of(lm, tmp_path, "b")]

    def refill(ended):
        time.sleep(1.0)
        return []

    train_gang(pair, MEMBER, refill=refill)
    assert pair[1].seconds <= time.monotonic() - began - 2.0


@pytest.mark.parametrize("pool", ["member", "all"])
def test_the_seconds_of_a_gang_are_divided_among_its_runs(lm, tmp_path, pool):
    """Three runs, one of which takes a second to validate: together no more than the clock says."""
    slow, *others = gang = [run_of(lm, tmp_path, name) for name in "abc"]
    scores = slow.evaluate

    def evaluate():
        time.sleep(1.0)
        return scores()

    slow.evaluate = evaluate
    began = time.monotonic()
    train_gang(gang, GangOptions(pool=pool))
    took = time.monotonic() - began
    assert sum(member.seconds for member in gang) <= took
    assert slow.seconds > 1.0
    assert all(member.seconds < slow.seconds for member in others)
