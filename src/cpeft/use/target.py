"""The subject of `cpeft eval`, `predict` and the Python functions: a run, a prompt, or a formula of prompts, on a model."""

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from cpeft.baselines import load_learner
from cpeft.config import Table, digest, merge, parse
from cpeft.data.options import DataOptions
from cpeft.data.rows import EncodedRow
from cpeft.data.user_files import check_columns
from cpeft.errors import ConfigError, DataError, PromptMismatch
from cpeft.evaluation.decoding import decode_rows, label_matcher
from cpeft.evaluation.in_context import ShownExamples
from cpeft.evaluation.row_text import frame_of, label_surfaces, source_of
from cpeft.evaluation.task_data import shown_examples, task_data
from cpeft.methods.bank import PromptBank
from cpeft.metrics.base import NO_LABEL
from cpeft.models.loading import FrozenLM, load_lm
from cpeft.models.prompted import PromptedLM
from cpeft.models.saved import read_card
from cpeft.models.text import TextCodec
from cpeft.options.evaluation import EvalOptions
from cpeft.options.model import ModelOptions
from cpeft.prompts.formula.evaluate import compose_files
from cpeft.prompts.soft_prompt import Provenance, SoftPrompt
from cpeft.store.result import Score
from cpeft.store.run_folder import METHOD_CARD, RunFolder
from cpeft.study.runner.prepare import same_space
from cpeft.tasks import Row, Task
from cpeft.tasks.custom import find_task


@dataclass(frozen=True)
class Subject:
    """A learner ready to answer, and how it was evaluated."""

    learner: PromptedLM
    eval: EvalOptions = field(default_factory=EvalOptions)

    def under(self, table: Table) -> "Subject":
        """The same learner under other `data` and `eval` settings; raises ConfigError for any other."""
        if other := sorted(set(table) - {"data", "eval"}):
            raise ConfigError(f"only data.* and eval.* can be set here, not {', '.join(other)}")
        table = merge({"data": self.learner.data.model_dump(), "eval": self.eval.model_dump()}, table)
        learner = self.learner.under(parse(DataOptions, table["data"], "data"))
        return replace(self, learner=learner, eval=parse(EvalOptions, table["eval"], "eval"))

    def index(self, task: Task) -> int:
        """The task's index within the run; raises ConfigError if the run has a prompt per task and none for this one."""
        method = self.learner.method
        if task.name in method.tasks:
            return method.tasks.index(task.name)
        if method.by_task and not isinstance(method, PromptBank):
            raise ConfigError(f"this run has a prompt for each of {', '.join(method.tasks)} and none for '{task.name}'")
        return 0

    def evaluate(self, task: str, split: str = "test") -> dict[str, Score]:
        """Every metric of a task on a split of its rows, with bootstrap intervals."""
        data = task_data(task, None, self.learner.data, self.learner.subset, self.learner.lm)
        decoded = data.answers(self.learner, self.index(data.task), split, self.eval)
        return data.score_decoded(split, decoded, self.eval.bootstrap)

    def predict(self, task: str, rows: Sequence[Row]) -> list[str]:
        """Answers to unlabelled rows: the label, or the greedy text if it matches none."""
        if rows:
            check_columns(find_task(task), set().union(*rows), "the rows")
        return self.answer(task, rows).texts

    def answer(self, task: str, rows: Sequence[Row], which: Sequence[int] = ()) -> "CountedAnswers":
        """`predict`, with counts of the sources that the model did not read unchanged. `which` gives the index of each row's
        prompt; rows of one batch may have different prompts."""
        reader, learner = self.reader(task), self.learner
        sources, cut = reader.encode(rows)
        index = which or [self.index(reader.task)] * len(sources)
        encoded = [EncodedRow(tuple(ids), (), i) for ids, i in zip(sources, index, strict=True)]
        greedy = self.eval.model_copy(update={"decode": None})
        texts = [reader.answer(row.text) for row in decode_rows(learner, encoded, reader.closed, greedy)]
        return CountedAnswers(texts, cut, sum(learner.text.unknown(ids) > 0 for ids in sources))

    def reader(self, task: str) -> "RowReader":
        """How rows of a task are read and answered here; `task` is a name or a TOML file."""
        learner, found = self.learner, find_task(task)
        surfaces = label_surfaces(found, learner.data, learner.text)
        closed = tuple(surfaces) if found.labels(learner.data.labels) else ()
        shown = shown_examples(task, None, learner.data, learner.subset, learner.text)
        label = label_matcher(surfaces, self.eval.match if closed else "exact")
        return RowReader(found, learner.data, learner.text, closed, tuple(surfaces.values()), shown, label)

    def digest(self) -> str:
        """A digest of everything that decides the answers: the model, the trained values, the text and decoding options."""
        learner, found = self.learner, hashlib.sha256()
        for name, value in sorted(learner.state_dict().items()):
            found.update(name.encode() + value.detach().cpu().double().numpy().tobytes())
        settings = [
            learner.data.model_dump(),
            learner.subset,
            self.eval.model_dump(exclude={"token_budget", "bootstrap"}),
        ]
        return digest(
            [learner.lm.fingerprint, learner.lm.dtype, settings, list(learner.method.tasks), found.hexdigest()]
        )


@dataclass(frozen=True)
class RowReader:
    """Rows of a task to token ids, and decoded texts to answers. `closed` are the labels as the tokenizer writes them, empty
    for open answers, `labels` the same as the task writes them; `shown` the examples before every row."""

    task: Task
    options: DataOptions
    codec: TextCodec
    closed: tuple[str, ...]
    labels: tuple[str, ...]
    shown: ShownExamples
    label: Callable[[str], str]

    def encode(self, rows: Sequence[Row], numbers: Sequence[int] = ()) -> tuple[list[list[int]], int]:
        """Token ids of every row, and how many rows were cut; `numbers` name the rows in errors (1, 2, ... unless given).
        Raises DataError for a row without the task's columns."""
        numbered = zip(numbers or range(1, len(rows) + 1), rows, strict=True)
        texts = [_source(self.task, row, self.options, number) for number, row in numbered]
        frame = frame_of(self.task, self.options, self.codec)
        sources, cut, _ = self.shown.encode(frame, texts, self.options.max_source)
        return sources, cut

    def answer(self, text: str) -> str:
        """The label that a decoded text says, or the text where it says none."""
        return text if (label := self.label(text)) == NO_LABEL else label


@dataclass(frozen=True)
class CountedAnswers:
    """Answers to rows, with the number of sources that were truncated and of those with characters unknown to the tokenizer."""

    texts: list[str]
    cut: int
    unknown: int


def _source(task: Task, row: Row, options: DataOptions, number: int) -> str:
    try:
        return source_of(task, row, options)
    except DataError as error:
        raise DataError(f"row {number}: {error}") from None


def load_subject(text: str, model: str | None = None, lm: FrozenLM | None = None) -> Subject:
    """A run folder, a prompt folder or file, or a formula over prompt paths such as `mean(a, b)` or `a + v(b)`."""
    folder = RunFolder(Path(text)).method_path
    card_path = folder / METHOD_CARD
    if not os.path.exists(card_path):  # unlike Path.exists, False for a text too long to be a name
        return prompts_subject({text: compose_files(text)}, model, lm)
    card = read_card(folder)
    if lm is None:
        named = {"name": model, "revision": None} if model else {"name": card["model"]}
        lm = load_lm(
            **parse(
                ModelOptions, {**card.get("lm", {}), **named, "dtype": card.get("dtype", "auto")}, "model"
            ).model_dump()
        )
    options = parse(EvalOptions, card.get("eval", {}), "eval", card_path)
    return Subject(load_learner(folder, lm), options)


def model_of_prompt(known: Provenance, model: str | None = None) -> FrozenLM:
    """The model a prompt was trained on, or `model` in its dtype; raises ConfigError if there is neither."""
    if not (name := model or known.model):
        raise ConfigError("this prompt does not say which model it belongs to: give --model")
    return load_lm(**model_options(name, known.revision if not model else None, known.dtype).model_dump())


def model_options(name: str, revision: str | None, dtype: str) -> ModelOptions:
    """How to load the model that a prompt records; raises ConfigError for an unknown `dtype`."""
    return parse(ModelOptions, {"name": name, "revision": revision, "dtype": dtype or "auto"}, "the prompt's model")


def prompts_subject(prompts: Mapping[str, SoftPrompt], model: str | None = None, lm: FrozenLM | None = None) -> Subject:
    """Prompts of one model, each usable by any row, under the text options they were trained with."""
    first = next(iter(prompts.values())).provenance
    lm = lm or model_of_prompt(first, model)
    options = parse(DataOptions, first.text, "data")
    for text, prompt in prompts.items():
        same_space(prompt, text, lm)
        if not options.same_text(parse(DataOptions, prompt.provenance.text, "data")):
            raise PromptMismatch(
                f"prompt '{text}' was trained on other text ({prompt.provenance.text}) than the first ({first.text}); "
                "answer their rows in separate calls"
            )
    subsets = [prompt.provenance.seeds.get("subset", 0) for prompt in prompts.values()]
    if options.examples and len(set(subsets)) > 1:
        raise PromptMismatch(
            f"the examples before each row were drawn by other seeds for these prompts ({', '.join(map(str, subsets))}); "
            "answer their rows in separate calls"
        )
    return Subject(PromptedLM(lm, PromptBank(prompts), options, subsets[0]))
