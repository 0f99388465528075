"""The engine: one thread that owns the model and answers batches of rows of any prompts.

A batch is read in one pass, each row behind its own prompt; what follows depends on the answer. Closed answers come from one
pass over the labels of each label set, open ones are generated a token at a step, and rows join and leave between steps. Where
the model has no packed form, and for `exact` rows, a batch has one kind of rows and is decoded as `cpeft predict` does it.
"""

import threading
from collections.abc import Callable, Collection, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch

from cpeft.data.rows import EncodedRow
from cpeft.data.user_files import check_columns
from cpeft.errors import ConfigError, TooLong, reason
from cpeft.evaluation.decoding import DecodedRow, decode_read, decode_rows
from cpeft.models.fast.causal_reading import KeptPrompts
from cpeft.models.fast.packed_llama import PackedLlama
from cpeft.models.fast.reading import Reading
from cpeft.models.fast.steps import steps_of
from cpeft.models.fast.tensor_file import TensorFile
from cpeft.models.greedy import end_tokens
from cpeft.models.mixed import read_mixed
from cpeft.serve.catalogue import Catalogue
from cpeft.serve.prompts import ServedPrompt, together
from cpeft.serve.results import Limits, as_result
from cpeft.serve.rows import Answering, PromptedRow, answering_of, before_each, by_answering, speaking
from cpeft.serve.scheduler import OnText, Request, Scheduler, WaitingRow
from cpeft.tasks import Row

PACKED = "packed"  # the kind of rows that share a batch whatever their prompts


@dataclass
class _Open:
    """A row in generation, what its method says of it, the tokens that end it, its own so far and how much of its text was
    passed on."""

    row: WaitingRow
    extras: dict[str, list[float]]
    ends: Collection[int]
    tokens: list[int] = field(default_factory=list)
    sent: str = ""


class Engine:
    """Answers rows behind the prompts of a catalogue. `on_batch` is called with the number of rows of every batch.

    `start` before the first request; `close` answers what waits and ends the thread.

    Raises ConfigError for a cache on a disk that the model or this machine cannot have."""

    def __init__(
        self, catalogue: Catalogue, limits: Limits, on_batch: Callable[[int], object] = lambda rows: None
    ) -> None:
        self.catalogue, self.limits, self.on_batch, self.lm = catalogue, limits, on_batch, catalogue.lm
        self.scheduler = Scheduler(limits.queue, limits.token_budget)
        packed = self.lm.packed
        self.kept = _kept(packed, limits) if isinstance(packed, PackedLlama) else None
        if limits.disk_bytes and not self.kept:
            raise ConfigError(
                "--cache-disk is for LLaMA-like decoder-only models on a CPU: leave it out for this model"
            )
        self._steps = steps_of(packed) if packed else None
        self._open: dict[int, _Open] = {}
        self._thread = threading.Thread(target=self._work, name="cpeft-engine", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Answer the rows that wait, and end."""
        self.scheduler.close()
        self._thread.join()
        if self.kept and self.kept.disk:
            self.kept.disk.close()

    @property
    def ready(self) -> bool:
        """Whether requests are answered."""
        return self._thread.is_alive()

    def submit_rows(
        self,
        prompts: Sequence[ServedPrompt],
        rows: Sequence[Row],
        exact: bool = False,
        new: int | None = None,
        on_text: OnText | None = None,
    ) -> Request:
        """Queue raw rows, each to be answered by its prompt; `exact` ones are each answered in a batch of their own. `new`
        bounds the tokens of open answers; `on_text` is called from the engine's thread with parts of them as they come.

        Raises DataError (a row does not fit the task of its prompt), TooLong and QueueFull."""
        request, waiting = Request(len(rows), on_text), list[WaitingRow]()
        for prompt in dict.fromkeys(prompts):
            if prompt.reader is None:
                raise ConfigError(f"'{prompt.name}' is the base model and has no task: use /v1/completions")
            places = [place for place, other in enumerate(prompts) if other is prompt]
            own = [rows[place] for place in places]
            check_columns(prompt.reader.task, set().union(*own), "the rows")
            sources, cut = prompt.reader.encode(own, [place + 1 for place in places])
            request.cut += cut
            answering = answering_of(prompt, new)
            for place, ids in zip(places, sources, strict=True):
                waiting.append(self._waiting(prompt, answering, ids, request, place, new or 0, exact))
        self.scheduler.add(sorted(waiting, key=lambda row: row.place))
        return request

    def submit_texts(
        self, prompt: ServedPrompt, texts: Sequence[str], new: int, on_text: OnText | None = None, chat: bool = False
    ) -> Request:
        """Queue texts as they are, to be continued by at most `new` tokens behind a prompt; in `chat`, as the user's turn of
        the chat template, where the model has one. `on_text` as in `submit_rows`.

        Raises ConfigError where a prompt of chat turns gets a text without them, TooLong and QueueFull."""
        if prompt.learner.data.form == "chat" and prompt.reader is not None and not chat:
            raise ConfigError(f"prompt '{prompt.name}' was trained in chat turns: use /v1/chat/completions")
        codec = prompt.learner.text if chat or prompt.reader else self.lm.codec("fields")
        request, answering = Request(len(texts), on_text), Answering(codec, (), prompt.subject.eval.match, new)
        sources, _ = codec.sources(list(texts))
        rows = [self._waiting(prompt, answering, ids, request, place, new) for place, ids in enumerate(sources)]
        self.scheduler.add(rows)
        return request

    def _waiting(
        self,
        prompt: ServedPrompt,
        answering: Answering,
        ids: list[int],
        request: Request,
        place: int,
        reserved: int = 0,
        exact: bool = False,
    ) -> WaitingRow:
        """A row for the queue; `reserved` tokens must fit behind it."""
        length, behind = prompt.learner.method.length, 0 if self.lm.encoder_decoder else answering.new
        most, positions = self.limits.row_tokens, self.lm.text.positions
        if positions is not None:
            most = min(most, positions - length - min(reserved, behind))
        if len(ids) > most:
            raise TooLong(f"row {place + 1}: {len(ids)} tokens, and at most {max(most, 0)} fit")
        packed = self.lm.packed and not exact
        packed = packed and (self.kept is None or self.kept.packed.takes(length + len(ids) + behind))
        kind: Hashable = PACKED if packed else object() if exact else (prompt.kind, answering)
        content = PromptedRow(prompt, tuple(ids), answering)
        is_open = bool(packed) and not answering.labels
        return WaitingRow(prompt.name, kind, length + len(ids), content, request, place, is_open)

    def _work(self) -> None:
        while True:
            room = self.limits.open_rows - len(self._open)
            batch = self.scheduler.next_batch(room, wait=not self._open)
            if batch is None and not self._open:
                return
            if batch:
                self.on_batch(len(batch))
                self._answer(batch)
            if self._open:
                self._step()

    def _answer(self, batch: Sequence[WaitingRow]) -> None:
        """Answer a batch; where that fails, each row alone, so that one row's fault is not the others'."""
        try:
            if batch[0].batch == PACKED:
                self._answer_packed(batch)
            else:
                self._answer_alike(batch)
        except Exception as error:
            if len(batch) > 1:
                for waiting in batch:
                    if not waiting.answered and id(waiting) not in self._open:
                        self._answer([waiting])
            else:
                batch[0].request.fail(error)

    def _answer_alike(self, batch: Sequence[WaitingRow]) -> None:
        """Rows of prompts of one kind that are answered in one way, as `cpeft predict` answers them."""
        rows: list[PromptedRow] = [waiting.content for waiting in batch]
        answering = rows[0].answering
        options = answering.options.model_copy(update={"token_budget": self.limits.token_budget})
        learner, index = together([row.prompt for row in rows], self.lm)
        encoded = [EncodedRow(row.ids, (), i) for row, i in zip(rows, index, strict=True)]
        decoded = decode_rows(speaking(learner, answering.codec), encoded, answering.labels, options)
        for waiting, one in zip(batch, decoded, strict=True):
            self._done(waiting, one)

    @torch.no_grad()
    def _answer_packed(self, batch: Sequence[WaitingRow]) -> None:
        """Any rows, in one pass. Closed answers are done then, open ones begin."""
        rows: list[PromptedRow] = [waiting.content for waiting in batch]
        prompts, extras = before_each(rows)
        sources = [prompt[1] for prompt in prompts]
        new = [row.answering.new for row in rows]
        reading = read_mixed(self.lm, self.kept, [prompt[0] for prompt in prompts], sources, new)
        assert reading is not None  # what has no packed form was not queued for it
        for answering, places in by_answering(rows):
            part = reading if len(places) == len(rows) else reading.part(places)
            if not answering.labels:
                self._begin(part, [_Open(batch[place], extras[place], self._ends(rows[place])) for place in places])
                continue
            learner = speaking(rows[places[0]].prompt.learner, answering.codec)
            texts, scores_BC = decode_read(learner, part, answering.labels, answering.options, scored=True)
            assert scores_BC is not None
            for place, (text, count), scores in zip(places, texts, scores_BC.tolist(), strict=True):
                self._done(batch[place], DecodedRow(text, None, extras[place], scores=tuple(scores), tokens=count))

    def _begin(self, reading: Reading, rows: Sequence[_Open]) -> None:
        assert self._steps is not None
        keys = [id(each.row) for each in rows]
        self._open |= dict(zip(keys, rows, strict=True))
        with self._failing_all():
            self._take(self._steps.join(reading, keys))

    def _ends(self, row: PromptedRow) -> list[int]:
        return end_tokens(self.lm.model, row.answering.codec.end)

    def _step(self) -> None:
        assert self._steps is not None
        gone = {key for key, each in self._open.items() if each.row.dropped}
        self._leave(gone)
        with self._failing_all():
            self._take(self._steps.step())

    @contextmanager
    def _failing_all(self) -> Iterator[None]:
        """An error in a step is one of all rows in generation."""
        try:
            yield
        except Exception as error:
            for each in self._open.values():
                each.row.request.fail(error)
            self._leave(set(self._open))

    def _leave(self, keys: set[int]) -> None:
        if keys and self._steps:
            self._steps.leave(keys)
            for key in keys:
                del self._open[key]

    def _take(self, tokens: list[tuple[Hashable, int]]) -> None:
        """Take the next token of every row; rows whose answer is complete leave."""
        ended = set()
        for key, token in tokens:
            each = self._open[key]  # type: ignore[index]
            answering: Answering = each.row.content.answering
            each.tokens.append(token)
            at_end = token in each.ends
            over = at_end or len(each.tokens) >= answering.new
            on_text = each.row.request.on_text
            if not over and on_text is None:
                continue
            text = answering.codec.decode(each.tokens[:-1] if at_end else each.tokens)
            if over:
                self._done(each.row, DecodedRow(text, None, each.extras, tokens=len(each.tokens) - at_end))
                ended.add(key)
            elif on_text and text.startswith(each.sent) and not text.endswith("\ufffd"):  # no half character
                on_text(each.row.place, text[len(each.sent) :])
                each.sent = text
        self._leave(ended)  # type: ignore[arg-type]

    def _done(self, waiting: WaitingRow, decoded: DecodedRow) -> None:
        row: PromptedRow = waiting.content
        try:
            result = as_result(row.prompt, row.ids, decoded, row.answering.codec)
        except ArithmeticError as error:  # a label's score is not finite
            waiting.request.fail(error)
        else:
            waiting.request.put(waiting.place, result)


def _kept(packed: PackedLlama, limits: Limits) -> KeptPrompts:
    try:
        disk = TensorFile(limits.disk_bytes) if limits.disk_bytes else None
    except OSError as error:
        raise ConfigError(f"--cache-disk: no temporary file can be made ({reason(error)}); set TMPDIR") from None
    return KeptPrompts(packed, limits.kept_bytes, disk)
