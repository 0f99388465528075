"""Stop requests: SIGTERM (a cluster, `kill`) and SIGINT (Ctrl-C) mean the same at any point of a command.

During training a request is recorded, so that the current step can be saved (`stop_signals`). Anywhere else it raises a
KeyboardInterrupt, because libraries swallow other exceptions, which becomes Stopped (`stopping`). Only the first request
counts: a second one must not interrupt the shutdown.
"""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from cpeft.errors import Stopped

Handler = Callable[[int, FrameType | None], object]


class _Interrupt:
    """The handler of `stopping`."""

    asked = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if not self.asked:
            self.asked = True
            raise KeyboardInterrupt


@contextmanager
def stopping() -> Iterator[None]:
    """Leave the block with Stopped at the first SIGTERM or SIGINT; an enclosing block then has the request too."""
    handler = _Interrupt()
    with _handled(handler) as outer:
        try:
            import pyarrow  # here: commands that are not to be stopped need not wait for it

            pyarrow.enable_signal_handlers(False)  # its own lose a signal that comes as a read ends
            yield
        except KeyboardInterrupt:
            raise Stopped("stopped on request; re-run the same command to resume from the last checkpoint") from None
        finally:
            _pass_on(handler.asked, outer)


@contextmanager
def stop_signals() -> Iterator[list[int]]:
    """Record SIGTERM and SIGINT in a list instead of dying, so that the current step can be saved."""
    received: list[int] = []
    with _handled(lambda number, _: received.append(number)) as outer:
        try:
            yield received
        finally:
            _pass_on(bool(received), outer)


def _pass_on(asked: bool, outer: list[Any]) -> None:
    for handler in outer:
        if isinstance(handler, _Interrupt):
            handler.asked |= asked


@contextmanager
def _handled(handler: Handler) -> Iterator[list[Any]]:
    """Both signals go to a handler while the block runs; yields the previous handlers. Outside the main thread
    nothing changes, because signals belong to the main thread."""
    ours = threading.current_thread() is threading.main_thread()
    old = {number: signal.signal(number, handler) for number in (signal.SIGTERM, signal.SIGINT) if ours}
    try:
        yield list(old.values())
    finally:
        for number, before in old.items():
            signal.signal(number, before)
