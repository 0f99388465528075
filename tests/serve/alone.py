"""Texts to ask a server about, and what `cpeft predict` answers to one of them alone; waiting for something."""

import time

import numpy as np

from cpeft.use.target import load_subject
from tiny import WORDS


def texts(count, seed):
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(WORDS, size=rng.integers(1, 40))) for _ in range(count)]


def task_of(shop, name):
    """The file of a prompt's task."""
    end = "open.toml" if name == "say" else "mood.toml"
    return next(path for path in shop.tasks if path.endswith(end) and "=" not in path)


def alone(shop, name, lm, row):
    """What `cpeft predict` answers to one row."""
    return load_subject(shop.prompts[name], lm=lm).predict(task_of(shop, name), [row])[0]


def wait_for(true, limit_s=20.0):
    end = time.monotonic() + limit_s
    while not true():
        assert time.monotonic() < end, "nothing happens"
        time.sleep(0.005)
