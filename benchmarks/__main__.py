"""python -m benchmarks quick|standard|full [--out DIR]

quick     two minutes: short texts, T5-small shapes, one row of each kind
standard  20 to 30 minutes: three lengths, gangs, evaluation, mixture, cache, memory
full      hours: T5-base shapes, batch 32, more gangs and sources; finished rows of DIR are kept and not measured again
"""

import json
import os
import platform
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import torch
import transformers
import typer

from benchmarks.measure import Ratio, compare, peak_of, table
from benchmarks.peers import PeftLoop, peft_generate, published_mixture
from benchmarks.scene import LABELS, LENGTHS, Ours, P, frozen, learner, model, rows_of, step_flops, tokenizer
from cpeft.data.encode import EncodedRow, collate
from cpeft.evaluation.decoding import EvalOptions, decode_rows
from cpeft.methods.base import PromptContext
from cpeft.models.prompted import PromptedLM
from cpeft.training.engine import GangOptions

Row = tuple[str, Callable[[], Ratio]]
ALONE = GangOptions()


def training(shape: str, task: str, batch: int, peer: Literal["published", "padded", "dynamic"], rounds: int,
             dtype: torch.dtype = torch.float32, peak: float = 0.0) -> Ratio:  # fmt: skip
    """A training step of prompt tuning beside peft's. `published`: padded to 256 with dropout; `padded`: without dropout;
    `dynamic`: padded to the longest row, without dropout."""
    rows = rows_of(task, batch)
    mine = learner(frozen(model(shape), dtype))
    theirs = PeftLoop(
        model(shape, dropout=0.1 if peer == "published" else 0.0), mine.method.export()["task"].weight, rows,
        None if peer == "dynamic" else 512 if task == "SQuAD" else 256, dropout=peer == "published",
    )  # fmt: skip
    said = _same_losses(mine, theirs, rows, dtype) if peer != "published" else "not the same: its dropout is on"
    name = f"training step, T5-{shape}, {task} lengths, batch {batch}, {_short(dtype)}"
    pad = {"published": "padded to 256 with dropout, as published", "padded": "padded to 256, no dropout",
           "dynamic": "padded to the longest row, no dropout"}[peer]  # fmt: skip
    flops = step_flops(shape, rows)
    return compare(name, f"peft, {pad}, float32", said, Ours([mine], rows, batch, ALONE), theirs, rounds, flops, peak)


def _short(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _same_losses(mine: PromptedLM, theirs: PeftLoop, rows: list[EncodedRow], dtype: torch.dtype) -> str:
    """Losses and gradients of one batch on both sides; raises where float32 differs."""
    count = sum(len(row.target) for row in rows)
    loss = mine.losses(collate(rows, 0))[0].sum() / count
    loss.backward()
    [own] = [p.grad.flatten().double() for p in mine.parameters() if p.grad is not None]
    mine.zero_grad()
    other_loss = theirs.loss(rows)
    other_loss.backward()
    other = theirs.prompt.grad[:P].flatten().double()
    theirs.optimizer.zero_grad()
    off = abs(loss.item() - other_loss.item()) / other_loss.item()
    apart = float((own - other).norm() / other.norm())
    if off > (1e-4 if dtype == torch.float32 else 2e-2) or apart > (1e-3 if dtype == torch.float32 else 5e-2):
        raise SystemExit(f"not the same work: losses {loss.item()} and {other_loss.item()}, gradients {apart} apart")
    return f"same loss to {off:.0e} and gradient to {apart:.0e}, relative"


def own_bfloat16(shape: str, task: str, batch: int, rounds: int, peak: float) -> Ratio:
    """Our bfloat16 beside our float32."""
    rows = rows_of(task, batch)
    half, full = (learner(frozen(model(shape), dtype)) for dtype in (torch.bfloat16, torch.float32))
    gradients = []
    for each in (half, full):
        each.losses(collate(rows, 0))[0].sum().backward()
        gradients += [p.grad.flatten().double() for p in each.parameters() if p.grad is not None]
        each.zero_grad()
    cosine = float(torch.nn.functional.cosine_similarity(*gradients, dim=0))
    name = f"training step, T5-{shape}, {task} lengths, batch {batch}, bfloat16"
    return compare(name, "ours in float32", f"gradient cosine {cosine:.4f}", Ours([half], rows, batch, ALONE),
                   Ours([full], rows, batch, ALONE), rounds, step_flops(shape, rows), peak)  # fmt: skip


def attempt_training(shape: str, task: str, batch: int, sources: int, rounds: int) -> Ratio:
    """ATTEMPT beside prompt tuning, both ours: what the mixture costs."""
    rows, lm = rows_of(task, batch), frozen(model(shape))
    mixing = learner(lm, "attempt", sources)
    name = f"training step of prompt tuning, T5-{shape}, {task} lengths, batch {batch}"
    plain, mixed = Ours([learner(lm)], rows, batch, ALONE), Ours([mixing], rows, batch, ALONE)
    return compare(name, f"ATTEMPT with {sources} sources, ours", "another method: its cost", plain, mixed, rounds)


def gang(shape: str, task: str, batch: int, size: int, pool: Literal["member", "all"], rounds: int) -> Ratio:
    """A gang beside its members one after another."""
    lm, rows = frozen(model(shape)), rows_of(task, 8 * batch)
    together = Ours([learner(lm, seed=i) for i in range(size)], rows, batch, GangOptions(pool=pool))
    alone = [Ours([learner(lm, seed=i)], rows, batch, ALONE) for i in range(size)]
    name = f"gang of {size}, pool = {pool}, T5-{shape}, {task} lengths, batch {batch}"
    return compare(name, "one run after another, ours", "equality to 1e-12 is tested", together,
                   lambda: [each() for each in alone], rounds)  # fmt: skip


def evaluation(shape: str, task: str, batch: int, rounds: int, with_loss: bool, told: int = 12) -> Ratio:
    """Answers of a model that says labels, beside generate(10)."""
    made = _telling(shape)
    rows = [EncodedRow(row.source, ()) for row in rows_of(task, 3 * batch, seed=1)]
    mine = learner(frozen(made))
    theirs = PeftLoop(model(shape), mine.method.export()["task"].weight, rows, None, dropout=False)
    theirs.model.base_model.load_state_dict(made.state_dict())
    labelled = [EncodedRow(row.source, tuple(tokenizer()(LABELS[0])["input_ids"])) for row in rows]
    options = EvalOptions(token_budget=batch * (P + LENGTHS[task][1]))
    ours = [row.text for row in decode_rows(mine, rows, LABELS, options)]
    other = [mine.text.decode(ids) for ids in peft_generate(theirs, rows, batch, 10, False)]
    same = sum(a == b for a, b in zip(ours, other, strict=True) if b in LABELS)
    inside = sum(b in LABELS for b in other)
    if same < inside or [a in LABELS for a in ours] != [b in LABELS for b in other]:
        raise SystemExit(f"answers differ: {same} of {inside} that are labels are the same")
    name = f"evaluation of {len(rows)} rows, T5-{shape}, {task} lengths, float32"
    against = f"peft, {'loss and ' if with_loss else ''}generate(10), batches of {batch}"
    return compare(name, against, f"{inside} of {len(rows)} answers are labels, the same ones",
                   lambda: decode_rows(mine, rows, LABELS, options),
                   lambda: peft_generate(theirs, labelled, batch, 10, with_loss), rounds)  # fmt: skip


def _telling(shape: str) -> object:
    """A model taught for some steps to say labels, as a trained one does; what evaluation costs hangs on it."""
    made = model(shape)
    lm = frozen(made)
    made.requires_grad_(True)
    optimizer = torch.optim.AdamW(made.parameters(), lr=1e-3)
    said = [tuple(tokenizer()(label)["input_ids"]) for label in LABELS]
    rows = [EncodedRow(row.source, said[i % 3]) for i, row in enumerate(rows_of("SST-2", 8))]
    batch = collate(rows, 0)
    prompt_BPD = learner(lm).method.export()["task"].weight.expand(8, -1, -1)
    for _ in range(12):
        joined = torch.cat([prompt_BPD, lm.embed(batch.source_BL).detach()], 1)
        mask = torch.cat([torch.ones(8, P, dtype=torch.bool), batch.mask_BL], 1)
        made(inputs_embeds=joined, attention_mask=mask.long(), labels=batch.target_BT).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return made.requires_grad_(False)


def mixture(sources: int, batch: int, rounds: int) -> Ratio:
    """ATTEMPT's prompts, forward and backward, beside the published formula."""
    lm = frozen(model("base", layers=1))
    method = learner(lm, "attempt", sources).method
    rows = collate(rows_of("SQuAD", batch), 0)
    x_BLD, mask_BL = lm.embed(rows.source_BL).float(), rows.mask_BL
    context = PromptContext(x_BLD, mask_BL, rows.task_B)
    off = float((method(context).prompt_BPD - published_mixture(method, x_BLD, mask_BL)).abs().max())
    if off > 1e-3:
        raise SystemExit(f"not the same prompts: {off}")
    name = f"ATTEMPT's mixture, {sources} sources, width 768, batch {batch}, forward and backward"
    return compare(name, "the published formula", f"same prompts to {off:.0e}",
                   lambda: method(context).prompt_BPD.sum().backward(),
                   lambda: published_mixture(method, x_BLD, mask_BL).sum().backward(), rounds)  # fmt: skip


def prompt_cache(rounds: int, batch: int = 8, length: int = 30) -> Ratio:
    """A decoder-only model's answers with the prompt's keys and values computed once, beside every row with its own."""
    from cpeft.models.loading import FrozenLM

    torch.manual_seed(0)
    config = transformers.LlamaConfig(vocab_size=V_CAUSAL, hidden_size=512, intermediate_size=1376, num_hidden_layers=6,
                                      num_attention_heads=8, pad_token_id=0, eos_token_id=1)  # fmt: skip
    lm = FrozenLM(transformers.LlamaForCausalLM(config), tokenizer(), "benchmark", None, "float32")
    mine = learner(lm)
    source_BL = torch.randint(3, V_CAUSAL, (batch, length))
    mask_BL, task_B = torch.ones_like(source_BL).bool(), torch.zeros(batch, dtype=torch.long)
    prompt_BPD = mine.method.export()["task"].weight.expand(batch, -1, -1)

    def ours() -> torch.Tensor:
        return mine.decode(source_BL, mask_BL, task_B, max_new_tokens=1, do_sample=False)[0]

    @torch.no_grad()
    def theirs() -> torch.Tensor:
        joined = torch.cat([prompt_BPD, lm.embed(source_BL)], 1)
        mask = torch.ones(joined.shape[:2], dtype=torch.long)
        return lm.model.generate(inputs_embeds=joined, attention_mask=mask, max_new_tokens=1, do_sample=False)

    if not torch.equal(ours(), theirs()):
        raise SystemExit("the prompt's cache changes answers")
    return compare(f"decoder-only evaluation, 6 layers of width 512, {P} prompt rows, {length} tokens, batch {batch}",
                   "the prompt computed for every row", "same tokens", ours, theirs, rounds)  # fmt: skip


V_CAUSAL = 32000


def rows_for(size: str, peaks: dict[torch.dtype, float]) -> Iterator[Row]:
    """What is measured, in order; the key of a row is what it asks for."""
    fp32, bf16 = torch.float32, torch.bfloat16
    rounds = 3 if size == "quick" else 7
    tasks = ("SST-2",) if size == "quick" else tuple(LENGTHS)
    for task in tasks:
        batch = 4 if task == "SQuAD" else 8
        for peer in ("dynamic", "padded", "published"):
            yield f"small-{task}-{peer}", partial(training, "small", task, batch, peer, rounds, fp32, peaks[fp32])
        yield f"small-{task}-bf16", partial(own_bfloat16, "small", task, batch, rounds, peaks[bf16])
        if size != "quick":
            half = partial(training, "small", task, batch, "published", rounds, bf16, peaks[bf16])
            yield f"small-{task}-published-bf16", half
    yield "evaluation", partial(evaluation, "small", "SST-2", 8, rounds, False)
    yield "evaluation-loss", partial(evaluation, "small", "SST-2", 8, rounds, True)
    yield "mixture-6", partial(mixture, 6, 32 if size != "quick" else 8, rounds)
    yield "cache", partial(prompt_cache, rounds)
    if size == "quick":
        return
    yield "mixture-64", partial(mixture, 64, 32, rounds)
    for pool in ("member", "all"):
        yield f"gang-8-{pool}", partial(gang, "small", "SST-2", 8, 8, pool, 5)
    for sources in (6, 64):
        yield f"attempt-{sources}", partial(attempt_training, "small", "SST-2", 8, sources, 5)
    if size == "standard":
        return
    for size_of_gang in (2, 4, 16):
        for pool in ("member", "all"):
            yield f"gang-{size_of_gang}-{pool}", partial(gang, "small", "SST-2", 8, size_of_gang, pool, 5)
    for task in LENGTHS:
        for peer in ("dynamic", "padded", "published"):
            yield f"base-{task}-{peer}", partial(training, "base", task, 8, peer, 5, fp32, peaks[fp32])
        yield f"small-{task}-32", partial(training, "small", task, 32, "dynamic", 5, fp32, peaks[fp32])


def main(
    size: Annotated[Literal["quick", "standard", "full"], typer.Argument()],
    out: Annotated[Path, typer.Option(help="For results.json and table.md; rows there are kept.")] = Path("build/bench"),
    only: Annotated[str, typer.Option(help="Rows whose key begins so.")] = "",
) -> None:  # fmt: skip
    """Measure, and print and keep one table. One thread, processor time."""
    torch.set_num_threads(1)
    out.mkdir(parents=True, exist_ok=True)
    kept = out / "results.json"
    found = json.loads(kept.read_text()) if kept.exists() else {}
    peaks = {dtype: peak_of(dtype) for dtype in (torch.float32, torch.bfloat16)}
    for key, measure in rows_for(size, peaks):
        if not key.startswith(only) or key in found:
            continue
        ratio = measure()
        found[key] = ratio.saved()
        kept.write_text(json.dumps(found, indent=1))
        print(f"{key}: {ratio.quartiles[1]:.2f} times as fast ({ratio.check})", flush=True)
    fields = Ratio.__dataclass_fields__
    ratios = [
        Ratio(**{k: tuple(v) if k == "rounds" else v for k, v in row.items() if k in fields}) for row in found.values()
    ]
    peak = ", ".join(f"{_short(dtype)} {value / 1e9:.0f} GFLOP/s" for dtype, value in peaks.items())
    said = (
        f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}, transformers {transformers.__version__}, "
        f"one thread; peak of a 2048-wide product: {peak}"
    )
    text = f"{table(ratios)}\n\n{said}\n"
    (out / "table.md").write_text(text)
    print("\n" + text)


if __name__ == "__main__":
    typer.run(main)
