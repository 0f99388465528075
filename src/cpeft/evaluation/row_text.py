"""From a row of a task to the text that a run sees, and on to token ids, under its text options."""

from collections.abc import Sequence

from cpeft.data.options import DataOptions
from cpeft.data.rows import EncodedRow
from cpeft.errors import ConfigError
from cpeft.evaluation.in_context import Shown
from cpeft.models.examples import ExampleFrame
from cpeft.models.text import TextCodec
from cpeft.tasks import Example, Row, Task, instruction

CONTENT_FREE = ("N/A", "[MASK]", "")  # what stands in every field, the three of Zhao et al. (2021)


def opening(task: Task, options: DataOptions) -> str:
    """The instruction that sources begin with, empty where they have none."""
    return "" if options.form == "fields" else instruction(task, options.labels, options.squad_target)


def source_of(task: Task, row: Row, options: DataOptions) -> str:
    """The source of a row, which may be unlabelled; the cue is not yet behind it."""
    return task.source(row, options.prefix == "task", opening(task, options))


def example_of(task: Task, row: Row, options: DataOptions) -> Example:
    """A row as the text that a run sees."""
    return task.example(row, options.prefix == "task", options.labels, opening(task, options), options.squad_target)


def frame_of(task: Task, options: DataOptions, codec: TextCodec) -> ExampleFrame:
    """What the task's rows stand behind, without examples."""
    return ExampleFrame(codec, options.cue_for(bool(task.labels())), opening(task, options))


def content_free(task: Task, options: DataOptions, codec: TextCodec, shown: Shown) -> tuple[EncodedRow, ...]:
    """The task's text without content, encoded as a row's."""
    told = [task.without_content(filler, options.prefix == "task", opening(task, options)) for filler in CONTENT_FREE]
    sources, _, _ = shown.encode(frame_of(task, options, codec), told, options.max_source)
    return tuple(EncodedRow(tuple(ids), ()) for ids in sources)


def spoken_labels(task: Task, options: DataOptions, codec: TextCodec) -> dict[str, str]:
    """What the tokenizer makes of each label, or of each value of a scale, to the label itself.

    Raises ConfigError where two of them are one to the tokenizer.
    """
    texts = task.labels(options.labels) or task.values
    spoken = dict(zip(codec.surface(texts), texts, strict=True))
    if len(spoken) < len(texts):
        raise ConfigError(
            f"task '{task.name}': two of its labels ({', '.join(texts)}) are one and the same to this tokenizer; "
            "use labels = 'numbers' or other words"
        )
    return spoken


def filled(targets: list[list[int]], task: Task, options: DataOptions, codec: TextCodec) -> list[list[int]]:
    """Targets with the pad token behind them, up to the longest label or value of the task."""
    texts = task.labels(options.labels) or task.values
    if not texts or not codec.encoder_decoder:
        raise ConfigError(
            f"task '{task.name}': data.label_padding = 'in-loss' is for tasks with labels on encoder-decoder models"
        )
    width = max(map(len, codec.targets(texts)))
    return [[*ids, *[codec.pad] * (width - len(ids))] for ids in targets]


def speech_notes(spoken: dict[str, str], targets: Sequence[str], codec: TextCodec) -> tuple[list[str], list[str]]:
    """How the tokenizer changes labels, or how many open answers it cannot give back as they are written; and an example."""
    if spoken:
        changed = [f"'{label}' becomes '{said}'" for said, label in spoken.items() if said != label]
        return [f"labels as this tokenizer writes them: {', '.join(changed)}"] if changed else [], []
    lost = [(t, said) for t, said in zip(targets, codec.surface(targets), strict=True) if t.strip() != said]
    if not lost:
        return [], []
    example = f"a test answer, {lost[0][0][:60]!r}, becomes {lost[0][1][:60]!r}"
    return [f"{len(lost)} of {len(targets)} test answers do not survive a tokenizer round trip"], [example]
