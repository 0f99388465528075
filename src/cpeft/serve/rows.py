"""Rows of requests as the model takes them: token ids behind a prompt, and how their answers are read."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from cpeft.data.rows import EncodedRow
from cpeft.models.mixed import RowPrompt
from cpeft.models.prompted import PromptedLM
from cpeft.models.text import TextCodec
from cpeft.options.evaluation import EvalOptions
from cpeft.serve.prompts import ServedPrompt


@dataclass(frozen=True)
class Answering:
    """How a row is answered: how texts are encoded, a closed label set (empty: open answers), how texts become labels, and
    the most tokens of an answer."""

    codec: TextCodec
    labels: tuple[str, ...]
    match: str
    new: int

    @property
    def options(self) -> EvalOptions:
        decode = ("choice",) if self.labels else None
        return EvalOptions.model_validate({"match": self.match, "decode": decode, "max_new_tokens": self.new})


@dataclass(frozen=True)
class PromptedRow:
    """A row for the model: token ids behind a prompt."""

    prompt: ServedPrompt
    ids: tuple[int, ...]
    answering: Answering


def answering_of(prompt: ServedPrompt, new: int | None) -> Answering:
    """How the rows of a prompt's task are answered."""
    assert prompt.reader is not None
    labels, most = prompt.reader.closed, prompt.answer_tokens
    most = most if labels else min(new or most, most)
    return Answering(prompt.reader.codec, labels, prompt.subject.eval.match, most)


def speaking(learner: PromptedLM, codec: TextCodec) -> PromptedLM:
    """The learner under the form of text of `codec`."""
    if learner.text is codec:
        return learner
    form = "chat" if codec is learner.lm.codec("chat") else "fields"
    return learner.under(learner.data.model_copy(update={"form": form}))


def by_answering(rows: Sequence[PromptedRow]) -> list[tuple[Answering, list[int]]]:
    """Places of rows that are answered alike; open ones are all one kind."""
    places: dict[tuple[TextCodec, tuple[str, ...], str] | None, list[int]] = {}
    for place, row in enumerate(rows):
        kind = row.answering
        places.setdefault((kind.codec, kind.labels, kind.match) if kind.labels else None, []).append(place)
    return [(rows[own[0]].answering, own) for own in places.values()]


def before_each(
    rows: Sequence[PromptedRow],
) -> tuple[list[tuple[RowPrompt, Sequence[int]]], list[dict[str, list[float]]]]:
    """What stands before each row and what is left of it to read; and the extras of methods that read the input."""
    found: dict[int, tuple[RowPrompt, Sequence[int]]] = {}
    extras: list[dict[str, list[float]]] = [{} for _ in rows]
    reads = [place for place, row in enumerate(rows) if not row.prompt.ways]
    by_learner = sorted(reads, key=lambda place: id(rows[place].prompt.learner))
    for _, group in groupby(by_learner, lambda place: id(rows[place].prompt.learner)):
        places = list(group)
        learner = rows[places[0]].prompt.learner
        encoded = [EncodedRow(rows[place].ids, (), rows[place].prompt.index) for place in places]
        batch = learner.layout.batch(encoded).to(learner.lm.device)
        output = learner.prompts(learner.lm.embed(batch.source_BL), batch.mask_BL, batch.task_B)
        for i, place in enumerate(places):
            found[place] = RowPrompt(output.prompt_BPD[i]), rows[place].ids
            extras[place] = {name: value[i].tolist() for name, value in output.extras.items()}
    return [found.get(place) or row.prompt.before(row.ids) for place, row in enumerate(rows)], extras
