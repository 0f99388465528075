"""The rows of one task as a run sees them: split, drawn, rendered, encoded, with everything worth a warning counted; and
what a learner answers to them, and how those answers score. Validation, test and `cpeft eval` share it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from cpeft.data.few_shot import example_places, few_shot, limit
from cpeft.data.notes import cut, fewer_examples
from cpeft.data.options import DataOptions
from cpeft.data.resolve import Dataset, load_tables
from cpeft.data.rows import EncodedRow
from cpeft.data.splits import Policy, SplitRows, Splits, make_splits
from cpeft.errors import ConfigError
from cpeft.evaluation.in_context import Shown
from cpeft.evaluation.row_notes import Lost, class_notes
from cpeft.evaluation.row_text import content_free, example_of, filled, frame_of, speech_notes, spoken_labels
from cpeft.evaluation.scoring import score_texts
from cpeft.metrics import METRICS
from cpeft.models.examples import Pair
from cpeft.models.text import TextCodec
from cpeft.options.evaluation import EvalOptions
from cpeft.store.result import Score
from cpeft.tasks import Example, Task
from cpeft.tasks.custom import find_task

if TYPE_CHECKING:
    from cpeft.evaluation.decoding import Decoded
    from cpeft.models.loading import FrozenLM
    from cpeft.models.prompted import PromptedLM
    from cpeft.training.workers import Workers

SPLITS = ("train", "validation", "test")
AT_ONCE = 8192  # rows that are text and tokens at the same time


@dataclass(frozen=True)
class Part:
    """One split: token ids of its rows, the examples that answers are scored against (none of training rows, which may be
    hundreds of thousands), how many sources were cut to fit, and the longest source (tokens)."""

    examples: tuple[Example, ...]
    rows: tuple[EncodedRow, ...]
    cut: int
    longest: int


@dataclass(frozen=True)
class TaskData:
    """A task with its three parts. `spoken` maps what the tokenizer can say of each label, or value of a scale, to it;
    `content_free` are texts of the task without content, by which closed choice is calibrated, `shown` the examples before
    every row; `quotes` are notes that quote
    rows."""

    task: Task
    dataset: Dataset
    parts: dict[str, Part]
    labels: tuple[str, ...]
    spoken: dict[str, str]
    notes: tuple[str, ...]
    content_free: tuple[EncodedRow, ...]
    shown: Shown
    quotes: tuple[str, ...] = ()

    def told(self, texts: bool = True) -> list[str]:
        """What is to be noted of the rows, without texts of them if these may not be kept."""
        return [*self.notes, *(self.quotes if texts else ())]

    @property
    def closed(self) -> tuple[str, ...]:
        """The closed label set as the tokenizer says it, empty for open answers and scales."""
        return tuple(self.spoken) if self.labels else ()

    def rows(self, split: str, index: int) -> list[EncodedRow]:
        """The rows of a split; `index` is the task's within the run."""
        rows = self.parts[split].rows
        return [replace(row, task=index) for row in rows] if index else list(rows)

    def answers(
        self, learner: "PromptedLM", index: int, split: str, options: EvalOptions, workers: "Workers | None" = None
    ) -> "list[Decoded]":
        """Decoded rows, predicted texts as the labels they stand for beside what was said."""
        from cpeft.evaluation.decoding import decode_rows, matched  # here: a plan reads rows and needs no torch

        say = matched(self.spoken, options.match if self.labels else "exact")
        content_free = [replace(row, task=index) for row in self.content_free]
        options = options.model_copy(update={"decode": options.scored(learner.method.Options)})
        decoded = decode_rows(learner, self.rows(split, index), self.closed, options, workers, content_free)

        def label(chosen: str | None) -> str | None:
            return chosen and self.spoken.get(chosen)

        return [
            replace(d, text=say(d.text), answer=d.text, choice=label(d.choice), calibrated=label(d.calibrated))
            for d in decoded
        ]

    def score(self, split: str, texts: Sequence[str], resamples: int = 0) -> dict[str, Score]:
        """Every metric over the predicted texts of a split."""
        examples = self.parts[split].examples
        references, groups = [example.references for example in examples], [example.group for example in examples]
        return {
            metric: score_texts(metric, texts, references, self.labels, groups, resamples)
            for metric in self.task.metrics
        }

    def score_decoded(self, split: str, decoded: "Sequence[Decoded]", resamples: int) -> dict[str, Score]:
        """Every metric of the greedy texts and, where they were asked for, of the closed choices as `choice_*` and
        `calibrated_*`."""
        scores = self.score(split, [row.text for row in decoded], resamples)
        for way in ("choice", "calibrated"):
            chosen = [getattr(row, way) for row in decoded]
            if chosen and None not in chosen:
                found = self.score(split, chosen, resamples)
                scores |= {f"{way}_{metric}": score for metric, score in found.items()}
        return scores

    def best_constant(self) -> float | None:
        """The headline metric of the best constant answer on the test rows, the bar for "has learned anything"; None for
        open answers. It knows the test labels, so it is at least as high as the most frequent training label."""
        rows, headline = len(self.parts["test"].examples), self.task.metrics[0]
        scores = [self.score("test", [label] * rows)[headline].value for label in self.labels]
        return METRICS.get(headline).best(scores) if scores else None


@lru_cache(maxsize=64)
def dataset_of(name: str, base: Path | None, revision: str | None, folder: str | None = None) -> Dataset:
    """The tables of a task, read once per process."""
    return load_tables(find_task(name, base), revision, folder)


@lru_cache(maxsize=8)
def _splits_of(name: str, base: Path | None, revision: str | None, folder: str | None, policy: Policy) -> Splits:
    return make_splits(find_task(name, base), dataset_of(name, base, revision, folder), policy)


def task_data(name: str, base: Path | None, options: DataOptions, seed: int, lm: "FrozenLM") -> TaskData:
    """Everything a run needs of one task; `seed` draws the few shots.

    Raises ConfigError where two labels are one to the tokenizer.
    """
    return coded_data(name, base, options, seed, lm.codec(options.form))


def coded_data(
    name: str, base: Path | None, options: DataOptions, seed: int, codec: TextCodec, most: int | None = None
) -> TaskData:
    """`task_data` of a model of which the codec alone is there; with `most` only so many rows of a split are encoded."""
    return _encoded(name, base, options, seed if _draws(options) else 0, codec, most)


def _draws(options: DataOptions) -> bool:
    """Whether a seed decides which training rows a run sees; all runs on all rows share them."""
    return options.few_shot != "full" or options.limit_train is not None or options.examples > 0


@lru_cache(maxsize=8)  # large tasks take hundreds of megabytes each
def _encoded(
    name: str, base: Path | None, options: DataOptions, seed: int, codec: TextCodec, most: int | None = None
) -> TaskData:
    """`task_data`, kept for the codec and not for the model, which would be kept with it."""
    task, dataset = find_task(name, base), dataset_of(name, base, options.revision, options.folder)
    spoken = spoken_labels(task, options, codec)
    shown = shown_examples(name, base, options, seed, codec)
    drawn = {
        split: _part(name, base, _deciding(split, options), split, seed if split == "train" else 0, codec, shown, most)
        for split in SPLITS
    }
    parts = {split: part for split, (part, _, _) in drawn.items()}
    splits = _splits_of(name, base, options.revision, options.folder, options.split)
    notes = [*splits.notes, *(note for _, told, _ in drawn.values() for note in told), *shown.notes]
    said, quotes = speech_notes(spoken, [example.target for example in parts["test"].examples], codec)
    notes += said
    notes += [cut(part.cut, len(part.rows), split, options.max_source) for split, part in parts.items() if part.cut]
    quotes = [*(note for _, _, quoted in drawn.values() for note in quoted), *quotes]
    labels = task.labels(options.labels)
    free = content_free(task, options, codec, shown) if labels else ()
    return TaskData(task, dataset, parts, labels, spoken, tuple(notes), free, shown, tuple(quotes))


def _deciding(split: str, options: DataOptions) -> DataOptions:
    """The options that decide the rows of a split and how they read, the others at their defaults: validation and test rows
    are encoded once for runs on any number of training rows."""
    others = ["examples", "examples_tokens", *(f"limit_{other}" for other in SPLITS if other != split)]
    others += [] if split == "train" else ["few_shot", "few_shot_per"]
    return options.model_copy(update={name: DataOptions.model_fields[name].default for name in others})


def _drawn(name: str, base: Path | None, options: DataOptions, split: str, seed: int) -> SplitRows:
    """The rows of a split that a run sees."""
    task = find_task(name, base)
    rows: SplitRows = getattr(_splits_of(name, base, options.revision, options.folder, options.split), split)
    most = getattr(options, f"limit_{split}")
    if split == "train" and options.few_shot != "full":
        return few_shot(task, rows, options.few_shot, options.few_shot_per, seed)
    if most is None:
        return rows
    return limit(rows, most, seed if split == "train" else 42)  # every seed is scored on the same rows


def drawn_examples(name: str, base: Path | None, options: DataOptions, seed: int) -> dict[int, Pair]:
    """The in-context examples of a run whose `seed` draws training rows, sources and answers by their places among these rows,
    whether they will fit or not; raises ConfigError where there are no rows."""
    task, rows = find_task(name, base), _drawn(name, base, options, "train", seed)
    if options.examples and not len(rows):
        raise ConfigError(
            f"task '{task.name}': data.examples = {options.examples} shows training rows, and data.few_shot = 0 leaves none"
        )
    places = example_places(rows, options.examples, seed).tolist()
    told = [example_of(task, row, options) for row in rows.table.take(places).to_pylist()]
    return {place: (example.source, example.target) for place, example in zip(places, told, strict=True)}


@lru_cache(maxsize=24)
def shown_examples(name: str, base: Path | None, options: DataOptions, seed: int, codec: TextCodec) -> Shown:
    """Those of them that fit."""
    if not options.examples:
        return Shown()
    drawn, frame = drawn_examples(name, base, options, seed), frame_of(find_task(name, base), options, codec)
    return Shown.of(drawn, options, frame)


@lru_cache(maxsize=24)
def _part(
    name: str, base: Path | None, options: DataOptions, split: str, seed: int, codec: TextCodec, shown: Shown,
    at_most: int | None,
) -> tuple[Part, tuple[str, ...], tuple[str, ...]]:  # fmt: skip
    """The rows of a split that a run sees, encoded, what is to be noted of how they were drawn and read, and notes that quote
    them; with `at_most` only so many of the rows."""
    task, rows = find_task(name, base), _drawn(name, base, options, split, seed)
    notes = [*rows.notes, *class_notes(task, rows, split)]
    if at_most is not None:
        rows = limit(rows, at_most, 42)
    frame = frame_of(task, options, codec)
    examples, encoded, shorter, fewer, lost = list[Example](), list[EncodedRow](), 0, 0, Lost()
    known: dict[int, int] = {}  # one object per token id, of which a large task has millions
    for chunk in rows.table.to_batches(max_chunksize=AT_ONCE):
        told = [example_of(task, row, options) for row in chunk.to_pylist()]
        first = len(encoded) if split == "train" and at_most is None else None
        texts = [example.source for example in told]
        sources, shortened, left_out = shown.encode(frame, texts, options.max_source, first)
        targets = codec.targets([example.target for example in told])
        if options.label_padding == "in-loss":
            targets = filled(targets, task, options, codec)
        kept = ([tuple(known.setdefault(i, i) for i in ids) for ids in texts] for texts in (sources, targets))
        encoded += map(EncodedRow, *kept)
        examples += told if split != "train" else []
        shorter, fewer = shorter + shortened, fewer + left_out
        lost.count(codec, sources, told)
    longest = max((len(row.source) for row in encoded), default=0)
    if fewer:
        notes.append(fewer_examples(fewer, len(encoded), split, options.max_source))
    return Part(tuple(examples), tuple(encoded), shorter, longest), tuple(notes), tuple(lost.notes(len(encoded), split))
