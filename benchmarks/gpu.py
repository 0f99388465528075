"""python -m benchmarks.gpu [--toy] [--out DIR]: the same ratios on a GPU, by wall clock with the device drained.

T5-base and a decoder of a billion parameters with random weights: a training step beside peft in float32, TF32 and bfloat16;
the same step compiled, with CUDA graphs for buckets of length, with fused and with plain attention; gangs of 1 to 64 beside
their members one after another; and answers under 64 prompts mixed beside one prompt after another.
`--toy` runs the same code on the CPU at toy size, which says nothing about speed.
"""

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import transformers
import typer

from benchmarks.peers import PeftLoop
from benchmarks.scene import Ours, P, V, frozen, learner, model, rows_of, step_flops, tokenizer
from cpeft.data.encode import collate
from cpeft.data.rows import EncodedRow
from cpeft.models.loading import FrozenLM
from cpeft.options.training import GangOptions


def decoder(toy: bool, dtype: torch.dtype) -> FrozenLM:
    """A LLaMA of a billion parameters, or of two small layers."""
    torch.manual_seed(0)
    sizes = (
        {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
        if toy
        else {"hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 16, "num_attention_heads": 32}
    )
    config = transformers.LlamaConfig(vocab_size=V, pad_token_id=0, eos_token_id=1, **sizes)
    made = transformers.LlamaForCausalLM(config).to(dtype)
    return FrozenLM(made, tokenizer(), "benchmark", None, str(dtype).removeprefix("torch."))


class Compiled:
    """A step of prompt tuning through transformers' module, compiled: widths are rounded up to a bucket, so that few graphs
    serve all batches. T5's position bias goes into the fused kernel as its mask (`sdpa`), or attention is plain (`eager`)."""

    def __init__(self, lm: FrozenLM, rows: Sequence[EncodedRow], attention: str, toy: bool, bucket: int = 32) -> None:
        self.model, device = lm.model, lm.device
        self.model.set_attn_implementation(attention)
        start = learner(lm).method.export()["task"].weight.to(device)
        self.prompt = torch.nn.Parameter(start.to(torch.float32))
        self.optimizer = torch.optim.AdamW([self.prompt], lr=1e-6)
        width = -(-max(len(row.source) for row in rows) // bucket) * bucket
        self.batch = collate(rows, 0, width).to(device)
        backend = "aot_eager" if toy else "inductor"  # the toy has no need of compiled code
        self.loss = torch.compile(self._loss, backend=backend, mode=None if toy else "reduce-overhead", dynamic=False)

    def _loss(self, prompt_PD: torch.Tensor, ids_BL: torch.Tensor, mask_BL: torch.Tensor, labels: torch.Tensor) -> Any:
        x_BLD = self.model.get_input_embeddings()(ids_BL)
        joined = torch.cat([prompt_PD.to(x_BLD.dtype).expand(len(ids_BL), -1, -1), x_BLD], 1)
        mask = torch.cat([mask_BL.new_ones(len(ids_BL), len(prompt_PD)), mask_BL], 1).long()
        return self.model(inputs_embeds=joined, attention_mask=mask, labels=labels, use_cache=False).loss

    def __call__(self) -> None:
        self.loss(self.prompt, self.batch.source_BL, self.batch.mask_BL, self.batch.target_BT).backward()
        self.optimizer.step()
        self.optimizer.zero_grad()


def turns(ours: Callable[[], object], theirs: Callable[[], object], rounds: int, device: str) -> dict[str, object]:
    """Wall seconds of both, in turns, and theirs over ours by round."""
    drain = torch.cuda.synchronize if device == "cuda" else lambda: None
    pairs = []
    for number in range(rounds + 2):  # two to warm up
        both = [0.0, 0.0]
        for place in (0, 1) if number % 2 else (1, 0):
            drain()
            began = time.perf_counter()
            (ours, theirs)[place]()
            drain()
            both[place] = time.perf_counter() - began
        pairs.append(both)
    kept = np.array(pairs[2:])
    ratios = kept[:, 1] / kept[:, 0]
    low, middle, high = np.percentile(ratios, [25, 50, 75]).tolist()
    return {"ours_s": float(np.median(kept[:, 0])), "theirs_s": float(np.median(kept[:, 1])), "median": middle, "low": low,
            "high": high, "n": rounds}  # fmt: skip


def main(
    toy: Annotated[bool, typer.Option("--toy", help="On the CPU, with two layers and short rows.")] = False,
    out: Annotated[Path, typer.Option(help="Where gpu.json goes; rows that stand there are kept.")] = Path(
        "build/bench"
    ),
) -> None:
    """Measure what is not in gpu.json yet."""
    device = "cpu" if toy else "cuda"
    out.mkdir(parents=True, exist_ok=True)
    kept = out / "gpu.json"
    found = (
        json.loads(kept.read_text()) if kept.exists() else {"device": "toy" if toy else torch.cuda.get_device_name()}
    )
    rounds, layers, task = (1, 1, "SST-2") if toy else (7, None, "MNLI")
    shape = "small" if toy else "base"

    def t5(dtype: torch.dtype) -> FrozenLM:
        return frozen(model(shape, layers=layers).to(device), dtype)

    def keep(key: str, measure: Callable[[], dict[str, object]]) -> None:
        if key not in found:
            found[key] = measure()
            kept.write_text(json.dumps(found, indent=1))
            print(f"{key}: {found[key]['median']:.2f} times as fast", flush=True)

    for precision in ("float32", "tf32", "bfloat16"):
        torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
        dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
        for batch in (2,) if toy else (8, 32):
            rows = rows_of(task, batch)

            def training(rows: list = rows, dtype: torch.dtype = dtype, batch: int = batch) -> dict[str, object]:
                mine = learner(t5(dtype))
                prompt = mine.method.export()["task"].weight
                theirs = PeftLoop(model(shape, layers=layers).to(device), prompt.to(device), rows, None, dropout=False)
                measured = turns(Ours([mine], rows, batch, GangOptions()), theirs, rounds, device)
                return {**measured, "useful_flops": step_flops(shape, rows, layers)}

            keep(f"T5-base training step, {precision} beside peft in float32, batch {batch}", training)
    for attention in ("sdpa",) if toy else ("sdpa", "eager"):

        def compiled(attention: str = attention, batch: int = 2 if toy else 8) -> dict[str, object]:
            rows = rows_of(task, batch)
            plain = Ours([learner(t5(torch.bfloat16))], rows, batch, GangOptions())
            return turns(Compiled(t5(torch.bfloat16), rows, attention, toy), plain, rounds, device)

        keep(f"T5-base training step, compiled, {attention} attention, bfloat16, beside ours as it is", compiled)
    for size in (2,) if toy else (1, 4, 8, 16, 32, 64):
        batch = 2 if toy else 8

        def gang(size: int = size, batch: int = batch) -> dict[str, object]:
            lm, rows = t5(torch.bfloat16), rows_of(task, 4 * batch)
            together = Ours([learner(lm, seed=i) for i in range(size)], rows, batch, GangOptions(pool="all"))
            alone = [Ours([learner(lm, seed=i)], rows, batch, GangOptions()) for i in range(size)]
            return turns(together, lambda: [each() for each in alone], rounds, device)

        keep(f"T5-base, gang of {size} beside one run after another, bfloat16, batch {batch}", gang)

    def mixed() -> dict[str, object]:
        lm, count = decoder(toy, torch.bfloat16), 4 if toy else 64
        lm.model.to(device)
        table = lm.vocabulary.table_VD
        prompts_KPD = torch.stack([table[torch.randperm(len(table))[:P]] for _ in range(count)]).to(device)
        source_BL = torch.randint(3, V, (count, 30), device=device)

        @torch.no_grad()
        def answer(prompt_BPD: torch.Tensor, ids_BL: torch.Tensor) -> torch.Tensor:
            joined = torch.cat([prompt_BPD.to(lm.embed(ids_BL).dtype), lm.embed(ids_BL)], 1)
            mask = torch.ones(joined.shape[:2], dtype=torch.long, device=device)
            return lm.model.generate(inputs_embeds=joined, attention_mask=mask, max_new_tokens=2, do_sample=False)

        def one_by_one() -> list[torch.Tensor]:
            return [answer(prompts_KPD[i : i + 1], source_BL[i : i + 1]) for i in range(count)]

        return turns(lambda: answer(prompts_KPD, source_BL), one_by_one, rounds, device)

    keep("decoder, rows of 64 prompts in one batch beside one prompt after another, bfloat16", mixed)


if __name__ == "__main__":
    typer.run(main)
