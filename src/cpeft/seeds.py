"""Seeds: every draw takes a generator named for its purpose.

`derive` maps a seed and a purpose to a new seed through SHA-256, so draws for different purposes are independent of
each other and of their number. Nothing here keeps state, which is why a resumed run needs no random
state in its checkpoint.
"""

import hashlib

import numpy as np


def derive(seed: int, *purpose: object) -> int:
    """A 63-bit seed for `purpose`, e.g. `derive(0, "order", epoch)`."""
    text = "/".join(str(part) for part in (seed, *purpose))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(seed: int, *purpose: object) -> np.random.Generator:
    """A numpy generator for one purpose."""
    return np.random.default_rng(derive(seed, *purpose))
