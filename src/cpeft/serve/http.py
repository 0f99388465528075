"""The HTTP front: endpoints over an engine. No torch here.

POST /v1/predict             raw rows, rendered as in the training of each prompt
POST /v1/completions         a text as it is, continued behind a prompt (OpenAI's shape)
POST /v1/chat/completions    the same as the user's turn of a chat
GET  /v1/models  /health  /ready  /metrics  /docs  /openapi.json
GET  /                       a page to try prompts on rows
"""

import asyncio
import html
import json
import time
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.exceptions import HTTPException

from cpeft import __version__
from cpeft.errors import CpeftError
from cpeft.registry import closest
from cpeft.serve.guard import Guard, Metrics, RequestError
from cpeft.serve.page import add_page
from cpeft.serve.results import Result
from cpeft.serve.scheduler import QueueFull
from cpeft.serve.scheduler import Request as Queued
from cpeft.serve.shapes import (
    ChatRequest,
    CompletionRequest,
    PredictRequest,
    PredictResponse,
    chat,
    completion,
    predicted,
)

if TYPE_CHECKING:
    from cpeft.serve.engine import Engine


class Front:
    """The endpoints' common part: from a request to the results of its rows."""

    def __init__(self, engine: "Engine", metrics: Metrics) -> None:
        self.engine, self.limits, self.metrics = engine, engine.limits, metrics
        self.started = int(time.time())
        self._encoder = ThreadPoolExecutor(1, "cpeft-encoder")  # tokenizes, so that the event loop does not wait

    def check(self, names: Sequence[str], rows: int, new: int = 0) -> None:
        """Raise RequestError for a prompt that is not served, or more than the limits allow."""
        if not 0 < rows <= self.limits.rows:
            raise RequestError(400, f"a request has 1 to {self.limits.rows} rows, this one has {rows}")
        if new > self.limits.new_tokens:
            raise RequestError(400, f"max_tokens is at most {self.limits.new_tokens}")
        for name in names:
            if name not in self.engine.prompts:
                close = closest(name[:200], self.engine.prompts)
                raise RequestError(404, f"no prompt {name[:80]!r}{close}; GET /v1/models lists them")

    async def results(self, request: Request, rows: int, submit: Callable[[], Queued]) -> tuple[list[Result], int]:
        """Queue rows and wait for their results; also how many rows were cut to fit. Rows are dropped at the deadline and
        when the client is gone."""
        request.state.rows = rows
        end = asyncio.get_running_loop().time() + self.limits.deadline_s
        try:
            if len(self.engine.scheduler) + rows > self.limits.queue:
                raise QueueFull
            queued = await asyncio.get_running_loop().run_in_executor(self._encoder, submit)
        except QueueFull:
            raise RequestError(429, "too many rows wait; try again", {"retry-after": "1"}) from None
        except CpeftError as error:  # the client's rows do not fit; the messages name columns and sizes
            raise RequestError(400, str(error)) from None
        answers, gone = asyncio.wrap_future(queued.future), asyncio.ensure_future(_disconnected(request))
        either: set[asyncio.Future[Any]] = {answers, gone}
        try:
            left = end - asyncio.get_running_loop().time()
            await asyncio.wait(either, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            if not answers.done():
                late = f"no answer within {self.limits.deadline_s:g} seconds"
                raise RequestError(499, "the client is gone") if gone.done() else RequestError(504, late)
            results: list[Result] = await answers
        finally:
            answers.cancel()
            gone.cancel()
        for result in results:
            self.metrics.rows.labels(result.prompt).inc()
            self.metrics.tokens.labels("read").inc(result.read)
            self.metrics.tokens.labels("generated").inc(result.generated)
        return results, queued.cut

    def close(self) -> None:
        self._encoder.shutdown()
        self.engine.close()


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def make_app(
    engine: "Engine", metrics: Metrics, keys: Sequence[str] = (), local: bool = True, log_texts: bool = False
) -> Guard:
    """The ASGI application over an engine, which it starts and closes."""
    front = Front(engine, metrics)
    metrics.waiting.set_function(lambda: len(engine.scheduler))

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        engine.start()
        yield
        await asyncio.to_thread(front.close)

    app = FastAPI(title="CPEFT", version=__version__, lifespan=lifespan, docs_url=None, redoc_url=None)
    _add_errors(app)
    _add_answers(app, front)
    _add_status(app, front)
    add_page(app, engine.limits)
    return Guard(app, engine.limits, keys, local, metrics, log_texts)


def _add_answers(app: FastAPI, front: Front) -> None:
    """The endpoints that answer rows and texts."""
    engine = front.engine

    @app.post("/v1/predict", response_model=PredictResponse)
    async def predict(asked: PredictRequest, request: Request) -> Any:
        """Answer raw rows of a task, with the probability of every label."""
        rows = len(asked.rows)
        names = [asked.prompt] * rows if isinstance(asked.prompt, str) else asked.prompt
        if len(names) != rows:
            raise RequestError(400, f"{len(names)} prompts for {rows} rows: give one for all, or one for each")
        front.check(names, rows)
        results, cut = await front.results(request, rows, lambda: engine.submit_rows(names, asked.rows))
        return predicted(request.state.request_id, results, cut)

    @app.post("/v1/completions")
    async def completions(asked: CompletionRequest, request: Request) -> Any:
        """Continue texts behind a prompt; the text is read as it is, without the template of a task."""
        texts = [asked.prompt] if isinstance(asked.prompt, str) else asked.prompt
        front.check([asked.model], len(texts), asked.max_tokens)
        results, _ = await front.results(
            request, len(texts), lambda: engine.submit_texts(asked.model, texts, asked.max_tokens, False)
        )
        return completion(request.state.request_id, results, asked)

    @app.post("/v1/chat/completions")
    async def chat_completions(asked: ChatRequest, request: Request) -> Any:
        """Answer one message of a user behind a prompt, in the chat template where the prompt was trained in it."""
        front.check([asked.model], 1, asked.new_tokens)
        results, _ = await front.results(
            request, 1, lambda: engine.submit_texts(asked.model, [asked.text], asked.new_tokens, True)
        )
        return chat(request.state.request_id, results[0], asked)


def _add_status(app: FastAPI, front: Front) -> None:
    """The endpoints about the server itself."""

    @app.get("/v1/models")
    async def models() -> Any:
        """The prompts that are served."""
        known = {"object": "model", "created": front.started, "owned_by": "cpeft"}
        return {"object": "list", "data": [{**known, **each} for each in front.engine.models()]}

    @app.get("/health")
    async def health() -> Any:
        """Whether the process answers."""
        return {"status": "ok"}

    @app.get("/ready")
    async def ready() -> Any:
        """Whether rows are answered; 503 where they are not."""
        if not front.engine.ready:
            raise RequestError(503, "the engine does not run")
        return {"status": "ready"}

    @app.get("/metrics")
    async def metrics() -> Response:
        """Counts for Prometheus."""
        return Response(generate_latest(front.metrics.registry), media_type=CONTENT_TYPE_LATEST)

    @app.get("/docs", include_in_schema=False)
    async def docs() -> Response:
        return Response(_page(app.openapi()), media_type="text/html")


def _page(schema: dict[str, Any]) -> str:
    """The OpenAPI schema as a page that loads nothing from elsewhere."""
    parts = [
        f"<h2>{method.upper()} {html.escape(path)}</h2><p>{html.escape(call.get('description', ''))}</p>"
        for path, methods in schema["paths"].items()
        for method, call in methods.items()
    ]
    shapes = html.escape(json.dumps(schema["components"]["schemas"], indent=2))
    head = '<!doctype html><html lang="en"><meta charset="utf-8"><title>CPEFT API</title><h1>CPEFT API</h1>'
    return (
        f'{head}{"".join(parts)}<h2>Shapes</h2><pre>{shapes}</pre><p><a href="openapi.json">openapi.json</a></p></html>'
    )


def _add_errors(app: FastAPI) -> None:
    """Every error in one shape, which tells nothing of the inside."""

    @app.exception_handler(RequestError)
    async def known(request: Request, error: RequestError) -> Response:
        return error.response()

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        place = ".".join(str(part)[:40] for part in first["loc"] if part != "body")
        return RequestError(400, f"{place}: {first['msg']}" if place else str(first["msg"])).response()

    @app.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException) -> Response:
        return RequestError(error.status_code, str(error.detail), dict(error.headers or {})).response()

    @app.exception_handler(Exception)
    async def unexpected(request: Request, error: Exception) -> Response:
        return RequestError(500, f"internal error; its id in the log is {request.state.request_id}").response()
