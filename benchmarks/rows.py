"""Which rows each size measures, in order, with what each aims for."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial

import torch

from benchmarks import causal, real
from benchmarks.evaluation import evaluation, prompt_cache
from benchmarks.measure import Ratio
from benchmarks.memory import peak
from benchmarks.mixed import GAINS, mixed
from benchmarks.mixture import mixture
from benchmarks.scene import LENGTHS
from benchmarks.training import Pool, attempt, gang, own_bfloat16, own_dropout, short, training

Row = tuple[str, Callable[[], Ratio]]
POOLS: tuple[Pool, ...] = ("member", "all")
AIMS = {  # by key: times as fast
    "small-SST-2-published": 5, "small-SST-2-trainer": 5, "small-SST-2-trainer-bf16": 11, "small-SST-2-padded": 3.4,
    "small-SST-2-dynamic": 1.4, "small-MNLI-dynamic": 1.6, "small-SQuAD-dynamic": 2.0, "small-SST-2-bf16": 2.5,
    "gang-8-member": 1.2, "gang-8-all": 1.2, "evaluation-goes-on": 2.3, "evaluation-goes-on-loss": 4, "mixture-6": 8.9,
    "mixture-64": 44, "cache": 3.5, "causal-100-8-float32": 2.8, "causal-100-32-bfloat16": 6, "causal-20-8-float32": 1.8,
    "causal-20-8-bfloat16": 2.6, "causal-greedy": 3, "causal-choice-2": 4, "causal-bf16-8": 2.5, "causal-bf16-32": 2.5,
    "causal-mixed-100-all": 6, "causal-mixed-20-all": 2.5, "mixed-t5-all": 2.5,
}  # fmt: skip
MEMORY = {  # by key: scenes of ours and of theirs, and whether it is what the work adds, not the whole process
    "small-SST-2-padded": ("gang-1-member", "peft-256", False), "small-SST-2-dynamic": ("gang-1-member", "peft-dynamic", False),
    "mixture-6": ("mixture-6", "published-mixture-6", True), "mixture-64": ("mixture-64", "published-mixture-64", True),
}  # fmt: skip


def rows_for(size: str, peaks: dict[torch.dtype, float]) -> Iterator[Row]:
    """The key and the measurement of every row of a size."""
    for key, measure in {"quick": quick, "standard": standard, "full": full}[size](peaks):
        slow = size == "quick" and not torch.ops.mkldnn._is_mkldnn_bf16_supported()
        if not (slow and "bf16" in key):
            yield key, partial(_told, key, measure, memory=size != "quick")


def _told(key: str, measure: Callable[[], Ratio], memory: bool) -> Ratio:
    """With its aim and its memory."""
    ratio = replace(measure(), aim=AIMS.get(key))
    if memory and key in MEMORY:
        ours, theirs, added = MEMORY[key]
        ratio = replace(ratio, memory=[peak(ours)[added], peak(theirs)[added]])
    if memory and key.startswith("gang-8-"):  # one process of eight runs beside eight processes of one
        ratio = replace(ratio, memory=[peak(key)[0], 8 * peak("gang-1-member")[0]])
    return ratio


def quick(peaks: dict[torch.dtype, float]) -> Iterator[Row]:
    """Two to three minutes."""
    yield "small-SST-2-dynamic", partial(training, "small", "SST-2", 8, "dynamic", 5, peak=peaks[torch.float32])
    yield "small-SST-2-published", partial(training, "small", "SST-2", 8, "published", 5, peak=peaks[torch.float32])
    yield "small-SST-2-bf16", partial(own_bfloat16, "small", "SST-2", 8, 5, 0, peaks[torch.bfloat16])
    yield "evaluation-ends", partial(evaluation, "small", "SST-2", 8, 5, 0, with_loss=False, ends=True)
    yield "mixture-6", partial(mixture, 6, 32, 5, 0)
    yield "cache", partial(prompt_cache, 5, 0, 4)
    yield "causal-100-8-float32", partial(causal.training, "smollm2", 100, 8, 60, torch.float32, 1)
    yield "causal-choice-2", partial(causal.choice, "smollm2", 100, 8, 60, 2, 1)


def standard(peaks: dict[torch.dtype, float]) -> Iterator[Row]:
    """20 to 30 minutes: T5-small, batch 8 (SQuAD 4)."""
    fp32, bf16 = peaks[torch.float32], peaks[torch.bfloat16]
    for task in LENGTHS:
        batch = 4 if task == "SQuAD" else 8
        for peer in ("dynamic", "padded", "published") if task != "SQuAD" else ("dynamic",):
            rounds = 5 if peer == "dynamic" or task == "SST-2" else 3
            yield f"small-{task}-{peer}", partial(training, "small", task, batch, peer, rounds, 3, peak=fp32)
        yield f"small-{task}-bf16", partial(own_bfloat16, "small", task, batch, 5, 3, bf16)
    yield "small-SST-2-trainer", partial(training, "small", "SST-2", 8, "trainer", 5, 0, peak=fp32)
    yield "small-SST-2-trainer-bf16", partial(training, "small", "SST-2", 8, "trainer", 5, 0, torch.bfloat16, bf16)
    for kind in ("on", "outside-attention"):
        yield f"dropout-{kind}", partial(own_dropout, "small", "SST-2", 8, kind, 5, 3)
    yield from _answers(5, 3)
    yield from _causal(3, 0, peaks)
    for sources in (6, 64):
        yield f"mixture-{sources}", partial(mixture, sources, 32, 7, 3)
        yield f"attempt-{sources}-dynamic", partial(attempt, "small", "SST-2", 8, sources, 5, 3)
    yield "attempt-6-published", partial(attempt, "small", "SST-2", 8, 6, 3, 0, published=True)
    for pool in POOLS:
        yield f"gang-8-{pool}", partial(gang, "small", "SST-2", 8, 8, pool, 5)
    if real.MINILM.is_dir():
        for what in ("training", "evaluation"):
            yield f"minilm-{what}", partial(real.minilm, "mnli", what, 5, 3)


def _causal(rounds: int, walls: int, peaks: dict[torch.dtype, float]) -> Iterator[Row]:
    for dtype, fastest in peaks.items():
        for prompt, batch, mean in ((100, 8, 60), (20, 8, 60), (100, 32, 40), (100, 8, 200)):
            key = f"causal-{prompt}-{batch}-{short(dtype)}" + ("-long" if mean == 200 else "")
            yield key, partial(causal.training, "smollm2", prompt, batch, mean, dtype, rounds, walls, fastest)
        wide = partial(causal.training, "1B width, 2 layers", 100, 8, 60, dtype, rounds, walls, fastest)
        yield f"causal-wide-{short(dtype)}", wide
    for batch in (8, 32):
        asked = (100, batch, 60 if batch == 8 else 40, rounds, walls, peaks[torch.bfloat16])
        yield f"causal-bf16-{batch}", partial(causal.own_bfloat16, "smollm2", *asked)
    for pool in POOLS:
        yield f"causal-gang-{pool}", partial(causal.gang, "smollm2", 100, 8, 60, 8, pool, rounds)
    yield "causal-greedy", partial(causal.greedy, "smollm2", 100, 8, 60, rounds, walls)
    for labels in (2, 14):
        yield f"causal-choice-{labels}", partial(causal.choice, "smollm2", 100, 8, 60, labels, rounds, walls)
    yield "causal-labels", partial(causal.many_labels, "smollm2", 100, 8, 60, rounds)
    for length in (100, 20):
        for gain in GAINS:
            yield f"causal-mixed-{length}-{gain}", partial(mixed, "LLaMA", "smollm2", length, 64, rounds, gain, walls)
    yield "mixed-t5-all", partial(mixed, "T5", "small", 100, 64, rounds, "all", walls)


def _answers(rounds: int, walls: int) -> Iterator[Row]:
    for ends in (True, False):
        for with_loss in (False, True):
            key = f"evaluation-{'ends' if ends else 'goes-on'}{'-loss' if with_loss else ''}"
            yield key, partial(evaluation, "small", "SST-2", 8, rounds, walls, with_loss=with_loss, ends=ends)
    yield "cache", partial(prompt_cache, rounds, walls, 16)


def full(peaks: dict[torch.dtype, float]) -> Iterator[Row]:
    """Hours: also T5-base of four layers, batch 32, other gangs, every peer at every length."""
    fp32, bf16 = peaks[torch.float32], peaks[torch.bfloat16]
    yield from standard(peaks)
    for task in LENGTHS:
        batch = 4 if task == "SQuAD" else 8
        for peer in ("dynamic", "padded", "published"):
            yield f"base-{task}-{peer}", partial(training, "base", task, batch, peer, 5, 3, peak=fp32, layers=4)
        yield f"small-{task}-trainer", partial(training, "small", task, batch, "trainer", 5, 0, peak=fp32)
        for peer in ("padded", "published"):
            yield f"small-{task}-{peer}", partial(training, "small", task, batch, peer, 5, 3, peak=fp32)
        yield f"small-{task}-32-dynamic", partial(training, "small", task, 32, "dynamic", 5, 3, peak=fp32)
        yield f"small-{task}-32-bf16", partial(own_bfloat16, "small", task, 32, 5, 3, bf16)
    for sizes, batch in (((2, 4, 16), 8), ((1, 4, 8), 32)):
        yield from _gangs(sizes, batch)
    for sources in (6, 64):
        yield f"attempt-{sources}-32-dynamic", partial(attempt, "small", "SST-2", 32, sources, 5, 3)


def _gangs(sizes: Sequence[int], batch: int) -> Iterator[Row]:
    for size in sizes:
        for pool in POOLS:
            key = f"gang-{size}-{pool}" + (f"-{batch}" if batch != 8 else "")
            yield key, partial(gang, "small", "SST-2", batch, size, pool, 5)
