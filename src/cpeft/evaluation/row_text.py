"""From a row of a task to its text under the options of a run, and to token ids."""

from collections.abc import Sequence

from cpeft.data.options import DataOptions
from cpeft.data.rows import EncodedRow
from cpeft.errors import ConfigError
from cpeft.evaluation.in_context import ShownExamples
from cpeft.models.examples import ExampleFrame
from cpeft.models.text import TextCodec
from cpeft.tasks import Example, Row, Task, instruction

CONTENT_FREE = ("N/A", "[MASK]", "")  # the value of every field; the three of Zhao et al. (2021)


def opening(task: Task, options: DataOptions) -> str:
    """The instruction at the beginning of every source, empty if the form has none."""
    return "" if options.form == "fields" else instruction(task, options.labels, options.squad_target)


def source_of(task: Task, row: Row, options: DataOptions) -> str:
    """The source of a row, labelled or not, without the cue."""
    return task.source(row, options.prefix == "task", opening(task, options))


def example_of(task: Task, row: Row, options: DataOptions) -> Example:
    """A row as source and target."""
    return task.example(row, options.prefix == "task", options.labels, opening(task, options), options.squad_target)


def frame_of(task: Task, options: DataOptions, codec: TextCodec) -> ExampleFrame:
    """The text around every row of the task, without in-context examples."""
    return ExampleFrame(codec, options.cue_for(bool(task.labels())), opening(task, options))


def content_free(task: Task, options: DataOptions, codec: TextCodec, shown: ShownExamples) -> tuple[EncodedRow, ...]:
    """Rows of the task without content, encoded."""
    texts = [task.without_content(filler, options.prefix == "task", opening(task, options)) for filler in CONTENT_FREE]
    sources, _, _ = shown.encode(frame_of(task, options, codec), texts, options.max_source)
    return tuple(EncodedRow(tuple(ids), ()) for ids in sources)


def label_surfaces(task: Task, options: DataOptions, codec: TextCodec) -> dict[str, str]:
    """From the surface form (encoded and decoded again) of each label, or of each value of a scale, to the label.

    Raises ConfigError if two labels have the same surface form.
    """
    texts = task.labels(options.labels) or task.values
    surfaces = dict(zip(codec.surface(texts), texts, strict=True))
    if len(surfaces) < len(texts):
        raise ConfigError(
            f"task '{task.name}': two of its labels ({', '.join(texts)}) are one and the same to this tokenizer; "
            "use labels = 'numbers' or other words"
        )
    return surfaces


def filled(targets: list[list[int]], task: Task, options: DataOptions, codec: TextCodec) -> list[list[int]]:
    """Targets padded to the longest label or value of the task. Raises ConfigError for open answers and decoder-only models."""
    texts = task.labels(options.labels) or task.values
    if not texts or not codec.encoder_decoder:
        raise ConfigError(
            f"task '{task.name}': data.label_padding = 'in-loss' is for tasks with labels on encoder-decoder models"
        )
    width = max(map(len, codec.targets(texts)))
    return [[*ids, *[codec.pad] * (width - len(ids))] for ids in targets]


def surface_notes(surfaces: dict[str, str], targets: Sequence[str], codec: TextCodec) -> tuple[list[str], list[str]]:
    """Notes on labels that the tokenizer changes, or on how many open answers it changes; and notes that quote an answer."""
    if surfaces:
        changed = [f"'{label}' becomes '{surface}'" for surface, label in surfaces.items() if surface != label]
        return [f"labels as this tokenizer writes them: {', '.join(changed)}"] if changed else [], []
    lost = [pair for pair in zip(targets, codec.surface(targets), strict=True) if pair[0].strip() != pair[1]]
    if not lost:
        return [], []
    example = f"a test answer, {lost[0][0][:60]!r}, becomes {lost[0][1][:60]!r}"
    return [f"{len(lost)} of {len(targets)} test answers do not survive a tokenizer round trip"], [example]
