"""python -m benchmarks.serving [--out DIR] [--shape toy|real] [--kinds T5|LLaMA]... [--counts N]... [--laws uniform|Zipf]...

Throughput and latency of the server for 1 to 1,024 prompts, drawn uniformly and by Zipf's law, beside the plain model without a
prompt, beside peft, which makes one prompt after another the active one, and beside one server process for each prompt. Weights
are random: what is timed does not depend on them; `real` has the shapes of T5-small and SmolLM2-135M. Server and clients are
threads of one process, so every request passes HTTP, JSON and the tokenizer; peft is called directly. The ways take turns in
every round; figures are medians, of wall time or of this process's processor time. A round of a way has at least as many rows
as prompts, and every prompt was asked once before the first, so that each was read.
"""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
import typer
from matplotlib.figure import Figure

from benchmarks import scene
from benchmarks.mixed import SwappingPeft
from benchmarks.served import PLAIN, Apart, Kind, Shape, drawn_prompts, engine_of, model, running
from cpeft.data.rows import EncodedRow
from cpeft.serve.client import Client
from cpeft.serve.engine import Engine

Clock = Literal["wall", "cpu"]


class Law(StrEnum):
    UNIFORM = "uniform"
    ZIPF = "Zipf"


KINDS, LAWS = list(Kind), list(Law)
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
COUNTS = [1, 8, 64, 512, 1024]
CLIENTS, ROWS, PEER = 16, 4, 64  # ROWS of a request; PEER prompts and rows for peft
SIZES = np.arange(8, 40)  # tokens of a text, as often in any 32 texts
ONE, TOGETHER, EACH = "1 prompt", "one process", "a process each"


def main(
    out: Annotated[Path, typer.Option(help="For serving.json, serving.md and serving.svg.")] = Path("build/serving"),
    shape: Annotated[Shape, typer.Option()] = "toy",
    kinds: Annotated[list[Kind], typer.Option(help="Kinds of model; repeat for several.")] = KINDS,
    counts: Annotated[list[int], typer.Option(help="Numbers of prompts; repeat for several.")] = COUNTS,
    laws: Annotated[list[Law], typer.Option(help="How prompts are drawn.")] = LAWS,
    requests: Annotated[int, typer.Option(help="Requests of four rows of each way in a round, at the least.")] = 256,
    rounds: Annotated[int, typer.Option(help="After one that warms up.")] = 3,
    length: Annotated[int, typer.Option(help="Rows of a prompt.")] = 100,
    cache_mb: Annotated[int, typer.Option(help="MiB for keys and values of prompts on a decoder-only model.")] = 1024,
    cache_disk_mb: Annotated[int, typer.Option(help="MiB on a disk for those that do not fit.")] = 0,
    apart: Annotated[int, typer.Option(help="So many prompts also with a server process each; 0: none.")] = 0,
    clock: Annotated[Clock, typer.Option(help="Of rates; `cpu` where other work shares the machine.")] = "wall",
) -> None:
    """Measure, print and keep one table and one figure."""
    if apart and clock == "cpu":
        raise typer.BadParameter("the processor time of other processes is not counted: use --clock wall with --apart")
    torch.set_num_threads(1)
    out.mkdir(parents=True, exist_ok=True)
    found = {}
    for kind in kinds:
        found[kind] = measure(
            kind, shape, counts, laws, requests, rounds, length, cache_mb, cache_disk_mb, apart, clock
        )
        (out / "serving.json").write_text(json.dumps(found, indent=1))
    (out / "serving.md").write_text(table(found))
    draw(found, out / "serving.svg")
    print(table(found))


def measure(
    kind: Kind, shape: Shape, counts: Sequence[int], laws: Sequence[Law], requests: int, rounds: int, length: int,
    cache_mb: int, cache_disk_mb: int, apart: int, clock: Clock = "wall",
) -> dict[str, Any]:  # fmt: skip
    """By way and round: rows per second, seconds of every request, prompts whose keys and values were in memory, on the
    disk and nowhere; the tokens of texts and prompts for a fair comparison."""
    now = CLOCKS[clock]
    lm, rng = scene.frozen(model(kind, shape)), np.random.default_rng(0)
    weights, least = drawn_prompts(lm, max(*counts, PEER), length), requests * ROWS
    sizes = np.concatenate([rng.permutation(SIZES) for _ in range(0, max(least, *counts), len(SIZES))])
    texts = [" ".join(f"w{i}" for i in rng.integers(3, scene.V, n)) for n in sizes]
    ways = {ONE: ["0"] * least}
    ways |= {
        f"{count} prompts, {law}": _drawn(count, law, max(least, count), rng)
        for count in counts
        for law in laws
        if count > 1
    }
    ways[PLAIN] = [PLAIN] * least
    found: dict[str, Any] = {}
    peer = SwappingPeft(model(kind, shape), weights[:PEER], kind is Kind.T5)
    rows = [EncodedRow(tuple(ids), (), i % PEER) for i, ids in enumerate(lm.text.sources(texts[:PEER])[0])]
    prompts = {str(i): weight for i, weight in enumerate(weights)}
    disk = cache_disk_mb * 2**20 if kind is Kind.LLAMA else 0
    engine = engine_of(lm, prompts, cache_mb * 2**20, disk)
    with running(engine) as here, ExitStack() as others:
        own = {way: others.enter_context(apart_servers) for way, apart_servers in _apart(kind, shape, length, apart)}
        ways |= {way: _drawn(apart, Law.UNIFORM, least, rng) for way in own}
        _asked(dict.fromkeys(prompts, here), list(prompts), texts)
        for number in range(rounds + 1):  # the first one warms up
            for way, names in ways.items():
                before = _kept(engine)
                began = now()
                seconds = _asked(own[way].urls if way in own else dict.fromkeys(names, here), names, texts)
                _note(found, way, number, len(names) / (now() - began), seconds, _kept(engine) - before)
            began = now()
            peer(rows)
            _note(found, "peft", number, len(rows) / (now() - began))
        for way, servers in own.items():
            found[way]["memory"] = servers.memory
    about = {"text": float(SIZES.mean()), "prompt": length, "shape": shape, "cache_mb": cache_mb, "clock": clock}
    about["cache_disk_mb"] = cache_disk_mb
    return {"ways": found, **about}


def _apart(kind: Kind, shape: Shape, length: int, count: int) -> Iterator[tuple[str, Apart]]:
    """The same prompts in one server process, and in a process each."""
    names = [str(i) for i in range(count)]
    for way, parts in ((TOGETHER, [names]), (EACH, [[name] for name in names])) if names else ():
        yield f"{count} prompts, {way}", Apart(kind, shape, length, parts)


def _drawn(count: int, law: Law, rows: int, rng: np.random.Generator) -> list[str]:
    """The prompt of every row; by Zipf's law the k-th prompt is drawn in proportion to 1 / k."""
    share = np.ones(count) if law is Law.UNIFORM else 1 / np.arange(1, count + 1)
    return [str(name) for name in rng.choice(count, rows, p=share / share.sum())]


def _asked(urls: Mapping[str, str], names: Sequence[str], texts: Sequence[str]) -> list[float]:
    """Seconds of every request. Rows go to the server of their prompt; where there are several, requests
    go to them in turn."""
    rows: dict[str, list[tuple[str, str]]] = {}
    for name, text in zip(names, texts, strict=False):  # a way may have fewer rows than there are texts
        rows.setdefault(urls[name], []).append((name, text))
    parts = [(i, url, own[i : i + ROWS]) for url, own in rows.items() for i in range(0, len(own), ROWS)]
    with ExitStack() as stack, ThreadPoolExecutor(CLIENTS) as pool:
        clients = {url: stack.enter_context(Client(url, timeout=3600)) for url in rows}

        def ask(part: tuple[int, str, list[tuple[str, str]]]) -> float:
            began = time.perf_counter()
            clients[part[1]].predict([name for name, _ in part[2]], [{"text": text} for _, text in part[2]])
            return time.perf_counter() - began

        return list(pool.map(ask, sorted(parts, key=lambda part: part[0])))


def _kept(engine: Engine) -> np.ndarray:
    """Prompts so far whose keys and values were in memory, on the disk, and nowhere."""
    kept = engine.kept
    return np.array([kept.hits, kept.read_back, kept.misses] if kept else [0, 0, 0])


def _note(
    found: dict[str, Any],
    way: str,
    number: int,
    rate: float,
    seconds: Sequence[float] = (),
    kept: Sequence[int] = (0, 0, 0),
) -> None:
    each = found.setdefault(way, {"rate": [], "seconds": [], "kept": [0, 0, 0]})
    if number:
        each["rate"].append(rate)
        each["seconds"] += seconds
        each["kept"] = [int(a + b) for a, b in zip(each["kept"], kept, strict=True)]


def table(found: dict[str, Any]) -> str:
    """As Markdown. Rates are relative to those of one prompt, of peft and of the plain model in the same round; `useful` counts
    tokens of prompts and texts, against tokens of texts for the plain model; `memory` and `disk` are the shares of prompts in
    batches whose keys and values were found there."""
    heads = ["rows/s", "p50, ms", "p95, ms", "p99, ms", "of one prompt", "of peft", "useful, of plain"]
    heads += ["memory", "disk", "MiB"]
    lines = [f"| model | way | {' | '.join(heads)} |", f"|---|---|{'---:|' * len(heads)}"]
    for kind, each in found.items():
        rates = {way: np.array(one["rate"]) for way, one in each["ways"].items()}
        for way, one in each["ways"].items():
            late = np.percentile(one["seconds"], (50, 95, 99)) if one["seconds"] else ()
            tokens = each["text"] + (each["prompt"] if way != PLAIN else 0)
            useful = float(np.median(rates[way] / rates[PLAIN])) * tokens / each["text"]
            cells = [kind, way, f"{np.median(rates[way]):.1f}"]
            cells += [f"{1000 * value:.0f}" for value in late] or [""] * 3
            cells += [f"{np.median(rates[way] / rates[other]):.2f}" for other in (ONE, "peft")]
            cells += ["" if way == "peft" else f"{useful:.2f}"]
            cells += [f"{count / sum(one['kept']):.2f}" if sum(one["kept"]) else "" for count in one["kept"][:2]]
            cells += [f"{one['memory']:.0f}" if "memory" in one else ""]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def draw(found: dict[str, Any], path: Path) -> None:
    """Rows per second by the number of prompts, relative to one prompt."""
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot()
    for color, (kind, each) in zip(("#0072b2", "#d55e00"), found.items(), strict=False):
        for law, style in zip(Law, ("o-", "s--"), strict=True):
            rates = {
                int(way.split()[0]): np.array(one["rate"]) for way, one in each["ways"].items() if way.endswith(law)
            }
            one = np.array(each["ways"][ONE]["rate"])
            shares = [1.0, *(np.median(rate / one) for rate in rates.values())]
            axes.plot([1, *rates], shares, style, color=color, label=f"{kind}, {law}")
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_ylim(bottom=0)
    axes.set_xlabel("prompts")
    axes.set_ylabel("throughput relative to one prompt")
    axes.legend(frameon=False)
    figure.savefig(path)


if __name__ == "__main__":
    typer.run(main)
