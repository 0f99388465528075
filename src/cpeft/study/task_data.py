"""The rows of one task as a run sees them: split, drawn, rendered, encoded, with everything worth a warning counted."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from cpeft.data.encode import EncodedRow, cut
from cpeft.data.few_shot import few_shot, limit
from cpeft.data.options import DataOptions
from cpeft.data.resolve import Dataset, load_tables
from cpeft.data.splits import Rows, Splits, make_splits
from cpeft.errors import ConfigError
from cpeft.models.loading import FrozenLM
from cpeft.models.text import TextCodec
from cpeft.study.settings import find_task
from cpeft.tasks import Example, Task

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Part:
    """One split: examples and their ids, how many sources were cut to fit, and the longest source (tokens)."""

    examples: tuple[Example, ...]
    rows: tuple[EncodedRow, ...]
    cut: int
    longest: int


@dataclass(frozen=True)
class TaskData:
    """A task with its three parts. `spoken` maps what the tokenizer can say of each label to the label itself."""

    task: Task
    parts: dict[str, Part]
    labels: tuple[str, ...]
    spoken: dict[str, str]
    majority: str  # the most frequent target of the whole training split; empty for open answers
    fingerprint: str
    origin: str
    revision: str | None
    notes: tuple[str, ...]

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
    labels = task.labels(options.labels)
    spoken, warnings = _spoken(task, labels, lm.text)
    chosen = {"train": _train_rows(task, splits.train, options, seed)}
    for split in ("validation", "test"):
        rows, most = getattr(splits, split), getattr(options, f"limit_{split}")
        chosen[split] = rows if most is None else limit(rows, most, 42)  # the same rows for every seed
    parts = {split: _part(task, rows, options, lm.text) for split, rows in chosen.items()}
    notes = [*splits.notes, *(note for rows in chosen.values() for note in rows.notes), *warnings]
    notes += [f"{part.cut} of {len(part.rows)} {split} sources were cut to {options.max_source} tokens"
              for split, part in parts.items() if part.cut]  # fmt: skip
    return TaskData(
        task, parts, labels, spoken, _majority(task, splits.train, options) if labels else "",
        dataset.fingerprint, dataset.origin, dataset.revision, tuple(notes),
    )  # fmt: skip


def _train_rows(task: Task, rows: Rows, options: DataOptions, seed: int) -> Rows:
    if options.few_shot != "full":
        return few_shot(task, rows, options.few_shot, options.few_shot_per, seed)
    return rows if options.limit_train is None else limit(rows, options.limit_train, seed)


def _part(task: Task, rows: Rows, options: DataOptions, codec: TextCodec) -> Part:
    prefix = options.prefix == "task"
    examples = tuple(task.example(row, prefix, options.labels) for row in rows.table.to_pylist())
    sources = codec.sources([example.source for example in examples], options.cue)
    targets = codec.targets([example.target for example in examples])
    room = options.max_source
    encoded = tuple(EncodedRow(cut(s, room), tuple(t)) for s, t in zip(sources, targets, strict=True))
    cuts = sum(room is not None and len(ids) > room for ids in sources)
    return Part(examples, encoded, cuts, max((len(row.source) for row in encoded), default=0))


def _spoken(task: Task, labels: tuple[str, ...], codec: TextCodec) -> tuple[dict[str, str], list[str]]:
    """Labels as they come back from the tokenizer: an uncased one says `entity` for `Entity`."""
    spoken = {codec.decode(ids): label for ids, label in zip(codec.targets(list(labels)), labels, strict=True)}
    if len(spoken) < len(labels):
        raise ConfigError(
            f"task '{task.name}': two of its labels ({', '.join(labels)}) are one and the same to this tokenizer; "
            "use labels = 'numbers' or other words"
        )
    changed = [f"'{label}' is said '{said}'" for said, label in spoken.items() if said != label]
    return spoken, [f"labels as this tokenizer says them: {', '.join(changed)}"] if changed else []


def _majority(task: Task, rows: Rows, options: DataOptions) -> str:
    codes = [task.code(row) for row in rows.table.to_pylist()]
    words = task.words if options.labels == "words" else task.numbers
    most = max(sorted({c for c in codes if c is not None}, key=str), key=codes.count)
    return words[most]
