"""What `benchmarks.serving` serves: prompts drawn from the vocabulary, on models with random weights."""

import asyncio
import multiprocessing
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from enum import StrEnum
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, Literal

import torch
import uvicorn

from benchmarks import causal, scene
from cpeft.data.options import DataOptions
from cpeft.methods.bank import PromptBank
from cpeft.models.loading import FrozenLM
from cpeft.models.prompted import PromptedLM
from cpeft.prompts.soft_prompt import SoftPrompt
from cpeft.serve.catalogue import Catalogue
from cpeft.serve.engine import Engine
from cpeft.serve.prompts import ServedPrompt, base_prompt
from cpeft.serve.results import Limits
from cpeft.serve.start import server_config
from cpeft.serve.web.guard import Metrics
from cpeft.serve.web.http import make_app
from cpeft.use.target import Subject

Shape = Literal["toy", "real"]


class Kind(StrEnum):
    T5 = "T5"
    LLAMA = "LLaMA"


TASK = 'name = "words"\ntemplate = "{text}"\n[labels]\n0 = "w10"\n1 = "w13"\n[files]\ntrain = "none.csv"\n'
PLAIN = "plain model"


def model(kind: Kind, shape: Shape) -> Any:
    if kind is Kind.T5:
        return scene.model("small" if shape == "real" else "toy")
    return causal.decoder("smollm2" if shape == "real" else "toy", torch.float32)


def drawn_prompts(lm: FrozenLM, count: int, length: int) -> list[torch.Tensor]:
    draw, table_VD = torch.Generator().manual_seed(0), lm.vocabulary.table_VD
    return [table_VD[torch.randint(scene.V, (length,), generator=draw)].clone() for _ in range(count)]


def served(lm: FrozenLM, weights: dict[str, torch.Tensor]) -> dict[str, ServedPrompt]:
    """These prompts by name, and the plain model, all for one task."""
    task = Path(mkdtemp()) / "words.toml"
    task.write_text(TASK)
    plain = Subject(PromptedLM(lm, base_prompt(lm).learner.method, DataOptions()))
    reader = plain.reader(str(task))
    found = {PLAIN: ServedPrompt(PLAIN, plain, 0, reader, "plain")}
    for name, weight in weights.items():
        own = Subject(PromptedLM(lm, PromptBank({name: SoftPrompt(weight)}), DataOptions()))
        found[name] = ServedPrompt(name, own, 0, reader, name)
    return found


@contextmanager
def running(engine: Engine) -> Iterator[str]:
    """A server in a thread, and its address."""
    app: Any = make_app(engine, Metrics())
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(server_config(app, engine.limits))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve([listener])))
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


def engine_of(lm: FrozenLM, weights: dict[str, torch.Tensor], kept_bytes: int, disk_bytes: int = 0) -> Engine:
    limits = Limits(queue=10**6, deadline_s=3600, kept_bytes=kept_bytes, disk_bytes=disk_bytes)
    return Engine(Catalogue(lm, served(lm, weights)), limits)


def _serve(kind: Kind, shape: Shape, length: int, names: Sequence[str], parent: Connection) -> None:
    """A process of its own, until its parent sends a word."""
    torch.set_num_threads(1)
    lm = scene.frozen(model(kind, shape))
    weights = drawn_prompts(lm, max(map(int, names)) + 1, length)
    with running(engine_of(lm, {name: weights[int(name)] for name in names}, Limits.kept_bytes)) as url:
        parent.send(url)
        parent.recv()


class Apart:
    """Servers in processes of their own, one for each of the `parts`, names of prompts. `urls` by name, `memory` in MiB."""

    def __init__(self, kind: Kind, shape: Shape, length: int, parts: Sequence[Sequence[str]]) -> None:
        context, self._stack = multiprocessing.get_context("spawn"), ExitStack()
        self._processes, self.urls = [], dict[str, str]()
        for names in parts:
            ours, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(kind, shape, length, names, theirs), daemon=True)
            process.start()
            self._processes.append(process)
            self._stack.callback(process.join)
            self._stack.callback(partial(ours.send, None))
            self.urls |= dict.fromkeys(names, ours)  # type: ignore[arg-type]
        addresses = {pipe: pipe.recv() for pipe in dict.fromkeys(self.urls.values())}  # type: ignore[attr-defined]
        self.urls = {name: addresses[pipe] for name, pipe in self.urls.items()}

    def __enter__(self) -> "Apart":
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def memory(self) -> float:
        """Of all processes, what several of them share counted once."""
        total = 0
        for process in self._processes:
            lines = Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines()
            total += next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
        return total / 1024
