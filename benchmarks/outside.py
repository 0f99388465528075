"""How much of training and evaluation goes into anything but the model: batches, optimiser, logging, decoding, scores."""

import time
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import torch

from benchmarks.scene import LABELS, Ours, frozen, learner, model, rows_of
from cpeft.data.rows import EncodedRow
from cpeft.evaluation.decoding import decode_rows
from cpeft.evaluation.scoring import score_texts
from cpeft.models.fast.packed_t5 import PackedT5
from cpeft.models.fast.reading import Reading
from cpeft.options.evaluation import EvalOptions
from cpeft.options.training import GangOptions


class Clock:
    """Adds up the processor time of calls; of calls inside calls the outer one alone."""

    def __init__(self) -> None:
        self.seconds, self.inside = 0.0, False

    def around(self, work: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any, **kwargs: Any) -> Any:
            if self.inside:
                return work(*args, **kwargs)
            self.inside, began = True, time.process_time()
            try:
                return work(*args, **kwargs)
            finally:
                self.inside = False
                self.seconds += time.process_time() - began

        return timed


def shares(rounds: int, shape: str = "small") -> dict[str, float]:
    """The share outside the model of a training step and of an evaluation with its scores, batch 8."""
    rows = rows_of("SST-2", 64)
    step = Ours([learner(frozen(model(shape)))], rows, 8, GangOptions(), steps=8)
    mine = learner(frozen(model(shape)))
    asked = [EncodedRow(row.source, ()) for row in rows]

    def evaluate() -> None:
        texts = [row.text for row in decode_rows(mine, asked, LABELS, EvalOptions())]
        score_texts("accuracy", texts, [(LABELS[0],)] * len(texts), LABELS, resamples=1000)

    return {"training": _outside(step, rounds), "evaluation": _outside(evaluate, rounds)}


def _outside(work: Callable[[], object], rounds: int) -> float:
    work()
    clock, began = Clock(), time.process_time()
    names = ("losses", "encode")
    generate = type(model("toy")).generate
    with (
        patch.multiple(PackedT5, **{name: clock.around(getattr(PackedT5, name)) for name in names}),
        patch.object(Reading, "answers", clock.around(Reading.answers)),
        patch.object(torch.Tensor, "backward", clock.around(torch.Tensor.backward)),
        patch.object(type(model("toy")), "generate", clock.around(generate)),
    ):
        for _ in range(rounds):
            work()
    return 1 - clock.seconds / (time.process_time() - began)
