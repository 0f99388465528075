"""Rows on training steps: prompt tuning beside peft, our own precisions and dropout, gangs, ATTEMPT."""

from collections.abc import Sequence
from typing import Literal

import torch

from benchmarks.measure import Ratio, compare
from benchmarks.peers import PeftLoop, ReplicationLoop, TrainerLoop
from benchmarks.scene import Ours, frozen, learner, model, rows_of, step_flops
from cpeft.data.encode import collate
from cpeft.data.rows import EncodedRow
from cpeft.models.prompted import PromptedLM
from cpeft.options.training import BaseDropout, GangOptions

ALONE = GangOptions()
Peer = Literal["published", "trainer", "padded", "dynamic"]
Pool = Literal["member", "all"]
PADS = {
    "published": "by hand, padded to {width} with dropout, as published",
    "trainer": "in Seq2SeqTrainer, padded to {width} with dropout, as published",
    "padded": "padded to {width}, no dropout",
    "dynamic": "padded to the longest row, no dropout",
}


def short(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def training(
    shape: str, task: str, batch: int, peer: Peer, rounds: int, walls: int = 0, dtype: torch.dtype = torch.float32,
    peak: float = 0.0, layers: int | None = None,
) -> Ratio:  # fmt: skip
    """A training step of prompt tuning beside peft's, both float32 unless ours has another `dtype`."""
    rows, steps = rows_of(task, batch), 3 if peer == "trainer" else 1
    mine = learner(frozen(model(shape, layers=layers), dtype))
    noisy = peer in ("published", "trainer")
    width = None if peer == "dynamic" else 512 if task == "SQuAD" else 256
    other = model(shape, dropout=0.1 if noisy else 0.0, layers=layers)
    loop = PeftLoop(other, mine.method.export()["task"].weight, rows, width, dropout=noisy)
    said = "not the same: its dropout is on" if noisy else _same(mine, loop, rows, dtype)
    theirs = TrainerLoop(loop, steps) if peer == "trainer" else loop
    found = compare(
        f"training step, {_shape(shape, layers)}, {task} lengths, batch {batch}, {short(dtype)}",
        f"peft, {PADS[peer].format(width=width)}, float32", said, Ours([mine], rows, batch, ALONE, steps), theirs, rounds,
        walls, steps * step_flops(shape, rows, layers), peak,
    )  # fmt: skip
    return found


def _shape(shape: str, layers: int | None) -> str:
    return f"T5-{shape}" + (f" of {layers} layers" if layers else "")


def _same(mine: PromptedLM, theirs: PeftLoop | ReplicationLoop, rows: list[EncodedRow], dtype: torch.dtype) -> str:
    """Losses and gradients of one batch on both sides; ends the benchmark where float32 differs."""
    prompt = theirs.prompt if isinstance(theirs, PeftLoop) else theirs.method.target_TPD
    count = sum(len(row.target) for row in rows)
    loss = mine.losses(collate(rows, 0))[0].sum() / count
    loss.backward()
    own = mine.param_groups()[0].params[0].grad.flatten().double()
    mine.zero_grad()
    other_loss = theirs.loss(rows)
    other_loss.backward()
    other = prompt.grad.flatten()[: len(own)].double()  # peft trains as many rows again, which no layer reads
    theirs.optimizer.zero_grad()
    off = abs(loss.item() - other_loss.item()) / other_loss.item()
    apart = float((own - other).norm() / other.norm())
    if off > (1e-4 if dtype == torch.float32 else 2e-2) or apart > (1e-3 if dtype == torch.float32 else 5e-2):
        raise SystemExit(f"not the same work: losses {loss.item()} and {other_loss.item()}, gradients {apart} apart")
    return f"same loss to {off:.0e} and gradient to {apart:.0e}, relative"


def own_bfloat16(shape: str, task: str, batch: int, rounds: int, walls: int, peak: float) -> Ratio:
    """Our bfloat16 beside our float32."""
    rows = rows_of(task, batch)
    half, full = (learner(frozen(model(shape), dtype)) for dtype in (torch.bfloat16, torch.float32))
    name = f"training step, T5-{shape}, {task} lengths, batch {batch}, bfloat16"
    return halves(name, half, full, rows, rounds, walls, step_flops(shape, rows), peak)


def halves(
    name: str, half: PromptedLM, full: PromptedLM, rows: list[EncodedRow], rounds: int, walls: int, flops: float, peak: float
) -> Ratio:  # fmt: skip
    """A training step of the same prompt in bfloat16 and in float32, with the cosine of their gradients."""
    gradients = []
    for each in (half, full):
        each.losses(collate(rows, 0))[0].sum().backward()
        gradients += [p.grad.flatten().double() for p in each.parameters() if p.grad is not None]
        each.zero_grad()
    cosine = float(torch.nn.functional.cosine_similarity(*gradients, dim=0))
    ours, theirs = (Ours([each], rows, len(rows), ALONE) for each in (half, full))
    return compare(name, "ours in float32", f"gradient cosine {cosine:.4f}", ours, theirs, rounds, walls, flops, peak)


def own_dropout(shape: str, task: str, batch: int, kind: BaseDropout, rounds: int, walls: int) -> Ratio:
    """A step without dropout beside one through the frozen model's own: what dropout costs."""
    rows = rows_of(task, batch)
    off, on = (
        Ours([learner(frozen(model(shape, dropout=0.1)))], rows, batch, ALONE, dropout=each) for each in ("off", kind)
    )
    name = f"training step, T5-{shape}, {task} lengths, batch {batch}, without dropout"
    return compare(name, f"ours, base_dropout = {kind}", "another computation: its cost", off, on, rounds, walls)


def gang(shape: str, task: str, batch: int, size: int, pool: Pool, rounds: int) -> Ratio:
    """A gang beside its members one after another."""
    lm = frozen(model(shape))
    learners = [learner(lm, seed=i) for i in range(size)]
    return together(
        f"T5-{shape}, {task} lengths, batch {batch}", learners, rows_of(task, 8 * batch), batch, pool, rounds
    )


def together(
    said: str, learners: Sequence[PromptedLM], rows: list[EncodedRow], batch: int, pool: Pool, rounds: int
) -> Ratio:  # fmt: skip
    """A step of each of these learners as a gang beside one after another."""
    gang = Ours(learners, rows, batch, GangOptions(pool=pool))
    alone = [Ours([each], rows, batch, ALONE) for each in learners]
    name = f"gang of {len(learners)}, pool = {pool}, {said}"
    return compare(name, "one run after another, ours", "equality to 1e-12 is tested in float64", gang,
                   lambda: [each() for each in alone], rounds)  # fmt: skip


def attempt(shape: str, task: str, batch: int, sources: int, rounds: int, walls: int, published: bool = False) -> Ratio:
    """A training step of ATTEMPT beside the replication's: padded to the longest row, or `published`, to 256 with dropout."""
    rows = rows_of(task, batch)
    mine = learner(frozen(model(shape)), "attempt", sources)
    twin = learner(frozen(model(shape)), "attempt", sources).method
    theirs = ReplicationLoop(
        model(shape, dropout=0.1 if published else 0.0), twin, rows, 256 if published else None, dropout=published
    )
    said = "not the same: its dropout is on" if published else _same(mine, theirs, rows, torch.float32)
    name = f"training step of ATTEMPT, {sources} sources, T5-{shape}, {task} lengths, batch {batch}, float32"
    how = "padded to 256 with dropout, as published" if published else "padded to the longest row, no dropout"
    return compare(
        name, f"the replication's loop, {how}", said, Ours([mine], rows, batch, ALONE), theirs, rounds, walls
    )
