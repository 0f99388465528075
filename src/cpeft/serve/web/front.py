"""Between the endpoints and the engine: from a request to the results of its rows, whole or in parts. No torch here."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from fastapi import Request

from cpeft.errors import CpeftError
from cpeft.registry import closest
from cpeft.serve.results import Result
from cpeft.serve.scheduler import OnText, QueueFull
from cpeft.serve.scheduler import Request as Queued
from cpeft.serve.web.guard import Metrics, RequestError

if TYPE_CHECKING:
    from cpeft.serve.engine import Engine
    from cpeft.serve.prompts import ServedPrompt

Submit = Callable[[OnText | None], Queued]


class Front:
    """Checks requests, queues their rows and waits for the results. Rows are dropped at the deadline and when the client is
    gone."""

    def __init__(self, engine: "Engine", metrics: Metrics) -> None:
        self.engine, self.limits, self.metrics = engine, engine.limits, metrics
        self.started, self._encoding = int(time.time()), 0
        self._encoder = ThreadPoolExecutor(1, "cpeft-encoder")  # tokenizes, so that the event loop does not wait

    def prompts(self, names: Sequence[str]) -> "list[ServedPrompt]":
        """The prompts of these names; raises RequestError for one that is not served."""
        found = {name: self.engine.catalogue.find(name) for name in dict.fromkeys(names)}
        for name, prompt in found.items():
            if prompt is None:
                close = closest(name[:200], list(self.engine.catalogue.names()))
                raise RequestError(404, f"no prompt {name[:80]!r}{close}; GET /v1/models lists them")
        return [found[name] for name in names]  # type: ignore[misc]

    def check(self, rows: int, new: int = 0) -> None:
        """Raise RequestError for more than the limits allow."""
        if not 0 < rows <= self.limits.rows:
            raise RequestError(400, f"a request has 1 to {self.limits.rows} rows, this one has {rows}")
        if new > self.limits.new_tokens:
            raise RequestError(400, f"max_tokens is at most {self.limits.new_tokens}")

    async def queue(self, request: Request, rows: int, submit: Submit, on_text: OnText | None = None) -> Queued:
        """Queue the rows of a request; raises RequestError where they do not fit or too many wait."""
        request.state.rows = rows
        if len(self.engine.scheduler) + self._encoding + rows > self.limits.queue:
            raise _full()
        self._encoding += rows
        try:
            return await asyncio.get_running_loop().run_in_executor(self._encoder, submit, on_text)
        except QueueFull:
            raise _full() from None
        except CpeftError as error:  # the client's rows do not fit; the messages name columns and sizes
            raise RequestError(400, str(error)) from None
        finally:
            self._encoding -= rows

    async def results(self, request: Request, rows: int, submit: Submit) -> tuple[list[Result], int]:
        """The results of all rows, and how many rows were cut to fit."""
        end = asyncio.get_running_loop().time() + self.limits.deadline_s
        queued = await self.queue(request, rows, submit)
        answers, gone = asyncio.wrap_future(queued.future), asyncio.ensure_future(_disconnected(request))
        either: set[asyncio.Future[Any]] = {answers, gone}
        try:
            left = end - asyncio.get_running_loop().time()
            await asyncio.wait(either, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            if not answers.done():
                raise RequestError(499, "the client is gone") if gone.done() else self._late()
            results: list[Result] = await answers
        finally:
            answers.cancel()
            gone.cancel()
        self._count(results)
        return results, queued.cut

    async def parts(self, request: Request, rows: int, submit: Submit) -> AsyncIterator[tuple[int, str] | list[Result]]:
        """The place of a row and the next part of its answer, as they come; at last the results of all rows. The first part
        must come before the deadline, and each of the others within as much time after the one before."""
        loop, parts = asyncio.get_running_loop(), asyncio.Queue[tuple[int, str]]()
        queued = await self.queue(
            request, rows, submit, lambda place, text: _call(loop, parts.put_nowait, (place, text))
        )
        answers = asyncio.wrap_future(queued.future)
        part = asyncio.ensure_future(parts.get())
        try:
            while not (answers.done() and parts.empty() and not part.done()):
                either: set[asyncio.Future[Any]] = {part} if answers.done() else {answers, part}
                await asyncio.wait(either, timeout=self.limits.deadline_s, return_when=asyncio.FIRST_COMPLETED)
                if part.done():
                    yield part.result()
                    part = asyncio.ensure_future(parts.get())
                elif not answers.done():
                    raise self._late()
            results: list[Result] = await answers
        finally:  # also where the client is gone
            answers.cancel()
            part.cancel()
        self._count(results)
        yield results

    def _late(self) -> RequestError:
        return RequestError(504, f"no answer within {self.limits.deadline_s:g} seconds")

    def _count(self, results: Sequence[Result]) -> None:
        for result in results:
            self.metrics.rows.labels(result.prompt).inc()
            self.metrics.tokens.labels("read").inc(result.read)
            self.metrics.tokens.labels("generated").inc(result.generated)

    def close(self) -> None:
        self._encoder.shutdown()
        self.engine.close()


def _full() -> RequestError:
    return RequestError(429, "too many rows wait; try again", {"retry-after": "1"})


def _call(loop: asyncio.AbstractEventLoop, function: Callable[..., object], argument: object) -> None:
    """Call a function in the event loop from another thread; nothing where the loop has ended."""
    if not loop.is_closed():
        loop.call_soon_threadsafe(function, argument)


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
