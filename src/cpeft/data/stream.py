"""The order in which a run sees its rows: seeded, resumable, without state.

The batch of a step is a function of (seed, step) alone, so a resumed run needs only its step count.
"""

from dataclasses import dataclass, field

import numpy as np

from cpeft.seeds import generator


@dataclass
class Stream:
    """Batches of row indices: every epoch is a fresh permutation, its last batch may be smaller."""

    rows: int
    batch: int
    seed: int
    _epoch: int = field(default=-1, repr=False)
    _order: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64), repr=False)

    @property
    def steps_per_epoch(self) -> int:
        return -(-self.rows // self.batch)

    def at(self, step: int) -> list[int]:
        """Row indices of the batch of `step`, counted from 0."""
        epoch, offset = divmod(step, self.steps_per_epoch)
        if epoch != self._epoch:
            self._epoch, self._order = epoch, generator(self.seed, "epoch", epoch).permutation(self.rows)
        return [int(i) for i in self._order[offset * self.batch : (offset + 1) * self.batch]]
