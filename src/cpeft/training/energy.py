"""Electricity and emissions of each run of a gang, kept in its run folder and recorded in its result.

The runs of a gang share a process and its passes, so what the process spent while training is divided: between two readings
each run gets the share of tokens (prompt rows and sources, and targets where one model reads both) of its steps' rows,

    energy_k = sum over readings of  energy * tokens_k / sum_j tokens_j

or an even share where no run made a step (prompts scored as they are). Validation is not counted apart: it goes with the
steps. Scoring test rows is one run after the other, and each pays its own. Loading models and rows is not counted, as in
`seconds`. What a stopped or killed process spent stays on the account, up to `LAP_S` before a kill.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

from cpeft.errors import LostClaim
from cpeft.files import write_json
from cpeft.options.training import EnergyOptions
from cpeft.store.result import Energy, Spent
from cpeft.training.callbacks import Callback, RunInTraining
from cpeft.training.carbon import Meter
from cpeft.training.workers import Workers

LAP_S = 60.0  # between two divisions of what was spent
SHORT = 0.9  # a result notes where less than this share of a run's seconds was measured


class EnergyMeter(Callback):
    """One for a whole gang, whose runs may come and go. Several processes on one run: the first measures the whole machine it
    runs on."""

    def __init__(self, options: EnergyOptions, workers: Workers) -> None:
        here = options if workers.first else EnergyOptions(measure="off")
        self.meter = Meter(here, whole_machine=workers.world > 1)
        self.options = options
        self.training: dict[RunInTraining, Spent] = {}
        self.scored: dict[RunInTraining, Spent] = {}
        self.done: dict[RunInTraining, int] = {}  # steps whose electricity is divided, of those that train
        self.ended: set[RunInTraining] = set()  # among them
        self.most = 0  # that trained at once
        self.since = time.monotonic()

    def on_start(self, member: RunInTraining) -> None:
        self.training[member] = member.folder.energy() or Spent()
        self.done[member] = member.step
        self.most = max(self.most, len(self.done))
        self.resume()

    def pause(self) -> None:
        """What follows is not training: runs that ended are scored, others loaded."""
        self._divide(self.meter.stop())

    def resume(self) -> None:
        """Training continues, if a run is left."""
        if self.done and not self.meter.running:
            self.since = time.monotonic()
            self.meter.start()

    def on_step(self, member: RunInTraining, record: dict[str, Any]) -> None:
        if time.monotonic() - self.since >= LAP_S:
            self._divide(self.meter.lap())

    on_eval = on_step

    def on_end(self, member: RunInTraining) -> None:
        """When training is over for all, what follows is paid by the run that is scored."""
        self.ended.add(member)
        if self.ended >= self.done.keys():
            self.pause()

    def on_close(self, member: RunInTraining) -> None:
        """Write down what was spent, and let go of the run, which would stay in memory as long as its gang."""
        self._divide(self.meter.stop())
        self.done.pop(member, None)
        self.ended.discard(member)
        for account in (self.training, self.scored):
            account.pop(member, None)

    def _divide(self, spent: Spent | None) -> None:
        """Charge what was spent since the last division to the runs in training, and write it to their folders."""
        self.since = time.monotonic()
        if spent is not None:
            tokens = {member: member.tokens_since(self.done[member]) for member in self.done}
            every = sum(tokens.values())
            for member, own in tokens.items():
                self.training[member] += spent.share(own / every if every else 1 / len(tokens))
                self.done[member] = member.step
                if self._may_write(member):
                    write_json(member.folder.energy_path, asdict(self.training[member]))
        for member in self.ended:
            self.done.pop(member, None)
        self.ended.clear()

    @staticmethod
    def _may_write(member: RunInTraining) -> bool:
        """Whether the run is still ours; what becomes of one that is not is decided where it writes next."""
        try:
            member.guard()
        except LostClaim:
            return False
        return True

    @contextmanager
    def scoring(self, member: RunInTraining) -> Iterator[None]:
        """While the block runs, this run alone pays."""
        self.meter.start()
        try:
            yield
        finally:
            self.scored[member] = self.meter.stop() or Spent()

    def spent(self, member: RunInTraining) -> tuple[Energy | None, str | None]:
        """What a result says of it: what the run spent, or None and why that is not known."""
        training, scoring = self.training.get(member, Spent()), self.scored.get(member, Spent())
        whole = training + scoring
        if not whole.seconds:
            return None, self.meter.reason
        notes = [*self.meter.notes, *([self.meter.reason] if self.meter.reason else [])]
        if training.seconds < SHORT * member.seconds:  # in a gang `seconds` are its own share, so less is noticed
            notes.append(f"{training.seconds:.0f} of {member.seconds:.0f} seconds of training were measured")
        energy = Energy(
            kwh=whole.kwh, kg=whole.kg, training=training, scoring=scoring,
            intensity=whole.kg / whole.kwh if whole.kwh else None, country=self.options.country,
            scope="machine" if self.meter.whole_machine else "process", gang=self.most, sensors=tuple(self.meter.sensors),
            notes=tuple(notes), codecarbon=version("codecarbon"),
        )  # fmt: skip
        return energy, None
