"""Peak memory of work, each in a process of its own: python -m benchmarks.memory KEY prints mebibytes.

The peak is the process's resident set: with interpreter, libraries and model, and what the work adds to these.
"""

import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

from benchmarks import mixture
from benchmarks.measure import Work
from benchmarks.peers import PeftLoop, published_mixture
from benchmarks.scene import Ours, frozen, learner, model, rows_of
from cpeft.options.training import GangOptions


def gang(size: int, pool: str) -> Work:
    """A step of a gang of T5-small, batch 8."""
    lm, rows = frozen(model("small")), rows_of("SST-2", 64)
    lm.packed  # noqa: B018 (rearranged matrices are the model's, not the step's)
    return Ours([learner(lm, seed=i) for i in range(size)], rows, 8, GangOptions(pool=pool))  # type: ignore[arg-type]


def peft(width: int | None) -> Work:
    made = model("small")
    prompt = learner(frozen(model("small", layers=1))).method.export()["task"].weight
    return PeftLoop(made, prompt, rows_of("SST-2", 8), width, dropout=False)


def ours_mixed(sources: int) -> Work:
    method, context = mixture.scene(sources, 32)
    return lambda: method(context).prompt_BPD.sum().backward()


def theirs_mixed(sources: int) -> Work:
    method, context = mixture.scene(sources, 32)
    return lambda: published_mixture(method, context.x_BLD, context.mask_BL).sum().backward()


SCENES: dict[str, Callable[[], Work]] = {
    **{f"gang-{k}-{pool}": partial(gang, k, pool) for k in (1, 8) for pool in ("member", "all")},
    "peft-256": partial(peft, 256), "peft-dynamic": partial(peft, None),
    **{f"mixture-{s}": partial(ours_mixed, s) for s in (6, 64)},
    **{f"published-mixture-{s}": partial(theirs_mixed, s) for s in (6, 64)},
}  # fmt: skip


def peak(key: str) -> tuple[float, float]:
    """Mebibytes: the whole process's peak, and what the work added to it."""
    said = subprocess.run([sys.executable, "-m", "benchmarks.memory", key], capture_output=True, text=True, check=True)
    whole, added = map(float, said.stdout.split()[-2:])
    return whole, added


def resident(field: str) -> float:
    """VmRSS, what this process holds, or VmHWM, the most since the last reset, in mebibytes."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field))
    return float(line.split()[1]) / 1024


if __name__ == "__main__":
    torch.set_num_threads(1)
    work = SCENES[sys.argv[1]]()
    before = resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew: making a model takes more than using it
    work()
    print(resident("VmHWM"), resident("VmHWM") - before)
