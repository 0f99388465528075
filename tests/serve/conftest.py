"""Servers on tiny models: prompts in folders, a run of ATTEMPT, tasks of a user, and a server in a thread."""

import asyncio
import socket
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
import uvicorn

import cpeft
from cpeft.data.options import DataOptions
from cpeft.methods.base import METHODS, MethodInputs
from cpeft.methods.prompt_tuning import PromptTuning
from cpeft.models.mixed import read_mixed
from cpeft.models.prompted import PromptedLM
from cpeft.models.saved import save_method
from cpeft.options.evaluation import EvalOptions
from cpeft.serve import engine as engines
from cpeft.serve.catalogue import Catalogue
from cpeft.serve.prompts import load_prompts
from cpeft.serve.results import Limits
from cpeft.serve.start import server_config
from cpeft.serve.web.guard import Metrics
from cpeft.serve.web.http import make_app
from tiny import P, make_lm, make_sources

TASK = 'name = "{name}"\ntemplate = "{{text}}"\n{labels}[files]\ntrain = "none.csv"\n'
MOOD = '[labels]\n0 = "negative"\n1 = "positive"\n'


@dataclass(frozen=True)
class Shop:
    """What a server is started with: `prompts` as on the command line, by the names they get, and task files."""

    model: Path
    prompts: dict[str, str]
    tasks: list[str]

    @property
    def texts(self) -> list[str]:
        return [f"{name}={what}" for name, what in self.prompts.items()]


def write_shop(folder: Path, arch: str) -> Shop:
    """Two prompts of a closed task, one of another length, one of an open task, a formula and a run of ATTEMPT."""
    lm = make_lm(arch)
    lm.name = str(folder / "model")
    lm.model.save_pretrained(folder / "model")
    lm.tokenizer.save_pretrained(folder / "model")
    (folder / "mood.toml").write_text(TASK.format(name="mood", labels=MOOD))
    (folder / "open.toml").write_text(TASK.format(name="open", labels=""))
    data = DataOptions(max_source=24)

    def learner(method: str, task: str, seed: int, rows: int = P) -> PromptedLM:
        cls = METHODS.get(method)
        sources = make_sources(width=lm.width) if cls.Options.uses_sources else {}
        initial_PD = torch.randn(rows, lm.width, generator=torch.Generator().manual_seed(seed))
        options = cls.Options(name=method, **({"bottleneck": 8, "temperature": 1.0} if sources else {}))
        return PromptedLM(lm, cls(options, MethodInputs((task,), initial_PD, sources, seed)), data)

    for name, task, seed, rows in (
        ("a", "mood", 1, P),
        ("b", "mood", 2, P),
        ("long", "mood", 3, P + 3),
        ("say", "open", 4, P),
    ):
        learner("prompt_tuning", task, seed, rows).export()[task].save(folder / name)
    mix, tuned = learner("attempt", "mood", 5), learner("prompt_tuning", "mood", 1)
    card = {"eval": EvalOptions().model_dump(), "lm": {"name": lm.name}}
    save_method(
        mix,
        METHODS.get("attempt").Options(name="attempt", bottleneck=8, temperature=1.0),
        folder / "mix" / "method",
        card,
    )
    card["eval"]["match"] = "lower"
    save_method(tuned, PromptTuning.Options(name="prompt_tuning"), folder / "run" / "method", card)
    tuned.export()["mood"].save(folder / "run" / "prompts" / "mood")
    formula = f"mean('{folder / 'a'}', '{folder / 'b'}')"
    prompts = {name: str(folder / name) for name in ("a", "b", "long", "say", "mix")} | {"sum": formula}
    return Shop(
        folder / "model", prompts, [str(folder / "mood.toml"), str(folder / "open.toml"), f"sum={folder / 'mood.toml'}"]
    )


@pytest.fixture(scope="session")
def shops(tmp_path_factory):
    return {arch: write_shop(tmp_path_factory.mktemp(arch), arch) for arch in ("t5", "llama", "mistral")}


@pytest.fixture(scope="session")
def loaded(shops):
    """The prompts of each shop on their model; read only."""
    return {arch: load_prompts(shop.texts, None, shop.tasks) for arch, shop in shops.items()}


class Running:
    """A server in a thread of this process; `rows_of_batches` are the numbers of rows that were answered together."""

    def __init__(self, catalogue, limits, **options) -> None:
        self.rows_of_batches: list[int] = []
        self.engine = engines.Engine(catalogue, limits, self.rows_of_batches.append)
        app = make_app(self.engine, Metrics(), **options)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = self.listener.getsockname()
        self.url = f"http://127.0.0.1:{self.address[1]}"
        self.server = uvicorn.Server(server_config(app, limits))
        self.thread = threading.Thread(target=lambda: asyncio.run(self.server.serve([self.listener])))

    def client(self, **options) -> "cpeft.Client":
        return cpeft.Client(self.url, **options)


@pytest.fixture
def serving(loaded):
    """Start servers that end with the block."""

    @contextmanager
    def start(arch="t5", limits=None, catalogue=None, **options):
        running = Running(catalogue or Catalogue(*loaded[arch]), limits or Limits(), **options)
        running.thread.start()
        try:
            yield running
        finally:
            running.server.should_exit = True
            running.thread.join(30)
            assert not running.thread.is_alive()

    return start


@pytest.fixture
def held(monkeypatch):
    """The engine waits with every batch until the event is set; `held.seen` are the rows that it began."""
    event = threading.Event()
    event.seen = []

    def waiting(lm, kept, prompts, sources, new):
        event.seen.extend(sources)
        assert event.wait(30)
        return read_mixed(lm, kept, prompts, sources, new)

    monkeypatch.setattr(engines, "read_mixed", waiting)
    yield event
    event.set()
