"""What is wrong with the data of a recipe: the one check that `run`, `plan` and `doctor` share.

It reads the rows and the model's tokenizer and no weights, and says each thing once, with counts: rows that are not here or do
not fit, texts that are cut or hold characters unknown to the tokenizer, classes without rows, too few validation rows, rows
that splits share, labels that no output can reach.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Literal

from cpeft.data.notes import of_training, worrying
from cpeft.data.options import Form
from cpeft.errors import CpeftError, MissingModel
from cpeft.models.loading import ModelOptions
from cpeft.models.named_models import named_model
from cpeft.models.text import TextCodec
from cpeft.models.tokens import load_codec
from cpeft.study.recipe_run import TrainingRun
from cpeft.study.settings import located_model
from cpeft.study.task_data import TaskData, coded_data, dataset_of

SAMPLE = 1000  # rows of a split that are looked at where time is short


@dataclass(frozen=True)
class Finding:
    """One thing found; `error` means a run would fail or mean something else than it says, `unchecked` that something could
    not be looked at, and what that takes; a `note` measures only."""

    level: Literal["error", "warning", "unchecked", "note", "ok"]
    where: str
    what: str


Codecs = Callable[[ModelOptions, Form], TextCodec]


@lru_cache(maxsize=4)
def tokenizer_of(options: ModelOptions, form: Form) -> TextCodec:
    """A model's codec, read once per process."""
    return load_codec(options, form)


def check_data(
    runs: Sequence[TrainingRun], most: int | None = None, codec_of: Codecs = tokenizer_of
) -> Iterator[Finding]:
    """Findings about the rows of every task of the runs, each once, under every set of options that reads them otherwise;
    with `most` only so many rows of a split are encoded."""
    seen: set[object] = set()
    said: set[object] = set()
    for run in runs:
        options, model = run.settings.data, located_model(run.settings.model, run.base)
        for name in run.settings.tasks:
            if (key := (name, run.base, options, model, run.settings.eval.max_new_tokens)) in seen:
                continue
            seen.add(key)
            try:
                found = _check(run, name, most, partial(codec_of, model, options.form))
            except MissingModel as error:
                found = [_without(model.name, run.stage, error)]
            for finding in found:
                if (told := ("" if finding.level == "error" else name, finding.what)) not in said:
                    said.add(told)
                    yield finding


def _without(model: str, stage: str, error: MissingModel) -> Finding:
    """What is said of a model that is not here: an error, unless a run downloads it first."""
    named = named_model(model)
    if named is None or isinstance(named.source, Path):
        return Finding("error", stage, str(error))
    what = f"model '{model}' is not here yet: cpeft fetch {model}"
    return Finding("unchecked", stage, f"{what}; not checked: whether texts, labels and prompts fit it")


def _check(run: TrainingRun, name: str, most: int | None, codec: Callable[[], TextCodec]) -> list[Finding]:
    where, options = f"{run.stage}: {name}", run.settings.data
    try:
        dataset_of(name, run.base, options.revision, options.folder)  # what is missing, before the tokenizer is loaded
        data = coded_data(name, run.base, options, run.settings.seed_for("subset"), codec(), most)
    except MissingModel:
        raise
    except CpeftError as error:
        return [Finding("error", where, str(error))]
    told = [note for note in data.told() if run.settings.trains or not of_training(note)]
    noted = [Finding("warning" if worrying(note) else "ok", where, note) for note in told]
    return [*noted, *_labels(where, data, codec(), run.settings.eval.max_new_tokens)]


def _labels(where: str, data: TaskData, codec: TextCodec, most: int | None) -> Iterator[Finding]:
    said = dict(zip(data.labels, codec.targets(data.labels), strict=True))
    if unknown := [label for label, ids in said.items() if codec.tokenizer.unk_token_id in ids]:
        yield Finding("error", where, f"no output can reach {', '.join(unknown)}: the tokenizer has no tokens for them")
    longest = max(map(len, said.values()), default=0)
    if most is not None and longest > most:
        yield Finding("error", where, f"eval.max_new_tokens = {most} cuts labels of up to {longest} tokens")
