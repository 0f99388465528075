"""python -m benchmarks.serving [--out DIR] [--shape toy|real] [--requests N] [--rounds N]

Throughput and latency of the server for 1 to 1,024 prompts, drawn uniformly and by Zipf's law, beside the plain model without a
prompt and beside peft, which makes one prompt after another the active one. Weights are random: what is timed does not depend
on them; `real` has the shapes of T5-small and SmolLM2-135M. Server and clients are threads of one process, so every request
passes HTTP, JSON and the tokenizer; peft is called directly. The ways take turns in every round; figures are medians.
"""

import asyncio
import json
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp
from typing import Annotated, Any, Literal

import numpy as np
import torch
import typer
import uvicorn
from matplotlib.figure import Figure

from benchmarks import causal, scene
from benchmarks.mixed import SwappingPeft
from cpeft.data.options import DataOptions
from cpeft.data.rows import EncodedRow
from cpeft.methods.bank import PromptBank
from cpeft.models.loading import FrozenLM
from cpeft.models.prompted import PromptedLM
from cpeft.prompts.soft_prompt import SoftPrompt
from cpeft.serve.catalogue import Catalogue
from cpeft.serve.client import Client
from cpeft.serve.engine import Engine
from cpeft.serve.prompts import ServedPrompt, base_prompt
from cpeft.serve.results import Limits
from cpeft.serve.web.guard import Metrics
from cpeft.serve.web.http import make_app
from cpeft.use.target import Subject

Kind = Literal["T5", "LLaMA"]
COUNTS, CLIENTS, ROWS, PEER = (1, 8, 64, 512, 1024), 16, 4, 64  # ROWS of a request; PEER prompts and rows for peft
TASK = 'name = "words"\ntemplate = "{text}"\n[labels]\n0 = "w10"\n1 = "w13"\n[files]\ntrain = "none.csv"\n'
PLAIN = "plain model"


def main(
    out: Annotated[Path, typer.Option(help="For serving.json, serving.md and serving.svg.")] = Path("build/serving"),
    shape: Annotated[Literal["toy", "real"], typer.Option()] = "toy",
    requests: Annotated[int, typer.Option(help="Requests of each way in a round.")] = 48,
    rounds: Annotated[int, typer.Option()] = 3,
    length: Annotated[int, typer.Option(help="Rows of a prompt.")] = 100,
) -> None:
    """Measure, print and keep one table and one figure."""
    torch.set_num_threads(1)
    out.mkdir(parents=True, exist_ok=True)
    found = {kind: measure(kind, shape, requests, rounds, length) for kind in ("T5", "LLaMA")}
    (out / "serving.json").write_text(json.dumps(found, indent=1))
    (out / "serving.md").write_text(table(found))
    draw(found, out / "serving.svg")
    print(table(found))


def measure(kind: Kind, shape: str, requests: int, rounds: int, length: int) -> dict[str, Any]:
    """By way and round: rows per second and seconds of every request; the tokens of texts and prompts for a fair comparison."""
    lm, rng = scene.frozen(_model(kind, shape)), np.random.default_rng(0)
    prompts, weights = _prompts(lm, max(COUNTS), length)
    texts = [" ".join(f"w{i}" for i in rng.integers(3, scene.V, n)) for n in rng.integers(8, 40, requests * ROWS)]
    ways = {
        f"{count} prompts, {law}": _drawn(count, law, len(texts), rng)
        for count in COUNTS
        for law in ("uniform", "Zipf")
    }
    ways[PLAIN] = [PLAIN] * len(texts)
    peer = SwappingPeft(_model(kind, shape), weights[:PEER], kind == "T5")
    rows = [EncodedRow(tuple(ids), (), i % PEER) for i, ids in enumerate(lm.text.sources(texts[:PEER])[0])]
    found: dict[str, Any] = {name: {"rate": [], "seconds": []} for name in [*ways, "peft"]}
    with _running(lm, prompts) as url, Client(url, timeout=600) as client, ThreadPoolExecutor(CLIENTS) as pool:

        def ask(names: Sequence[str], own: Sequence[str]) -> float:
            began = time.perf_counter()
            client.predict(names, [{"text": text} for text in own])
            return time.perf_counter() - began

        for number in range(rounds + 1):  # the first one warms up
            for name, names in ways.items():
                parts = [(names[i : i + ROWS], texts[i : i + ROWS]) for i in range(0, len(texts), ROWS)]
                began = time.perf_counter()
                seconds = list(pool.map(ask, *zip(*parts, strict=True)))
                if number:
                    found[name]["rate"].append(len(texts) / (time.perf_counter() - began))
                    found[name]["seconds"] += seconds
            began = time.perf_counter()
            peer(rows)
            if number:
                found["peft"]["rate"].append(len(rows) / (time.perf_counter() - began))
    mean = float(np.mean([len(text.split()) for text in texts]))
    return {"ways": found, "text": mean, "prompt": length, "shape": shape}


def _model(kind: Kind, shape: str) -> Any:
    if kind == "T5":
        return scene.model("small" if shape == "real" else "toy")
    return causal.decoder("smollm2" if shape == "real" else "toy", torch.float32)


def _prompts(lm: FrozenLM, count: int, length: int) -> tuple[dict[str, ServedPrompt], list[torch.Tensor]]:
    """Prompts drawn from the vocabulary, and the plain model for the same task."""
    task = Path(mkdtemp()) / "words.toml"
    task.write_text(TASK)
    draw, table_VD = torch.Generator().manual_seed(0), lm.vocabulary.table_VD
    weights = [table_VD[torch.randint(scene.V, (length,), generator=draw)].clone() for _ in range(count)]
    plain = base_prompt(lm)
    subject = Subject(PromptedLM(lm, plain.learner.method, DataOptions()))
    reader = subject.reader(str(task))
    found = {PLAIN: ServedPrompt(PLAIN, subject, 0, reader, "plain")}
    for number, weight in enumerate(weights):
        name = str(number)
        own = Subject(PromptedLM(lm, PromptBank({name: SoftPrompt(weight)}), DataOptions()))
        found[name] = ServedPrompt(name, own, 0, reader, name)
    return found, weights


def _drawn(count: int, law: str, rows: int, rng: np.random.Generator) -> list[str]:
    """The prompt of every row; by Zipf's law the k-th prompt is drawn in proportion to 1 / k."""
    share = np.ones(count) if law == "uniform" else 1 / np.arange(1, count + 1)
    return [str(name) for name in rng.choice(count, rows, p=share / share.sum())]


@contextmanager
def _running(lm: FrozenLM, prompts: dict[str, ServedPrompt]) -> Iterator[str]:
    """A server in a thread, and its address."""
    app: Any = make_app(Engine(Catalogue(lm, prompts), Limits(queue=10**6, deadline_s=600)), Metrics())
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical", lifespan="on"))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve([listener])))
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


def table(found: dict[str, Any]) -> str:
    """As Markdown. Rates are relative to those of one prompt, of peft and of the plain model in the same round; `useful` counts
    tokens of prompts and texts, against tokens of texts for the plain model."""
    lines = [
        "| model | way | rows/s | p50, ms | p95, ms | p99, ms | of one prompt | of peft | useful, of the plain model |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for kind, each in found.items():
        rates = {name: np.array(way["rate"]) for name, way in each["ways"].items()}
        for name, way in each["ways"].items():
            late = np.percentile(way["seconds"], (50, 95, 99)) if way["seconds"] else ()
            tokens = each["text"] + (each["prompt"] if name != PLAIN else 0)
            useful = float(np.median(rates[name] / rates[PLAIN])) * tokens / each["text"]
            cells = [
                kind,
                name,
                f"{np.median(rates[name]):.1f}",
                *([f"{1000 * value:.0f}" for value in late] or [""] * 3),
            ]
            cells += [f"{np.median(rates[name] / rates[other]):.2f}" for other in ("1 prompts, uniform", "peft")]
            lines.append(f"| {' | '.join([*cells, '' if name == 'peft' else f'{useful:.2f}'])} |")
    return "\n".join(lines) + "\n"


def draw(found: dict[str, Any], path: Path) -> None:
    """Rows per second by the number of prompts, relative to one prompt."""
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot()
    for color, (kind, each) in zip(("#0072b2", "#d55e00"), found.items(), strict=True):
        one = np.array(each["ways"]["1 prompts, uniform"]["rate"])
        for law, style in (("uniform", "o-"), ("Zipf", "s--")):
            rates = [np.median(np.array(each["ways"][f"{count} prompts, {law}"]["rate"]) / one) for count in COUNTS]
            axes.plot(COUNTS, rates, style, color=color, label=f"{kind}, {law}")
    axes.set_xscale("log", base=2)
    axes.set_xticks(COUNTS, [str(count) for count in COUNTS])
    axes.set_ylim(bottom=0)
    axes.set_xlabel("prompts")
    axes.set_ylabel("throughput relative to one prompt")
    axes.legend(frameon=False)
    figure.savefig(path)


if __name__ == "__main__":
    typer.run(main)
