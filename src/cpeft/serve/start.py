"""`cpeft serve`: check the options, load model and prompts, listen until SIGTERM or SIGINT, answer what waits, end."""

import logging
import os
import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvicorn

from cpeft.errors import ConfigError, reason
from cpeft.serve.catalogue import Catalogue
from cpeft.serve.engine import Engine
from cpeft.serve.prompts import describe, load_prompts
from cpeft.serve.results import Limits
from cpeft.serve.web.guard import LOOPBACK, Metrics
from cpeft.serve.web.http import make_app

KEYS = "CPEFT_SERVE_KEYS"  # environment variable: keys, separated by commas


class _Server(uvicorn.Server):
    """A server that reports when it listens."""

    def __init__(self, config: uvicorn.Config, listening: Callable[[], None]) -> None:
        super().__init__(config)
        self.listening = listening

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self.listening()


def serve(
    prompts: Sequence[str],
    model: str | None = None,
    tasks: Sequence[str] = (),
    host: str = "127.0.0.1",
    port: int = 8000,
    key_file: Path | None = None,
    log_texts: bool = False,
    limits: Limits | None = None,
    show: Callable[[str], None] = print,
) -> None:
    """Serve prompts until a signal comes; `show` prints the lines for the user.

    Raises ConfigError (prompts that cannot be served, a port in use, a public address without keys) and what loading the
    model raises."""
    keys, local = read_keys(key_file), host in LOOPBACK
    if not local and not keys:
        raise ConfigError(
            f"--host {host} can be reached from other machines: give keys with --key-file or {KEYS}, or use 127.0.0.1"
        )
    with _logged_requests(), _bound(host, port) as listener:
        lm, served = load_prompts(prompts, model, tasks)
        metrics = Metrics()
        engine = Engine(Catalogue(lm, served), limits or Limits(), metrics.batch.observe)
        app: Any = make_app(engine, metrics, keys, local, log_texts)
        name = f"[{host}]" if ":" in host else host
        address = f"http://{name}:{listener.getsockname()[1]}"
        _run(
            app,
            engine.limits,
            listener,
            lambda: show(f"serving {len(served)} prompts at {address}\n{describe(served)}"),
        )


def _run(app: Any, limits: Limits, listener: socket.socket, listening: Callable[[], None]) -> None:
    config = uvicorn.Config(
        app,
        access_log=False,
        log_level="warning",
        server_header=False,
        proxy_headers=False,
        lifespan="on",
        limit_concurrency=limits.connections,
        timeout_graceful_shutdown=int(limits.deadline_s) + 1,
    )
    # uvicorn raises its signal again after the last answer; a server that was asked to end has not failed
    before = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        _Server(config, listening).run(sockets=[listener])
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def read_keys(path: Path | None) -> list[str]:
    """Keys of clients: a line each of a file, and those of the environment. Raises ConfigError for a file that cannot be read
    or has none."""
    keys = [key.strip() for key in os.environ.get(KEYS, "").split(",")]
    if path is not None:
        try:
            own = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
        except OSError as error:
            raise ConfigError(f"--key-file {path}: {reason(error)}") from None
        if not any(own):
            raise ConfigError(f"--key-file {path}: no key in it; write one a line")
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


@contextmanager
def _logged_requests() -> Iterator[None]:
    """Messages of the package to standard error while it serves: what is loaded, and a line for each request."""
    log = logging.getLogger("cpeft")
    level, handler = log.level, None if log.handlers else logging.StreamHandler()
    if handler:
        log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.setLevel(level)
        if handler:
            log.removeHandler(handler)
