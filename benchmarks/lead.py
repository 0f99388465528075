"""python -m benchmarks.lead: what it gains to compute once what all texts begin with, an instruction or in-context examples.

Both sides are ours, on SmolLM2 and the rows of mini/support, and take turns in one process: with the common beginning behind
each prompt, and with every row for itself. One thread, processor time."""

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

from cpeft.data.options import DataOptions
from cpeft.evaluation.decoding import decode_rows
from cpeft.evaluation.task_data import TaskData, task_data
from cpeft.methods import METHODS, MethodInputs
from cpeft.models.fast import causal_reading, packed_llama
from cpeft.models.loading import FrozenLM, load_lm
from cpeft.models.prompted import PromptedLM
from cpeft.options.evaluation import EvalOptions

ROWS, BATCH, P = 24, 8, 16
USUAL, NEVER = packed_llama.LEAD, 10**9


def learner(lm: FrozenLM) -> PromptedLM:
    """A prompt that has read nothing yet."""
    method = METHODS.get("prompt_tuning")
    return PromptedLM(lm, method(method.Options(), MethodInputs(("task",), lm.vocabulary.table_VD[100 : 100 + P])))


def rows_of(lm: FrozenLM, **examples: int) -> TaskData:
    """mini/support behind its instruction, and behind in-context examples where these are asked for."""
    limits = {"limit_train": 64, "limit_validation": 8, "limit_test": ROWS, "max_source": 512}
    return task_data("mini/support", None, DataOptions(form="instruction", **limits, **examples), 0, lm)


def step(lm: FrozenLM, data: TaskData) -> float:
    """The loss of a batch, with its gradient."""
    fresh = learner(lm)
    loss = fresh.losses(fresh.layout.batch(data.rows("train", 0)[:BATCH]))[0].sum()
    loss.backward()
    return float(loss.detach())


def choices(lm: FrozenLM, data: TaskData) -> list[str | None]:
    """The most probable labels of the test rows."""
    found = decode_rows(learner(lm), data.rows("test", 0), data.closed, EvalOptions(decode=("choice",)))
    return [row.choice for row in found]


def gain(work: Callable[[], Any], rounds: int) -> tuple[float, float, float]:
    """The median ratio of the two ways, its least and its largest; raises AssertionError where they find other things."""
    ratios = []
    for number in range(rounds + 1):  # one to warm up
        times, found = [], []
        for least in (USUAL, NEVER):
            packed_llama.LEAD = causal_reading.LEAD = least
            began = time.process_time()
            found.append(work())
            times.append(time.process_time() - began)
            packed_llama.LEAD = causal_reading.LEAD = USUAL
        alike = found[0] == found[1] or abs(found[0] - found[1]) < 1e-4 * abs(found[0])
        assert alike, found
        ratios += [times[1] / times[0]] if number else []
    return statistics.median(ratios), min(ratios), max(ratios)


def main() -> None:
    torch.set_num_threads(1)
    lm = load_lm("smollm2", dtype="float32")
    plain, shown = rows_of(lm), rows_of(lm, examples=8, examples_tokens=256)
    rows = {
        f"training step, batch {BATCH}": (lambda: step(lm, plain), 5),
        f"choice of 6 labels, {ROWS} rows": (lambda: choices(lm, plain), 3),
        f"the same behind in-context examples of up to 256 tokens, {ROWS} rows": (lambda: choices(lm, shown), 3),
    }
    print("| what | times as fast | least to largest | n |\n|---|---:|---|---:|")
    for name, (work, rounds) in rows.items():
        middle, low, high = gain(work, rounds)
        print(f"| {name} | {middle:.2f} | {low:.2f} to {high:.2f} | {rounds} |", flush=True)


if __name__ == "__main__":
    main()
