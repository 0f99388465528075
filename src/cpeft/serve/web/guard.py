"""What every request passes before the endpoints, as ASGI middleware: key, host name, size and time of the body; and what is
recorded of it: an id, a line in the log, metrics. The log has no texts unless `log_texts`.
"""

import asyncio
import hashlib
import hmac
import json
import logging
import re
import time
import traceback
import uuid
from collections.abc import Sequence
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cpeft.serve.results import Limits
from cpeft.serve.web.page import FILES

ADMIN = "/v1/prompts"
# these need no key: a load balancer asks the first two, and the files of the page hold nothing secret
OPEN_PATHS = ("/health", "/ready", *FILES)
PATHS = (
    *OPEN_PATHS,
    "/metrics",
    "/docs",
    "/openapi.json",
    "/v1/models",
    "/v1/predict",
    "/v1/completions",
    "/v1/chat/completions",
    ADMIN,
)
LOOPBACK = ("127.0.0.1", "localhost", "::1")
GOOD_ID = re.compile(r"[\w.-]{1,64}", re.ASCII)
KINDS = {401: "authentication_error", 404: "not_found_error", 429: "rate_limit_error"}

logger = logging.getLogger("cpeft.serve")


class RequestError(Exception):
    """An answer other than 200: its status, what the client is to know, further headers."""

    def __init__(self, status: int, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.headers = status, message, headers or {}

    def body(self) -> dict[str, Any]:
        """The error in OpenAI's shape."""
        kind = KINDS.get(self.status, "invalid_request_error" if self.status < 500 else "server_error")
        return {"error": {"message": self.message[:500], "type": kind, "param": None, "code": self.status}}

    def response(self) -> Response:
        """The error in ASCII: a message may quote half of a surrogate pair from the client."""
        return Response(json.dumps(self.body()), self.status, self.headers, "application/json")


class Metrics:
    """Counts for Prometheus. Label values are paths, status codes and names of served prompts: their number is bounded."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        make: Any = {"registry": self.registry}
        self.requests = Counter("cpeft_requests", "Requests by path and status.", ["path", "status"], **make)
        self.seconds = Histogram("cpeft_request_seconds", "Seconds to answer a request.", ["path"], **make)
        self.rows = Counter("cpeft_rows", "Rows answered by prompt.", ["prompt"], **make)
        self.tokens = Counter("cpeft_tokens", "Tokens read and generated.", ["kind"], **make)
        sizes = [1, 2, 4, 8, 16, 32, 64, 128, 256]
        self.batch = Histogram("cpeft_batch_rows", "Rows of a batch.", buckets=sizes, **make)
        self.waiting = Gauge("cpeft_waiting_rows", "Rows in the queue.", **make)
        self.prompts = Gauge("cpeft_prompts", "Prompts that are served.", **make)
        about = "Prompts of batches by where their keys and values were found; `no`: read anew."
        self.kept = Gauge("cpeft_kept_prompts", about, ["found"], **make)
        self.disk_errors = Gauge("cpeft_cache_disk_errors", "Failed writes and reads of the cache on disk.", **make)


class Guard:
    """Middleware around the endpoints. `keys` empty: no key is needed; those of `admin` are needed for calls that change what
    is served. `local`: only requests to a loopback name are taken, so that a web page in the user's browser cannot reach the
    server under a name of its own."""

    def __init__(
        self,
        app: ASGIApp,
        limits: Limits,
        keys: Sequence[str],
        local: bool,
        metrics: Metrics,
        log_texts: bool,
        admin: Sequence[str] = (),
    ) -> None:
        self.app, self.limits, self.local, self.metrics, self.log_texts = app, limits, local, metrics, log_texts
        self.admin = [_digest(key) for key in admin]
        self.keys = [*map(_digest, keys), *self.admin] if keys else []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers, started, status, body = Headers(scope=scope), time.monotonic(), 500, b""
        given = headers.get("x-request-id", "")
        request_id = given if GOOD_ID.fullmatch(given) else uuid.uuid4().hex
        scope.setdefault("state", {})["request_id"] = request_id

        async def answered(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", request_id.encode())]
            await send(message)

        try:
            self._check(scope["path"], headers)
            body = await self._body(headers, receive)
            await self.app(scope, _replayed(body, receive), answered)
        except RequestError as error:
            await error.response()(scope, receive, answered)
        except Exception as error:  # the app has answered it with 500; the message may quote a text
            log_fault(request_id, error)
        finally:
            self._record(scope, request_id, status, time.monotonic() - started, body)

    def _check(self, path: str, headers: Headers) -> None:
        if self.local and _host(headers.get("host", "")) not in LOOPBACK:
            raise RequestError(403, "this server answers to loopback names alone")
        if _is_admin(path):
            if not self.admin:
                raise RequestError(403, "this server was started without --admin-key-file")
            self._check_key(headers, self.admin, "an admin key")
        elif self.keys and path not in OPEN_PATHS:
            self._check_key(headers, self.keys, "a valid key")

    def _check_key(self, headers: Headers, keys: Sequence[bytes], what: str) -> None:
        scheme, _, key = headers.get("authorization", "").partition(" ")
        given = _digest(key.strip())
        matches = sum(hmac.compare_digest(given, known) for known in keys)  # all, for the sake of equal time
        if not matches or scheme.lower() != "bearer":
            raise RequestError(401, f"{what} is needed: Authorization: Bearer KEY", {"www-authenticate": "Bearer"})

    async def _body(self, headers: Headers, receive: Receive) -> bytes:
        """The whole body; raises RequestError where it is too large, comes too slowly or does not end."""
        too_large = RequestError(413, f"a request has at most {self.limits.body} bytes", {"connection": "close"})
        length = headers.get("content-length", "0")
        if not length.isdigit() or int(length[:20]) > self.limits.body:
            raise too_large
        parts, size = [], 0
        try:
            async with asyncio.timeout(self.limits.body_s):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise RequestError(400, "the request ended before its body did")
                    parts.append(message.get("body", b""))
                    size += len(parts[-1])
                    if size > self.limits.body:
                        raise too_large
                    if not message.get("more_body"):
                        return b"".join(parts)
        except TimeoutError:
            late = f"the body did not arrive within {self.limits.body_s:g} seconds"
            raise RequestError(408, late, {"connection": "close"}) from None

    def _record(self, scope: Scope, request_id: str, status: int, seconds: float, body: bytes) -> None:
        path = ADMIN if _is_admin(scope["path"]) else scope["path"]
        path = path if path in PATHS else "other"
        self.metrics.requests.labels(path, status).inc()
        self.metrics.seconds.labels(path).observe(seconds)
        line = {
            "id": request_id,
            "method": scope["method"],
            "path": path,
            "status": status,
            "ms": round(seconds * 1000, 1),
        }
        line |= {"rows": scope["state"]["rows"]} if "rows" in scope["state"] else {}
        line |= {"body": body.decode(errors="replace")} if self.log_texts else {}
        logger.info(json.dumps(line))


def log_fault(about: str, error: BaseException) -> None:
    """Log where an unexpected error was raised, without its message, which may quote a text of a client."""
    logger.error("%s: %s\n%s", about, type(error).__name__, "".join(traceback.format_tb(error.__traceback__)))


def _is_admin(path: str) -> bool:
    return path == ADMIN or path.startswith(f"{ADMIN}/")


def _digest(key: str) -> bytes:
    """Of equal length for every key, so that a comparison takes the same time."""
    return hashlib.sha256(key.encode(errors="replace")).digest()


def _host(header: str) -> str:
    """The name in a Host header, without its port."""
    name = header[1:].partition("]")[0] if header.startswith("[") else header.partition(":")[0]
    return name.lower()


def _replayed(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives the body once more, then what follows: the end of the connection."""
    pending: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replayed() -> Message:
        return pending.pop() if pending else await receive()

    return replayed
