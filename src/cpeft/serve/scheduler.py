"""The queue between the HTTP front and the model: which rows are answered together, and in which order.

Rows of different prompts share a batch where `batch` is equal. Prompts take turns, one row each, so that a prompt with many
rows does not hold up the others. A batch is closed when it has `token_budget` tokens, or `wait_s` after its first row came.
No torch here.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

WAIT_S = 0.003


class QueueFull(Exception):
    """More rows wait than the queue takes."""


OnText = Callable[[int, str], None]  # the place of a row among those of its request, and the next part of its answer


class Request:
    """The rows of one HTTP request. `future` resolves to their results in order; cancelling it drops the rows that wait. `cut`
    counts the rows that were cut to fit; `on_text` takes the parts of answers, where they are wanted."""

    def __init__(self, rows: int, on_text: OnText | None = None) -> None:
        self.future: Future[list[Any]] = Future()
        self.cut, self.on_text = 0, on_text
        self._results: list[Any] = [None] * rows
        self._left = rows

    def put(self, place: int, result: Any) -> None:
        """Store the result of one row; the last one resolves the future."""
        self._results[place] = result
        self._left -= 1
        if not self._left:
            with suppress(InvalidStateError):  # cancelled: nobody waits for it
                self.future.set_result(self._results)

    def has(self, place: int) -> bool:
        """Whether a row was answered."""
        return self._results[place] is not None

    def fail(self, error: BaseException) -> None:
        """Fail the whole request, once."""
        with suppress(InvalidStateError):
            self.future.set_exception(error)


@dataclass(frozen=True)
class WaitingRow:
    """A row in the queue: `prompt` takes turns with others, `width` is in tokens with the prompt's rows, `content` is for the
    model; `place` is the row's among those of its request; an `open` row is answered over many steps."""

    prompt: str
    batch: Hashable
    width: int
    content: Any
    request: Request
    place: int
    open: bool = False

    @property
    def dropped(self) -> bool:
        return self.request.future.done()  # cancelled, or another row of the request failed

    @property
    def answered(self) -> bool:
        return self.request.has(self.place)


class Scheduler:
    """A bounded queue of rows, by prompt. `most_rows` may wait."""

    def __init__(self, most_rows: int, token_budget: int, wait_s: float = WAIT_S) -> None:
        self.most_rows, self.token_budget, self.wait_s = most_rows, token_budget, wait_s
        self._queues: dict[str, deque[WaitingRow]] = {}  # in the order of turns
        self._changed = threading.Condition()
        self._closed = False
        self._first = 0.0  # when the oldest of the waiting rows came
        self._rows = self._tokens = 0

    def __len__(self) -> int:
        return self._rows

    def add(self, rows: Sequence[WaitingRow]) -> None:
        """Queue all rows of a request, or none; raises QueueFull."""
        with self._changed:
            if self._rows + len(rows) > self.most_rows:
                self._purge()
            if self._closed or self._rows + len(rows) > self.most_rows:
                raise QueueFull
            if not self._rows:
                self._first = time.monotonic()
            for row in rows:
                self._queues.setdefault(row.prompt, deque()).append(row)
                self._count(row, 1)
            self._changed.notify()

    def close(self) -> None:
        """Take no more rows; `next_batch` gives those that wait, then None."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def next_batch(self, room: int = 2**31, wait: bool = True) -> list[WaitingRow] | None:
        """Take the next batch, with at most `room` open rows; None once the queue is closed and empty. If `wait`, wait for
        rows; otherwise the batch may be empty."""
        with self._changed:
            while wait and not self._rows and not self._closed:
                self._changed.wait()
            if not self._rows:
                return None if self._closed else []
            while wait and (left := self._first + self.wait_s - time.monotonic()) > 0:
                if self._closed or self._tokens >= self.token_budget:
                    break
                self._changed.wait(left)
            return self._take(room)

    def _take(self, room: int) -> list[WaitingRow]:
        """One row of every prompt in turn, until the padded tokens of the batch reach the budget."""
        self._purge()
        batch: list[WaitingRow] = []
        widest, taken = 0, True
        while taken:
            taken = False
            for name in list(self._queues):
                row = self._queues[name][0]
                if (batch and row.batch != batch[0].batch) or (row.open and not room):
                    continue
                if batch and (len(batch) + 1) * max(widest, row.width) > self.token_budget:
                    return batch
                widest, taken, room = max(widest, row.width), True, room - row.open
                batch.append(row)
                queue = self._queues.pop(name)
                queue.popleft()
                self._count(row, -1)
                if queue:
                    self._queues[name] = queue  # at the end: the others come first
        return batch

    def _purge(self) -> None:
        """Drop the rows of requests that are over."""
        for name, queue in list(self._queues.items()):
            dropped = {id(row) for row in queue if row.dropped}  # asked once: a request may end at any time
            for row in queue:
                if id(row) in dropped:
                    self._count(row, -1)
            if kept := deque(row for row in queue if id(row) not in dropped):
                self._queues[name] = kept
            else:
                del self._queues[name]

    def _count(self, row: WaitingRow, sign: int) -> None:
        self._rows += sign
        self._tokens += sign * row.width
