"""A study long enough to be killed in, what it leaves when one process alone does it, and commands to start."""

import pytest

from launched import LIMIT_S, Started, outcome_of


@pytest.fixture
def start():
    """Starts commands, which end with the test."""
    started = Started()
    yield started
    started.end()


@pytest.fixture(scope="session")
def longer():
    """Overrides for runs that can be met in the middle: 16 runs in two stages."""
    return ("train.steps=20", "train.eval_every=10", "train.checkpoint_every=5")


@pytest.fixture(scope="session")
def alone(world, longer, tmp_path_factory):
    """What one process leaves."""
    place = tmp_path_factory.mktemp("alone")
    process = Started()(place / "out", "run", world / "study.toml", *longer, "--store", place / "store")
    assert process.wait(LIMIT_S) == 0, (place / "out").read_text()
    left = outcome_of(place / "store")
    assert len(left) == 17
    return left
