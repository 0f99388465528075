"""Connections that hold a place for a bounded time.

uvicorn bounds the pause between two requests of a connection, but not how long a client takes to send the head of one, nor how
long it takes to read an answer: a client that does nothing would hold one of the places for ever.
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.auto import AutoHTTPProtocol

Base: Any = AutoHTTPProtocol


class Connection(Base):  # type: ignore[misc]
    """uvicorn's protocol for one connection. It is closed `head_s` after it was made and after every answer, unless the whole
    head of a request came; and where a client has not read for so long what is sent to it."""

    def __init__(self, *given: Any, head_s: float, **named: Any) -> None:
        super().__init__(*given, **named)
        self.head_s = head_s
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        self._wait()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._wait()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._wait()

    def connection_lost(self, error: Exception | None) -> None:
        self._stop()
        super().connection_lost(error)

    def _wait(self) -> None:
        """What a client sends does not begin this anew, or a byte now and then would hold the connection."""
        self._stop()
        self._timer = self.loop.call_later(self.head_s, self._end)

    def _stop(self) -> None:
        if self._timer:
            self._timer.cancel()

    def _end(self) -> None:
        answering = self.cycle is not None and not self.cycle.response_complete
        if not answering or self.flow.write_paused:
            self.transport.abort()  # `close` would wait until the client has read everything
