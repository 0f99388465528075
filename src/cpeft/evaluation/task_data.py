"""The rows of one task for a run: split, drawn, rendered as text and encoded, with notes on them; the answers of a learner to
these rows, and their scores. Validation, test and `cpeft eval` share it."""

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
from cpeft.evaluation.in_context import ShownExamples
from cpeft.evaluation.row_notes import UnknownCharacters, class_notes
from cpeft.evaluation.row_text import content_free, example_of, filled, frame_of, label_surfaces, surface_notes
from cpeft.evaluation.scoring import score_texts
from cpeft.metrics import METRICS
from cpeft.models.examples import Pair
from cpeft.models.text import TextCodec
from cpeft.options.evaluation import EvalOptions
from cpeft.store.result import Score
from cpeft.tasks import Example, Task
from cpeft.tasks.custom import find_task

if TYPE_CHECKING:
    from cpeft.evaluation.decoding import DecodedRow
    from cpeft.models.loading import FrozenLM
    from cpeft.models.prompted import PromptedLM
    from cpeft.training.workers import Workers

SPLITS = ("train", "validation", "test")
AT_ONCE = 8192  # rows in memory both as text and as tokens


@dataclass(frozen=True)
class SplitData:
    """One split: the examples that answers are scored against (none for training rows, which may be hundreds of thousands), the
    token ids of its rows, the number of truncated sources, and the length of the longest source (tokens)."""

    examples: tuple[Example, ...]
    rows: tuple[EncodedRow, ...]
    cut: int
    longest: int


@dataclass(frozen=True)
class TaskData:
    """A task with its three splits. `surfaces` maps the surface form of each label, or value of a scale, to it; `content_free`
    are rows without content, by which closed choice is calibrated; `shown` are the in-context examples; `quotes` are notes that
    quote rows."""

    task: Task
    dataset: Dataset
    parts: dict[str, SplitData]
    labels: tuple[str, ...]
    surfaces: dict[str, str]
    notes: tuple[str, ...]
    content_free: tuple[EncodedRow, ...]
    shown: ShownExamples
    quotes: tuple[str, ...] = ()

    def all_notes(self, texts: bool = True) -> list[str]:
        """The notes on the rows; without those that quote rows unless `texts`."""
        return [*self.notes, *(self.quotes if texts else ())]

    @property
    def closed(self) -> tuple[str, ...]:
        """The surface forms of the closed label set, empty for open answers and scales."""
        return tuple(self.surfaces) if self.labels else ()

    def rows(self, split: str, index: int) -> list[EncodedRow]:
        """The rows of a split; `index` is the index of the task within the run."""
        rows = self.parts[split].rows
        return [replace(row, task=index) for row in rows] if index else list(rows)

    def answers(
        self, learner: "PromptedLM", index: int, split: str, options: EvalOptions, workers: "Workers | None" = None
    ) -> "list[DecodedRow]":
        """The decoded rows of a split, with the label of each greedy text in `text` and the greedy text in `answer`."""
        from cpeft.evaluation.decoding import decode_rows, label_matcher  # here: a plan reads rows and needs no torch

        to_label = label_matcher(self.surfaces, options.match if self.labels else "exact")
        content_free = [replace(row, task=index) for row in self.content_free]
        options = options.model_copy(update={"decode": options.scored(learner.method.Options)})
        decoded = decode_rows(learner, self.rows(split, index), self.closed, options, workers, content_free)

        def label(chosen: str | None) -> str | None:
            return chosen and self.surfaces.get(chosen)

        return [
            replace(d, text=to_label(d.text), answer=d.text, choice=label(d.choice), calibrated=label(d.calibrated))
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

    def score_decoded(self, split: str, decoded: "Sequence[DecodedRow]", resamples: int) -> dict[str, Score]:
        """Every metric of the greedy texts and, if requested, of the closed choices as `choice_*` and `calibrated_*`."""
        scores = self.score(split, [row.text for row in decoded], resamples)
        for way in ("choice", "calibrated"):
            chosen = [getattr(row, way) for row in decoded]
            if chosen and None not in chosen:
                found = self.score(split, chosen, resamples)
                scores |= {f"{way}_{metric}": score for metric, score in found.items()}
        return scores

    def best_constant(self) -> float | None:
        """The headline metric of the best constant answer on the test rows, the bar for "has learned anything"; None for
        open answers. It uses the test labels, so it is at least as high as that of the most frequent training label."""
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

    Raises ConfigError if two labels have the same surface form.
    """
    return coded_data(name, base, options, seed, lm.codec(options.form))


def coded_data(
    name: str, base: Path | None, options: DataOptions, seed: int, codec: TextCodec, most: int | None = None
) -> TaskData:
    """`task_data` for a codec, without a model; with `most` at most so many rows of each split are encoded."""
    return _encoded(name, base, options, seed if _draws(options) else 0, codec, most)


def _draws(options: DataOptions) -> bool:
    """Whether the training rows of a run depend on its seed; runs on all rows share them."""
    return options.few_shot != "full" or options.limit_train is not None or options.examples > 0


@lru_cache(maxsize=8)  # large tasks take hundreds of megabytes each
def _encoded(
    name: str, base: Path | None, options: DataOptions, seed: int, codec: TextCodec, most: int | None = None
) -> TaskData:
    """`task_data`, cached by the codec: a cache key keeps its object alive, and a model is large."""
    task, dataset = find_task(name, base), dataset_of(name, base, options.revision, options.folder)
    surfaces = label_surfaces(task, options, codec)
    shown = shown_examples(name, base, options, seed, codec)
    drawn = {
        split: _split_data(
            name, base, _deciding(split, options), split, seed if split == "train" else 0, codec, shown, most
        )
        for split in SPLITS
    }
    parts = {split: part for split, (part, _, _) in drawn.items()}
    splits = _splits_of(name, base, options.revision, options.folder, options.split)
    notes = [*splits.notes, *(note for _, noted, _ in drawn.values() for note in noted), *shown.notes]
    changed, quotes = surface_notes(surfaces, [example.target for example in parts["test"].examples], codec)
    notes += changed
    notes += [cut(part.cut, len(part.rows), split, options.max_source) for split, part in parts.items() if part.cut]
    quotes = [*(note for _, _, quoted in drawn.values() for note in quoted), *quotes]
    labels = task.labels(options.labels)
    free = content_free(task, options, codec, shown) if labels else ()
    return TaskData(task, dataset, parts, labels, surfaces, tuple(notes), free, shown, tuple(quotes))


def _deciding(split: str, options: DataOptions) -> DataOptions:
    """The options that decide the rows of a split and their text, with all others at their defaults: validation and test rows
    are encoded once for runs on any number of training rows."""
    others = ["examples", "examples_tokens", *(f"limit_{other}" for other in SPLITS if other != split)]
    others += [] if split == "train" else ["few_shot", "few_shot_per"]
    return options.model_copy(update={name: DataOptions.model_fields[name].default for name in others})


def _drawn(name: str, base: Path | None, options: DataOptions, split: str, seed: int) -> SplitRows:
    """The rows of a split that a run uses."""
    task = find_task(name, base)
    rows: SplitRows = getattr(_splits_of(name, base, options.revision, options.folder, options.split), split)
    most = getattr(options, f"limit_{split}")
    if split == "train" and options.few_shot != "full":
        return few_shot(task, rows, options.few_shot, options.few_shot_per, seed)
    if most is None:
        return rows
    return limit(rows, most, seed if split == "train" else 42)  # every seed is scored on the same rows


def drawn_examples(name: str, base: Path | None, options: DataOptions, seed: int) -> dict[int, Pair]:
    """The in-context examples of a run whose `seed` draws training rows: sources and answers by their places among these rows,
    whether they fit or not. Raises ConfigError if there are no training rows."""
    task, rows = find_task(name, base), _drawn(name, base, options, "train", seed)
    if options.examples and not len(rows):
        raise ConfigError(
            f"task '{task.name}': data.examples = {options.examples} shows training rows, and data.few_shot = 0 leaves none"
        )
    places = example_places(rows, options.examples, seed).tolist()
    drawn = [example_of(task, row, options) for row in rows.table.take(places).to_pylist()]
    return {place: (example.source, example.target) for place, example in zip(places, drawn, strict=True)}


@lru_cache(maxsize=24)
def shown_examples(name: str, base: Path | None, options: DataOptions, seed: int, codec: TextCodec) -> ShownExamples:
    """The in-context examples that fit in `data.examples_tokens`."""
    if not options.examples:
        return ShownExamples()
    drawn, frame = drawn_examples(name, base, options, seed), frame_of(find_task(name, base), options, codec)
    return ShownExamples.of(drawn, options, frame)


@lru_cache(maxsize=24)
def _split_data(
    name: str, base: Path | None, options: DataOptions, split: str, seed: int, codec: TextCodec, shown: ShownExamples,
    at_most: int | None,
) -> tuple[SplitData, tuple[str, ...], tuple[str, ...]]:  # fmt: skip
    """The rows of a split that a run uses, encoded (at most `at_most` of them), notes on them, and notes that quote them."""
    task, rows = find_task(name, base), _drawn(name, base, options, split, seed)
    notes = [*rows.notes, *class_notes(task, rows, split)]
    if at_most is not None:
        rows = limit(rows, at_most, 42)
    frame = frame_of(task, options, codec)
    examples, encoded, shorter, fewer, unknown = list[Example](), list[EncodedRow](), 0, 0, UnknownCharacters()
    known: dict[int, int] = {}  # one object per token id, of which a large task has millions
    for chunk in rows.table.to_batches(max_chunksize=AT_ONCE):
        in_chunk = [example_of(task, row, options) for row in chunk.to_pylist()]
        first = len(encoded) if split == "train" and at_most is None else None
        texts = [example.source for example in in_chunk]
        sources, shortened, left_out = shown.encode(frame, texts, options.max_source, first)
        targets = codec.targets([example.target for example in in_chunk])
        if options.label_padding == "in-loss":
            targets = filled(targets, task, options, codec)
        kept = ([tuple(known.setdefault(i, i) for i in ids) for ids in texts] for texts in (sources, targets))
        encoded += map(EncodedRow, *kept)
        examples += in_chunk if split != "train" else []
        shorter, fewer = shorter + shortened, fewer + left_out
        unknown.count(codec, sources, in_chunk)
    longest = max((len(row.source) for row in encoded), default=0)
    if fewer:
        notes.append(fewer_examples(fewer, len(encoded), split, options.max_source))
    quotes = tuple(unknown.notes(len(encoded), split))
    return SplitData(tuple(examples), tuple(encoded), shorter, longest), tuple(notes), quotes
