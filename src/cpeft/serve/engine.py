"""The engine: one thread that owns the model and answers batches of rows of any prompts.

Rows are read by `RowReader` and decoded by `decode_rows`, as `cpeft predict` does, so an answer is the same in both.
"""

import math
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cpeft.data.rows import EncodedRow
from cpeft.data.user_files import check_columns
from cpeft.errors import ConfigError, TooLong
from cpeft.evaluation.decoding import DecodedRow, decode_rows
from cpeft.models.prompted import PromptedLM
from cpeft.options.evaluation import EvalOptions
from cpeft.serve.prompts import ServedPrompt
from cpeft.serve.results import Limits, Result
from cpeft.serve.scheduler import Request, Scheduler, WaitingRow
from cpeft.tasks import Row


@dataclass(frozen=True)
class _Way:
    """How a row is answered. Rows for which this is equal share a batch, whatever their prompts: learner, closed label set
    (empty: open answers), how texts become labels, and the most tokens of an answer (None: the label set decides)."""

    learner: PromptedLM
    labels: tuple[str, ...]
    options: tuple[tuple[str, Any], ...]

    @classmethod
    def of(cls, prompt: ServedPrompt, labels: tuple[str, ...], budget: int, new: int | None = None) -> "_Way":
        own = prompt.subject.eval
        options = {
            "decode": ("choice",) if labels else None,
            "match": own.match,
            "token_budget": budget,
            "max_new_tokens": new or own.max_new_tokens,
        }
        return cls(prompt.subject.learner, labels, tuple(options.items()))

    def decode(self, rows: Sequence[EncodedRow]) -> list[DecodedRow]:
        return decode_rows(self.learner, rows, self.labels, EvalOptions(**dict(self.options)))


class Engine:
    """Answers rows behind `prompts`. `on_batch` is called with the number of rows of every batch.

    `start` before the first request; `close` answers what waits and ends the thread."""

    def __init__(
        self, prompts: Mapping[str, ServedPrompt], limits: Limits, on_batch: Callable[[int], None] = lambda rows: None
    ) -> None:
        self.prompts, self.limits, self.on_batch = prompts, limits, on_batch
        self.scheduler = Scheduler(limits.queue, limits.token_budget)
        self._thread = threading.Thread(target=self._work, name="cpeft-engine", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Answer the rows that wait, and end."""
        self.scheduler.close()
        self._thread.join()

    @property
    def ready(self) -> bool:
        """Whether requests are answered."""
        return self._thread.is_alive()

    def models(self) -> list[dict[str, Any]]:
        """What clients may know of every prompt: name, base model, task, columns of a row, labels, hash of its content."""
        return [
            {
                "id": name,
                "parent": Path(each.subject.learner.lm.name).name,
                "task": each.reader.task.name,
                "columns": list(each.reader.task.shown),
                "labels": list(each.reader.labels),
                "hash": each.hash,
            }
            for name, each in self.prompts.items()
        ]

    def submit_rows(self, names: Sequence[str], rows: Sequence[Row]) -> Request:
        """Queue raw rows, each to be answered by the prompt of its name.

        Raises DataError (a row does not fit the task of its prompt), TooLong and QueueFull."""
        request, waiting = Request(len(rows)), list[WaitingRow]()
        for name in dict.fromkeys(names):
            prompt = self.prompts[name]
            places = [place for place, other in enumerate(names) if other == name]
            own = [rows[place] for place in places]
            check_columns(prompt.reader.task, set().union(*own), "the rows")
            sources, cut = prompt.reader.encode(own, [place + 1 for place in places])
            request.cut += cut
            way = _Way.of(prompt, prompt.reader.closed, self.limits.token_budget)
            for place, ids in zip(places, sources, strict=True):
                waiting.append(self._waiting(prompt, way, ids, request, place))
        self.scheduler.add(sorted(waiting, key=lambda row: row.place))
        return request

    def submit_texts(self, name: str, texts: Sequence[str], new: int, chat: bool) -> Request:
        """Queue texts as they are, to be continued by at most `new` tokens behind a prompt; in `chat`, as the user's turn.

        Raises ConfigError where a prompt of chat turns gets a text without them, TooLong and QueueFull."""
        prompt = self.prompts[name]
        codec = prompt.reader.codec
        if prompt.reader.options.form == "chat" and not chat:
            raise ConfigError(f"prompt '{name}' was trained in chat turns: use /v1/chat/completions")
        request = Request(len(texts))
        way = _Way.of(prompt, (), self.limits.token_budget, new)
        sources, _ = codec.sources(list(texts))
        self.scheduler.add([self._waiting(prompt, way, ids, request, place) for place, ids in enumerate(sources)])
        return request

    def _waiting(self, prompt: ServedPrompt, way: _Way, ids: list[int], request: Request, place: int) -> WaitingRow:
        learner = prompt.subject.learner
        row, new = EncodedRow(tuple(ids), (), prompt.index), dict(way.options)["max_new_tokens"] or 0
        most = self.limits.row_tokens
        if (positions := learner.lm.text.positions) is not None:
            most = min(most, positions - learner.method.length - (0 if learner.lm.encoder_decoder else new))
        if len(ids) > most:
            raise TooLong(f"row {place + 1}: {len(ids)} tokens, and at most {max(most, 0)} fit")
        return WaitingRow(prompt.name, way, learner.layout.width(row), (prompt, row), request, place)

    def _work(self) -> None:
        while batch := self.scheduler.next_batch():
            self.on_batch(len(batch))
            self._answer(batch)

    def _answer(self, batch: Sequence[WaitingRow]) -> None:
        """Answer a batch; where that fails, each row alone, so that one row's fault is not the others'."""
        way: Any = batch[0].batch
        try:
            decoded = way.decode([waiting.content[1] for waiting in batch])
            results = [_result(waiting.content, row, way.labels) for waiting, row in zip(batch, decoded, strict=True)]
        except Exception as error:
            if len(batch) > 1:
                for waiting in batch:
                    self._answer([waiting])
                return
            batch[0].request.fail(error)
            return
        for waiting, result in zip(batch, results, strict=True):
            waiting.request.put(waiting.place, result)


def _result(content: tuple[ServedPrompt, EncodedRow], decoded: DecodedRow, labels: Sequence[str]) -> Result:
    prompt, row = content
    reader, method = prompt.reader, prompt.subject.learner.method
    answer = reader.answer(decoded.text) if labels or reader.task.values else decoded.text
    return Result(
        prompt.name,
        answer,
        answer in reader.labels if labels else None,
        dict(zip(reader.labels, _shares(decoded.scores), strict=True)) if labels else None,
        dict(zip(method.candidates, decoded.extras["attention"], strict=True)) if method.candidates else None,
        len(row.source),
        decoded.tokens,
        method.length,
        reader.codec.unknown(row.source) > 0,
    )


def _shares(scores: Sequence[float]) -> list[float]:
    """Probabilities that sum to one, from log-probabilities (nats); raises ArithmeticError where they are not finite."""
    if not all(map(math.isfinite, scores)):
        raise ArithmeticError("a label's score is not finite")
    best = max(scores)
    sizes = [math.exp(score - best) for score in scores]
    return [size / sum(sizes) for size in sizes]
