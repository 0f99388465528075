"""Being asked to stop: SIGTERM (a cluster, `kill`) and SIGINT (Ctrl-C) mean the same, wherever a command is.

While steps are made a request is collected, so that the step at hand can be saved (`stop_signals`); anywhere else it interrupts
what is going on, by a KeyboardInterrupt since libraries swallow exceptions of any other kind, and leaves as Stopped
(`stopping`). The first request alone counts: a second one must not interrupt the leaving.
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
    """Leave the block with Stopped at the first SIGTERM or SIGINT; a block around it has then been asked too."""
    handler = _Interrupt()
    with _handled(handler) as outer:
        try:
            import pyarrow  # here: commands that are not to be stopped need not wait for it

            pyarrow.enable_signal_handlers(False)  # its own lose a signal that comes as a read ends
            yield
        except KeyboardInterrupt:
            raise Stopped("stopped on request; the same command goes on from the last checkpoint") from None
        finally:
            _pass_on(handler.asked, outer)


@contextmanager
def stop_signals() -> Iterator[list[int]]:
    """Collect SIGTERM and SIGINT in a list instead of dying, so that the step at hand can be saved."""
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
    """Both signals go to a handler while the block runs; gives the handlers from outside. In a thread of its own nothing is
    changed: signals belong to someone else."""
    ours = threading.current_thread() is threading.main_thread()
    old = {number: signal.signal(number, handler) for number in (signal.SIGTERM, signal.SIGINT) if ours}
    try:
        yield list(old.values())
    finally:
        for number, before in old.items():
            signal.signal(number, before)
