"""The loop: one frozen model, K members.

In a step every active member draws its own next batch; the loss of a member is the mean over its own target tokens (or all
of its tokens: `data.loss`), so its gradient is the one it would get alone. Micro-batches keep to a token budget, which
gradient accumulation makes exact; where padding costs time, rows of like length share a pass:

    loss_k = sum over rows r of k, tokens t of  nll(r, t)  /  tokens of k in this step

`pool = "member"`: a micro-batch holds rows of one member, so its bits do not depend on neighbours. `pool = "all"`: rows of
all members are pooled and grouped by length; equal to float tolerance, and fewer, larger passes.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import torch
from torch import Tensor

from cpeft.data.encode import micro_batches
from cpeft.data.rows import EncodedRow
from cpeft.errors import LostClaim, RunFailed, Stopped
from cpeft.models.noise import base_dropout
from cpeft.models.prompted import pooled_losses
from cpeft.options.training import GangOptions
from cpeft.seeds import derive
from cpeft.training.member import Member
from cpeft.training.memory import free, out_of_memory
from cpeft.training.signals import stop_signals
from cpeft.training.workers import Workers

ENOUGH = 256  # tokens of a pass on a CPU, beyond which a larger one gains less than padding costs


def pool_of(options: GangOptions) -> str:
    """The pooling that is used on this machine."""
    return ("all" if torch.cuda.is_available() else "member") if options.pool == "auto" else options.pool


Refill = Callable[[list[Member]], Sequence[Member]]


def train_gang(
    members: Sequence[Member], options: GangOptions, workers: Workers | None = None, refill: Refill | None = None
) -> None:
    """Train all members and leave their best states in their learners.

    `refill` gets the members that have just ended and returns those that take their places. A member
    that fails keeps its reason in `failure`; the others continue. Raises Stopped after SIGTERM or SIGINT, with every member
    saved; an exception that interrupts `refill` is raised again, with every member saved too.
    """
    workers = workers or Workers()
    pool = pool_of(options)
    _start(members, workers)
    active = list(members)
    while active:
        _until_one_ends(active, pool, options, workers)
        ended = [member for member in active if member.done]
        active = [member for member in active if not member.done]
        active += _joining(ended, active, refill, workers)


def _until_one_ends(active: list[Member], pool: str, options: GangOptions, workers: Workers) -> None:
    """Steps of all members until one of them ends; raises Stopped on request, with all of them saved."""
    with stop_signals() as received:
        while not any(member.done for member in active) and not workers.agree(bool(received)):
            for group in _groups(active, pool):
                began = time.monotonic()
                _step(group, options, workers)
                _waited([member for member in active if member not in group], began)
        if workers.agree(bool(received)):  # also what came in the very last step
            for member in active:
                if member.total and member.failure is None:
                    _alone(member, member.save, workers)
            raise Stopped("stopped on request; everything is saved, re-run the same command to resume")


def _joining(ended: list[Member], active: list[Member], refill: Refill | None, workers: Workers) -> list[Member]:
    """The members that take the places of those that ended, ready for their first step; the others wait meanwhile."""
    began = time.monotonic()
    try:
        for member in ended:
            member.finish()
        fresh = list(refill(ended)) if refill else []
        _start(fresh, workers)
    except BaseException:  # a request to stop among them
        _waited(active, began)
        for member in active:
            with suppress(LostClaim):
                member.save()  # no agreement with other processes: they may be anywhere
        raise
    _waited(active, began)
    return fresh


def _start(members: Sequence[Member], workers: Workers) -> None:
    for number, member in enumerate(members):
        began = time.monotonic()
        _alone(member, member.start, workers)
        _waited(members[:number], began)


def _waited(members: Sequence[Member], since: float) -> None:
    for member in members:
        member.paused(time.monotonic() - since)


def _alone(member: Member, work: Callable[[], None], workers: Workers) -> None:
    """Call `work` for one member; an exception ends that run, in every process, and no other."""
    try:
        work()
    except Exception as error:
        member.fail(error)
    if workers.agree(member.failure is not None) and member.failure is None:
        member.failure = RunFailed(f"{member.name}: failed in another process")


def _groups(active: list[Member], pool: str) -> list[list[Member]]:
    """Members that share passes: those of one model, prompt length and loss, unless bits or dropout forbid it."""
    groups: dict[Any, list[Member]] = {}
    for member in active:
        learner = member.learner
        shared = pool == "all" and member.options.base_dropout == "off"
        key = (id(learner.lm), learner.method.length, learner.data.loss) if shared else id(member)
        groups.setdefault(key, []).append(member)
    return list(groups.values())


def _step(group: list[Member], options: GangOptions, workers: Workers) -> None:
    """One step of every member of the group; out of memory, no step and a smaller budget for the next attempt."""
    began = time.monotonic()
    budget = min(member.budget or options.token_budget for member in group)
    rows = [member.next_rows() for member in group]
    tokens = [max(sum(map(member.layout.loss_tokens, own)), 1) for member, own in zip(group, rows, strict=True)]
    try:
        sums = _accumulate(group, rows, tokens, budget, workers)
    except (RuntimeError, MemoryError) as error:
        if not out_of_memory(error):
            raise
        sums = []
    for member in group:  # the passes are shared evenly
        member.paused((time.monotonic() - began) * (1 - 1 / len(group)))
    if workers.agree(not sums):
        _lower_budget(group, rows, budget)
        return
    for member, count, total in zip(group, tokens, sums, strict=True):
        if workers.world > 1:  # all processes add up the same tensors
            for parameter in member.trainable:
                parameter.grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        total = total.to(member.trainable[0].device)
        workers.sum([*(p.grad for p in member.trainable if p.grad is not None), total])
        loss, entropy, attending = total.tolist()
        notes = {"attention_entropy": entropy / attending} if attending else {}
        began = time.monotonic()
        _alone(member, partial(member.apply, loss / count, notes), workers)
        _waited([other for other in group if other is not member], began)


def _lower_budget(group: list[Member], rows: list[list[EncodedRow]], budget: int) -> None:
    """Halve the budget of the group, or where single rows do not fit any more, end the runs with the widest of them."""
    widths = [max(map(member.layout.width, own)) for member, own in zip(group, rows, strict=True)]
    widest = max(widths)
    for member, width in zip(group, widths, strict=True):
        member.learner.zero_grad()
        if budget > widest:
            member.budget = max(budget // 2, widest)
        elif width == widest:
            member.fail(RunFailed(f"out of memory on a single row of {widest} tokens; shorten data.max_source"))
    free()


def _accumulate(
    group: list[Member], rows: list[list[EncodedRow]], tokens: list[int], budget: int, workers: Workers
) -> list[Tensor]:
    """Gradients of one step for every member of the group; returns for each, over this process's share of its rows: the sum
    of losses, the sum of attention entropies (nats both), and the number of rows that attended."""
    items = workers.share([(k, row) for k, own in enumerate(rows) for row in own])
    widths = [group[k].layout.width(row) for k, row in items]
    sums = [torch.zeros(3, dtype=torch.float64) for _ in group]
    enough = ENOUGH if group[0].learner.lm.pads else None
    for number, places in enumerate(micro_batches(range(len(items)), widths.__getitem__, budget, enough)):
        chosen: dict[int, list[EncodedRow]] = {}
        for k, row in (items[place] for place in sorted(places)):
            chosen.setdefault(k, []).append(row)
        members = [group[k] for k in chosen]
        parts = list(chosen.values())
        first = members[0]
        seed = derive(first.dropout_seed, first.step, number)  # random bits depend on seed, step and micro-batch alone
        with base_dropout(first.learner.lm.model, first.options.base_dropout, seed):
            if len(members) == 1:
                results = [first.learner.losses(first.layout.batch(parts[0]))]
            else:
                results = pooled_losses([member.learner for member in members], parts)
        shares = [loss_B.sum() / tokens[k] for k, (loss_B, _) in zip(chosen, results, strict=True)]
        torch.stack(shares).sum().backward()
        for k, (loss_B, extras) in zip(chosen, results, strict=True):
            attention = extras.get("attention", loss_B.new_zeros(0)).detach()
            entropy = float(torch.special.entr(attention).sum())
            sums[k] += sums[k].new_tensor([float(loss_B.detach().double().sum()), entropy, len(attention)])
    return sums
