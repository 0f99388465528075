"""The loop: one frozen model, K members.

In a step every active member draws its own next batch; the loss of a member is the mean over its own target tokens, so its
gradient is the one it would get alone. Micro-batches keep to a token budget, which gradient accumulation makes exact:

    loss_k = sum over rows r of k, tokens t of  nll(r, t)  /  tokens of k in this step

`pool = "member"`: a micro-batch holds rows of one member, so its bits do not depend on neighbours. `pool = "all"`: rows of
all members are pooled and grouped by length; equal to float tolerance, and fewer, larger passes.
"""

import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, cast

import torch

from cpeft.config import Options
from cpeft.data.encode import EncodedRow, micro_batches
from cpeft.errors import RunFailed, Stopped
from cpeft.models.prompted import PromptedLM, pooled_losses
from cpeft.seeds import derive
from cpeft.training.member import Member
from cpeft.training.memory import free, out_of_memory
from cpeft.training.workers import Workers


class GangOptions(Options):
    """`[gang]`: how many runs share a model at once (`auto`: 8 on a GPU, else 1), how rows are pooled (`auto`: `all` on a
    GPU, else `member`), and the tokens of one micro-batch."""

    size: int | Literal["auto"] = "auto"
    pool: Literal["auto", "member", "all"] = "auto"
    token_budget: int = 16384


def pool_of(options: GangOptions) -> str:
    """The pooling that is used on this machine."""
    return ("all" if torch.cuda.is_available() else "member") if options.pool == "auto" else options.pool


@dataclass
class Tally:
    """What a member's step added up to: summed loss (nats), target tokens, and entropy sums of attention notes."""

    tokens: int
    loss: float = 0.0
    entropy: float = 0.0
    rows: int = 0

    def add(self, loss: float, notes: dict[str, torch.Tensor]) -> None:
        self.loss += loss
        if "attention" in notes:
            weights = notes["attention"].detach()
            self.entropy += float(torch.special.entr(weights).sum())
            self.rows += weights.shape[0]

    def notes(self) -> dict[str, float]:
        """Mean attention entropy (nats) where the method attends."""
        return {"attention_entropy": self.entropy / self.rows} if self.rows else {}


@contextmanager
def stop_signals() -> Iterator[list[int]]:
    """Collect SIGTERM and SIGINT in a list instead of dying, so that the step at hand can be saved."""
    received: list[int] = []
    try:
        old = {s: signal.signal(s, lambda number, _: received.append(number)) for s in (signal.SIGTERM, signal.SIGINT)}
    except ValueError:  # not the main thread: signals belong to someone else
        yield received
        return
    try:
        yield received
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


def train_gang(members: Sequence[Member], options: GangOptions, workers: Workers | None = None) -> None:
    """Train all members to their ends and leave their best states in their learners.

    A member that fails keeps its reason in `failure`; the others go on. Raises Stopped after SIGTERM or SIGINT, with every
    member saved.
    """
    workers = workers or Workers()
    pool = pool_of(options)
    for member in members:
        _alone(member, member.start, workers)
    with stop_signals() as received:
        while active := [member for member in members if not member.done]:
            if workers.agree(bool(received)):
                for member in active:
                    _alone(member, member.save, workers)
                raise Stopped("stopped on request; everything is saved, the same command goes on from here")
            for group in _groups(active, pool):
                _step(group, options, workers)
    for member in members:
        member.finish()


def _alone(member: Member, work: Callable[[], None], workers: Workers) -> None:
    """Do something for one member; what goes wrong ends that run, in every process, and no other."""
    try:
        work()
    except Exception as error:
        member.fail(error)
    if workers.agree(member.failure is not None) and member.failure is None:
        member.failure = RunFailed(f"{member.name}: failed in another process")


def _groups(active: list[Member], pool: str) -> list[list[Member]]:
    """Members that share passes: those of one model and prompt length, unless bits or dropout forbid it."""
    groups: dict[Any, list[Member]] = {}
    for member in active:
        learner = member.learner
        shared = pool == "all" and isinstance(learner, PromptedLM) and member.options.base_dropout == "off"
        key = (id(learner.lm), learner.method.length) if shared and isinstance(learner, PromptedLM) else id(member)
        groups.setdefault(key, []).append(member)
    return list(groups.values())


def _step(group: list[Member], options: GangOptions, workers: Workers) -> None:
    """One step of every member of the group, repeated with half the budget where memory runs out."""
    while group:
        budget = min(member.budget or options.token_budget for member in group)
        try:
            tallies = _accumulate(group, budget, workers)
            short = False
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
            short = True
        if not workers.agree(short):
            break
        for member in group:
            member.drop_gradients()
        group = _with_less_memory(group, budget)
        free()
    for member, tally in zip(group, tallies if group else [], strict=True):
        device = member.trainable[0].device
        total = torch.tensor([tally.loss, tally.entropy, float(tally.rows)], dtype=torch.float64, device=device)
        workers.sum([*(p.grad for p in member.trainable if p.grad is not None), total])
        tally.loss, tally.entropy, tally.rows = float(total[0]), float(total[1]), int(total[2])
        _alone(member, partial(member.apply, tally.loss / tally.tokens, tally.notes()), workers)


def _with_less_memory(group: list[Member], budget: int) -> list[Member]:
    """Halve the budget of the group, or where single rows do not fit any more, end the runs with the widest of them."""
    widest = {id(member): max(member.shape.width(row) for row in member.next_rows()) for member in group}
    single = max(widest.values())
    if budget > single:
        for member in group:
            member.budget = max(budget // 2, single)
        return group
    for member in group:
        if widest[id(member)] == single:
            member.fail(RunFailed(f"out of memory on a single row of {single} tokens; shorten data.max_source"))
    return [member for member in group if member.failure is None]


def _accumulate(group: list[Member], budget: int, workers: Workers) -> list[Tally]:
    """Gradients of one step for every member of the group."""
    rows: list[list[EncodedRow]] = [member.next_rows() for member in group]
    tallies = [Tally(max(sum(len(row.target) for row in part), 1)) for part in rows]
    items = [(k, i) for k, part in enumerate(rows) for i in range(len(part))]
    mine = workers.share(items)
    widths = [group[k].shape.width(rows[k][i]) for k, i in mine]
    for number, micro in enumerate(micro_batches(range(len(mine)), widths.__getitem__, budget)):
        chosen: dict[int, list[EncodedRow]] = {}
        for index in sorted(micro):
            k, i = mine[index]
            chosen.setdefault(k, []).append(rows[k][i])
        _backward(group, chosen, tallies, number)
    for member in group:
        for parameter in member.trainable:
            if parameter.grad is None and workers.world > 1:
                parameter.grad = torch.zeros_like(parameter)
    return tallies


def _backward(group: list[Member], chosen: dict[int, list[EncodedRow]], tallies: list[Tally], number: int) -> None:
    members = [group[k] for k in chosen]
    batches = [group[k].shape.batch(rows) for k, rows in chosen.items()]
    with _dropout(members[0], number):
        if len(members) == 1:
            results = [members[0].learner.losses(batches[0])]
        else:
            learners = [cast(PromptedLM, member.learner) for member in members]
            results = pooled_losses(learners, batches, members[0].shape.pad)
        shares = [loss_B.sum() / tallies[k].tokens for k, (loss_B, _) in zip(chosen, results, strict=True)]
        torch.stack(shares).sum().backward()
    for k, (loss_B, notes) in zip(chosen, results, strict=True):
        tallies[k].add(float(loss_B.detach().double().sum()), notes)


@contextmanager
def _dropout(member: Member, number: int) -> Iterator[None]:
    """The frozen model's own dropout, where a recipe asks for it: random bits depend on seed, step and micro-batch alone."""
    if member.options.base_dropout == "off":
        yield
        return
    model = cast(PromptedLM, member.learner).lm.model
    torch.manual_seed(derive(member.dropout_seed, member.step, number))
    model.train()
    try:
        yield
    finally:
        model.eval()
