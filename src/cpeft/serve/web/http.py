"""The HTTP front: endpoints over an engine. No torch here.

POST /v1/predict             raw rows, rendered as in the training of each prompt
POST /v1/completions         a text as it is, continued behind a prompt (OpenAI's shape)
POST /v1/chat/completions    the same as the user's turn of a chat
POST /v1/prompts             serve a prompt of the prompt root; DELETE takes it away
GET  /v1/models  /health  /ready  /metrics  /docs  /openapi.json
GET  /                       a page to try prompts on rows
"""

import asyncio
import html
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Protocol

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.exceptions import HTTPException

from cpeft import __version__
from cpeft.serve.web.admin import Admin, add_admin
from cpeft.serve.web.front import Front, Submit
from cpeft.serve.web.guard import Guard, Metrics, RequestError
from cpeft.serve.web.page import add_page
from cpeft.serve.web.shapes import (
    ChatRequest,
    CompletionRequest,
    PredictRequest,
    PredictResponse,
    chat,
    completion,
    predicted,
)
from cpeft.serve.web.streaming import streamed

if TYPE_CHECKING:
    from cpeft.serve.engine import Engine
    from cpeft.serve.prompts import ServedPrompt


class Background(Protocol):
    """Something that works beside the requests."""

    def start(self) -> None: ...

    def close(self) -> None: ...


def make_app(
    engine: "Engine",
    metrics: Metrics,
    keys: Sequence[str] = (),
    local: bool = True,
    log_texts: bool = False,
    admin_keys: Sequence[str] = (),
    admin: Admin | None = None,
    background: Sequence[Background] = (),
) -> Guard:
    """The ASGI application over an engine, which it starts and closes, as it does what works in the `background`."""
    front = Front(engine, metrics)
    metrics.waiting.set_function(lambda: len(engine.scheduler))
    metrics.prompts.set_function(lambda: len(engine.catalogue.prompts))
    if kept := engine.kept:
        metrics.kept.labels("memory").set_function(lambda: kept.hits)
        metrics.kept.labels("disk").set_function(lambda: kept.read_back)
        metrics.kept.labels("no").set_function(lambda: kept.misses)
        if disk := kept.disk:
            metrics.disk_errors.set_function(lambda: disk.errors)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        engine.start()
        for each in background:
            each.start()
        yield
        for each in background:
            await asyncio.to_thread(each.close)
        await asyncio.to_thread(front.close)

    app = FastAPI(title="CPEFT", version=__version__, lifespan=lifespan, docs_url=None, redoc_url=None)
    _add_errors(app)
    _add_answers(app, front)
    _add_status(app, front)
    add_admin(app, admin)
    add_page(app, engine.limits)
    return Guard(app, engine.limits, keys, local, metrics, log_texts, admin_keys)


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
        front.check(rows)
        prompts = front.prompts(names)
        if asked.min_probability and (vague := next((each for each in prompts if each.temperature is None), None)):
            raise RequestError(400, f"prompt '{vague.name}' has no fitted temperature (cpeft calibrate)")
        results, cut = await front.results(
            request, rows, lambda on_text: engine.submit_rows(prompts, asked.rows, asked.exact)
        )
        return predicted(request.state.request_id, results, cut, asked.min_probability)

    @app.post("/v1/completions")
    async def completions(asked: CompletionRequest, request: Request) -> Any:
        """Continue texts behind a prompt; the text is read as it is, without the template of a task."""
        texts = [asked.prompt] if isinstance(asked.prompt, str) else asked.prompt
        front.check(len(texts), asked.max_tokens)
        [prompt] = front.prompts([asked.model])

        def submit(on_text: Any) -> Any:
            return engine.submit_texts(prompt, texts, asked.max_tokens, on_text)

        if asked.stream:
            parts = front.parts(request, len(texts), submit)
            return await streamed(parts, request.state.request_id, asked, asked.max_tokens)
        results, _ = await front.results(request, len(texts), submit)
        return completion(request.state.request_id, results, asked)

    @app.post("/v1/chat/completions")
    async def chat_completions(asked: ChatRequest, request: Request) -> Any:
        """Answer one message of a user: the row of a prompt's task, written as in its training; or any text for the base
        model, in its chat template."""
        front.check(1, asked.new_tokens)
        [prompt] = front.prompts([asked.model])
        submit = _message(engine, prompt, asked)
        if asked.stream:
            parts = front.parts(request, 1, submit)
            return await streamed(parts, request.state.request_id, asked, asked.new_tokens)
        results, _ = await front.results(request, 1, submit)
        return chat(request.state.request_id, results[0], asked)


def _message(engine: "Engine", prompt: "ServedPrompt", asked: ChatRequest) -> Submit:
    """How a message is queued; raises RequestError for a task whose rows have several columns."""
    if prompt.task is None:
        return lambda on_text: engine.submit_texts(prompt, [asked.text], asked.new_tokens, on_text, chat=True)
    if len(prompt.task.shown) != 1:
        columns = ", ".join(prompt.task.shown)
        raise RequestError(400, f"a row of task '{prompt.task.name}' has the columns {columns}: use /v1/predict")
    row = {prompt.task.shown[0]: asked.text}
    return lambda on_text: engine.submit_rows([prompt], [row], new=asked.new_tokens, on_text=on_text)


def _add_status(app: FastAPI, front: Front) -> None:
    """The endpoints about the server itself."""

    @app.get("/v1/models")
    async def models() -> Any:
        """The prompts that are served."""
        known, catalogue = {"object": "model", "created": front.started, "owned_by": "cpeft"}, front.engine.catalogue
        models = [{**known, **each} for each in catalogue.described()]
        return {"object": "list", "data": models, "generation": catalogue.generation}

    @app.get("/health")
    async def health() -> Any:
        """Whether the process answers."""
        return {"status": "ok"}

    @app.get("/ready")
    async def ready() -> Any:
        """Whether rows are answered; 503 where they are not."""
        if not front.engine.ready:
            raise RequestError(503, "the engine does not run")
        return {"status": "ready", "generation": front.engine.catalogue.generation}

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
