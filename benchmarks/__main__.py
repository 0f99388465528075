"""python -m benchmarks quick|standard|full [--out DIR]

quick     two to three minutes: short texts, T5-small shapes, one row of each kind
standard  20 to 30 minutes: three lengths, dropout, gangs, evaluation, mixture, cache, memory, a real model
full      hours: also T5-base shapes, batch 32, more gangs; finished rows of DIR are kept and not measured again
"""

import json
import os
import platform
from pathlib import Path
from typing import Annotated, Literal

import torch
import transformers
import typer

from benchmarks.figure import draw
from benchmarks.measure import Ratio, peak_of, table
from benchmarks.outside import shares
from benchmarks.rows import rows_for
from benchmarks.training import short


def main(
    size: Annotated[Literal["quick", "standard", "full"], typer.Argument()],
    out: Annotated[
        Path, typer.Option(help="For results.json, table.md and ratios.svg; rows there are kept.")
    ] = Path("build/bench"),
    only: Annotated[str, typer.Option(help="Rows whose key begins so.")] = "",
) -> None:  # fmt: skip
    """Measure, print and keep one table and one figure. One thread, processor time; wall time with two beside it."""
    torch.set_num_threads(1)
    out.mkdir(parents=True, exist_ok=True)
    kept = out / "results.json"
    found = json.loads(kept.read_text()) if kept.exists() else {}
    peaks = {dtype: peak_of(dtype) for dtype in (torch.float32, torch.bfloat16)}
    rows = list(rows_for(size, peaks))
    for key, measure in rows:
        if not key.startswith(only) or key in found:
            continue
        ratio = measure()
        found[key] = ratio.saved()
        kept.write_text(json.dumps(found, indent=1))
        print(f"{key}: {ratio.quartiles[1]:.2f} times as fast ({ratio.check})", flush=True)
    order = list(dict.fromkeys([*(key for key, _ in rows if key in found), *found]))
    ratios = [Ratio.of(found[key]) for key in order]
    outside = ", ".join(f"{what} {100 * share:.1f}%" for what, share in shares(1 if size == "quick" else 3).items())
    peak = ", ".join(f"{short(dtype)} {value / 1e9:.0f} GFLOP/s" for dtype, value in peaks.items())
    text = (
        f"{table(ratios)}\n\nOutside the model, T5-small shape, batch 8, SST-2 lengths: {outside}.\n\n{_processor()}, "
        f"{os.cpu_count()} cores, torch {torch.__version__}, transformers {transformers.__version__}; "
        f"peak of a 2048-wide product with one thread: {peak}\n"
    )
    (out / "table.md").write_text(text)
    draw(ratios, out / "ratios.svg")
    print("\n" + text)


def _processor() -> str:
    """Its name, and what it has for matrices."""
    said = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    name = next((line.partition(":")[2].strip() for line in said.splitlines() if line.startswith("model name")), "")
    has = [word for word in ("amx_bf16", "avx512_bf16", "avx512f", "avx2") if word in said]
    return f"{name or platform.machine()} ({has[0] if has else 'no vector extensions known'})"


if __name__ == "__main__":
    typer.run(main)
