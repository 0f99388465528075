"""`cpeft serve`: check the options, load model and prompts, listen until SIGTERM or SIGINT, answer what waits, end.

With several workers a supervisor, uvicorn's, holds the socket, starts each worker with a model of its own and starts a dead one
again.
"""

import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvicorn
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess

from cpeft.errors import ConfigError, CpeftError, reason
from cpeft.serve.results import Limits
from cpeft.serve.root import PromptRoot, folders_of
from cpeft.serve.web.connection import Connection
from cpeft.serve.web.guard import LOOPBACK, Metrics

if TYPE_CHECKING:
    from cpeft.serve.catalogue import Catalogue

KEYS = "CPEFT_SERVE_KEYS"  # environment variable: keys, separated by commas
# For a worker to answer the supervisor. One that dies in between is noticed only then, so what takes long to import is
# imported in `Serving.load`, after a worker has begun to answer.
HEALTH_S = 30


@dataclass(frozen=True)
class Serving:
    """What a process serves, and how. `prompts` and `tasks` as on the command line; `watch` and `root` are folders whose
    prompts come and go."""

    prompts: Sequence[str] = ()
    model: str | None = None
    tasks: Sequence[str] = ()
    watch: Sequence[Path] = ()
    root: Path | None = None
    host: str = "127.0.0.1"
    keys: Sequence[str] = ()
    admin_keys: Sequence[str] = ()
    log_texts: bool = False
    limits: Limits = field(default_factory=Limits)

    def check(self) -> None:
        """Raise ConfigError for what cannot be served, as far as it shows without the model."""
        if self.host not in LOOPBACK and not self.keys:
            raise ConfigError(
                f"--host {self.host} can be reached from other machines: give keys with --key-file or {KEYS}, or use 127.0.0.1"
            )
        if self.admin_keys and self.root is None:
            raise ConfigError("--admin-key-file is for calls that change a prompt root: give --prompt-root too")
        for folder in self.watch:
            if not folder.is_dir():
                raise ConfigError(f"--watch {folder}: no such folder")

    def load(self) -> "tuple[Any, Catalogue]":
        """The application, with model and prompts loaded; raises what loading them raises."""
        from cpeft.serve.catalogue import Catalogue
        from cpeft.serve.engine import Engine
        from cpeft.serve.prompts import load_prompts
        from cpeft.serve.watch import RootAdmin, Watcher
        from cpeft.serve.web.http import make_app

        lm, served = load_prompts(self.prompts, self.model, self.tasks)
        catalogue, metrics = Catalogue(lm, served), Metrics()
        root = PromptRoot(self.root) if self.root else None
        sources: dict[str, Callable[[], dict[str, Path]]] = {} if root is None else {str(root.folder): root.folders}
        for folder in self.watch:
            sources[str(folder)] = lambda folder=folder: folders_of(folder)  # type: ignore[misc]
        watcher = Watcher(catalogue, sources, self.tasks)
        watcher.look()
        app = make_app(
            Engine(catalogue, self.limits, metrics.batch.observe),
            metrics,
            self.keys,
            self.host in LOOPBACK,
            self.log_texts,
            self.admin_keys,
            RootAdmin(root, watcher) if root else None,
            [watcher],
        )
        return app, catalogue


@dataclass(frozen=True)
class _Worker:
    """Makes the application in a process of its own."""

    serving: Serving
    workers: int

    def __call__(self) -> Any:
        import torch

        torch.set_num_threads(max(len(os.sched_getaffinity(0)) // self.workers, 1))
        threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()
        _log_requests()
        try:
            app, _ = self.serving.load()
        except CpeftError as error:
            print(f"error: {error}", file=sys.stderr)
            raise SystemExit(STARTUP_FAILURE) from None
        return app


def _end_with_parent(parent: int) -> None:
    """A supervisor that was killed leaves no workers behind."""
    while os.getppid() == parent:
        time.sleep(1)
    os.kill(os.getpid(), signal.SIGTERM)


class _Server(uvicorn.Server):
    """A server that reports when it listens."""

    def __init__(self, config: uvicorn.Config, listening: Callable[[], None]) -> None:
        super().__init__(config)
        self.listening = listening

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self.listening()


def serve(serving: Serving, port: int = 8000, workers: int = 1, show: Callable[[str], None] = print) -> None:
    """Serve until a signal comes; `show` prints the lines for the user.

    Raises ConfigError (prompts that cannot be served, a port in use, a public address without keys) and what loading the
    model raises."""
    serving.check()
    log, level = logging.getLogger("cpeft"), logging.getLogger("cpeft").level
    handler = _log_requests()
    try:
        with _bound(serving.host, port) as listener:
            name = f"[{serving.host}]" if ":" in serving.host else serving.host
            address = f"http://{name}:{listener.getsockname()[1]}"
            if workers > 1:
                show(f"{workers} workers at {address}, each with a model of its own; loading")
                config = server_config(_Worker(serving, workers), serving.limits, factory=True, workers=workers)
                Multiprocess(config, [listener]).run()
                return
            app, catalogue = serving.load()
            lines = f"serving {len(catalogue.prompts)} prompts at {address}\n{catalogue.lines()}"
            _run(_Server(server_config(app, serving.limits), lambda: show(lines)), listener)
    finally:
        log.setLevel(level)
        if handler:
            log.removeHandler(handler)


def server_config(app: Any, limits: Limits, **more: Any) -> uvicorn.Config:
    """uvicorn's configuration; one for every server, also those of tests."""
    return uvicorn.Config(
        app,
        http=partial(Connection, head_s=limits.head_s),  # type: ignore[arg-type]
        ws="none",  # nothing here speaks it, and its connections have other limits
        access_log=False,
        log_level="warning",
        server_header=False,
        proxy_headers=False,
        lifespan="on",
        limit_concurrency=limits.connections,
        timeout_graceful_shutdown=int(limits.deadline_s) + 1,
        timeout_worker_healthcheck=HEALTH_S,
        **more,
    )


def _run(server: uvicorn.Server, listener: socket.socket) -> None:
    # uvicorn raises its signal again after the last answer; a server that was asked to end has not failed
    before = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        server.run(sockets=[listener])
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def read_keys(path: Path | None, variable: str | None = None, option: str = "--key-file") -> list[str]:
    """Keys: a line each of a file, and those of an environment variable. Raises ConfigError for a file that cannot be read or
    has none."""
    keys = [key.strip() for key in os.environ.get(variable, "").split(",")] if variable else []
    if path is not None:
        try:
            own = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
        except OSError as error:
            raise ConfigError(f"{option} {path}: {reason(error)}") from None
        if not any(own):
            raise ConfigError(f"{option} {path}: no key in it; write one a line")
        keys += own
    return [key for key in keys if key]


def _bound(host: str, port: int) -> socket.socket:
    """A socket at this address, so that a port in use is found before the model is loaded."""
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[
            0
        ]
        listener = socket.socket(family, kind)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        raise ConfigError(f"cannot listen on {host}:{port}: {reason(error)}; use another --host or --port") from None
    return listener


def _log_requests() -> logging.Handler | None:
    """Messages of the package to standard error: what is loaded, and a line for each request. The handler, if one was added."""
    log = logging.getLogger("cpeft")
    handler = None if log.handlers else logging.StreamHandler()
    if handler:
        log.addHandler(handler)
    log.setLevel(logging.INFO)
    return handler
