"""The rows of one task as a run sees them: split, drawn, rendered, encoded, with everything worth a warning counted."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from cpeft.data.encode import EncodedRow
from cpeft.data.few_shot import few_shot, limit
from cpeft.data.options import DataOptions
from cpeft.data.resolve import Dataset, load_tables
from cpeft.data.splits import Rows, Splits, make_splits
from cpeft.errors import ConfigError
from cpeft.models.loading import FrozenLM
from cpeft.models.text import TextCodec
from cpeft.study.settings import find_task
from cpeft.tasks import Example, Task


@dataclass(frozen=True)
class Part:
    """One split: examples and their ids, how many sources were cut to fit, and the longest source (tokens)."""

    examples: tuple[Example, ...]
    rows: tuple[EncodedRow, ...]
    cut: int
    longest: int


@dataclass(frozen=True)
class TaskData:
    """A task with its three parts. `spoken` maps what the tokenizer can say of each label, or value of a scale, to it."""

    task: Task
    parts: dict[str, Part]
    labels: tuple[str, ...]
    spoken: dict[str, str]
    fingerprint: str
    origin: str
    revision: str | None
    notes: tuple[str, ...]

    @property
    def closed(self) -> tuple[str, ...]:
        """The closed label set as the tokenizer says it, empty for open answers and scales."""
        return tuple(self.spoken) if self.labels else ()

    def say(self, text: str) -> str:
        """A predicted text, as the label it stands for where there is one."""
        return self.spoken.get(text, text)


@lru_cache(maxsize=64)
def dataset_of(name: str, base: Path | None, revision: str | None) -> Dataset:
    """The tables of a task, read once per process."""
    return load_tables(find_task(name, base), revision)


@lru_cache(maxsize=16)
def _splits_of(name: str, base: Path | None, options: DataOptions) -> Splits:
    return make_splits(find_task(name, base), dataset_of(name, base, options.revision), options.split)


@lru_cache(maxsize=16)
def task_data(name: str, base: Path | None, options: DataOptions, seed: int, lm: FrozenLM) -> TaskData:
    """Everything a run needs of one task; `seed` draws the few shots.

    Raises ConfigError where two labels are one to the tokenizer.
    """
    task, dataset = find_task(name, base), dataset_of(name, base, options.revision)
    splits = _splits_of(name, base, options)
    spoken = spoken_labels(task, options, lm.text)
    chosen = {"train": _train_rows(task, splits.train, options, seed)}
    for split in ("validation", "test"):
        rows, most = getattr(splits, split), getattr(options, f"limit_{split}")
        chosen[split] = rows if most is None else limit(rows, most, 42)  # the same rows for every seed
    parts = {split: _part(task, rows, options, lm.text) for split, rows in chosen.items()}
    notes = [*splits.notes, *(note for rows in chosen.values() for note in rows.notes)]
    notes += _speech_notes(spoken, parts["test"], lm.text)
    notes += [f"{part.cut} of {len(part.rows)} {split} sources were cut to {options.max_source} tokens"
              for split, part in parts.items() if part.cut]  # fmt: skip
    labels = task.labels(options.labels)
    return TaskData(task, parts, labels, spoken, dataset.fingerprint, dataset.origin, dataset.revision, tuple(notes))


def _train_rows(task: Task, rows: Rows, options: DataOptions, seed: int) -> Rows:
    if options.few_shot != "full":
        return few_shot(task, rows, options.few_shot, options.few_shot_per, seed)
    return rows if options.limit_train is None else limit(rows, options.limit_train, seed)


def _part(task: Task, rows: Rows, options: DataOptions, codec: TextCodec) -> Part:
    examples = tuple(task.example(row, options.prefix == "task", options.labels) for row in rows.table.to_pylist())
    encoded, cut = encode_sources([example.source for example in examples], options, codec)
    targets = codec.targets([example.target for example in examples])
    whole = tuple(replace(row, target=tuple(ids)) for row, ids in zip(encoded, targets, strict=True))
    return Part(examples, whole, cut, max((len(row.source) for row in whole), default=0))


def encode_sources(texts: Sequence[str], options: DataOptions, codec: TextCodec) -> tuple[list[EncodedRow], int]:
    """Source texts as rows without target, and how many were cut to `max_source`."""
    ids, cut = codec.sources(texts, options.cue, options.max_source)
    return [EncodedRow(tuple(row), ()) for row in ids], cut


def spoken_labels(task: Task, options: DataOptions, codec: TextCodec) -> dict[str, str]:
    """What the tokenizer makes of each label, or of each value of a scale, to the label itself.

    Raises ConfigError where two of them are one to the tokenizer.
    """
    texts = task.labels(options.labels) or task.values
    spoken = dict(zip(codec.spoken(texts), texts, strict=True))
    if len(spoken) < len(texts):
        raise ConfigError(
            f"task '{task.name}': two of its labels ({', '.join(texts)}) are one and the same to this tokenizer; "
            "use labels = 'numbers' or other words"
        )
    return spoken


def _speech_notes(spoken: dict[str, str], test: Part, codec: TextCodec) -> list[str]:
    """How the tokenizer changes labels, or how many open answers it cannot give back as they are written."""
    if spoken:
        changed = [f"'{label}' is said '{said}'" for said, label in spoken.items() if said != label]
        return [f"labels as this tokenizer says them: {', '.join(changed)}"] if changed else []
    targets = [example.target for example in test.examples]
    lost = [(t, said) for t, said in zip(targets, codec.spoken(targets), strict=True) if t.strip() != said]
    example = f", e.g. {lost[0][0][:60]!r} is said {lost[0][1][:60]!r}" if lost else ""
    return (
        [f"{len(lost)} of {len(targets)} test answers cannot be said exactly by this tokenizer{example}"]
        if lost
        else []
    )
