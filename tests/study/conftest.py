"""A study long enough to be killed in, and what it leaves when one process alone does it."""

import pytest

from launched import outcome_of, start_cpeft


@pytest.fixture(scope="session")
def longer():
    """Overrides for runs that can be met in the middle: 16 runs in two stages."""
    return ("train.steps=20", "train.eval_every=10", "train.checkpoint_every=5")


@pytest.fixture(scope="session")
def alone(world, longer, tmp_path_factory):
    """What one process leaves."""
    place = tmp_path_factory.mktemp("alone")
    process = start_cpeft(place / "out", "run", world / "study.toml", *longer, "--store", place / "store")
    assert process.wait(120) == 0, (place / "out").read_text()
    left = outcome_of(place / "store")
    assert len(left) == 17
    return left
