"""The check of a recipe's data that `run`, `plan` and `doctor` share.

It reads the rows and the model's tokenizer, but no weights, and reports each problem once, with counts: rows that are missing
or do not fit, texts that are cut or contain characters unknown to the tokenizer, classes without rows, too few validation rows,
rows that splits share, labels that no output can reach.
"""

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from cpeft.data.notes import of_training, worrying
from cpeft.data.options import Form
from cpeft.errors import CpeftError, MissingModel
from cpeft.evaluation.task_data import TaskData, coded_data, dataset_of
from cpeft.models.cache import remembered
from cpeft.models.named_models import named_model
from cpeft.models.places import model_identity
from cpeft.models.text import TextCodec, check_fits
from cpeft.models.tokens import load_codec
from cpeft.options.model import ModelOptions
from cpeft.study.recipe.references import RecipeRun
from cpeft.study.recipe.runs import TrainingRun, task_identity
from cpeft.study.recipe.settings import located_model

logger = logging.getLogger(__name__)
SAMPLE = 1000  # rows of a split that are checked when time is short


@dataclass(frozen=True)
class Finding:
    """A result of the check. `error`: a run would fail, or its result would be misleading. `unchecked`: something could not be
    checked, and what is needed for it. `note`: a measurement only."""

    level: Literal["error", "warning", "unchecked", "note", "ok"]
    where: str
    what: str


@lru_cache(maxsize=4)
def codec_of(options: ModelOptions, form: Form) -> TextCodec:
    """The codec of a model, read once per process."""
    return load_codec(options, form)


@dataclass(frozen=True)
class Facts:
    """A task's rows under a model's tokenizer: notes, labels without tokens, the length of the longest label and of the longest
    source in tokens, and the positions of the model (None: no limit)."""

    notes: list[str]
    unreached: list[str]
    longest_label: int
    longest_source: int
    positions: int | None

    def check_fits(self, prompt: int, model: str) -> None:
        """Raise TooLong unless `prompt` rows and the longest source fit the positions."""
        check_fits(self.positions, model, prompt, self.longest_source)


def facts_of(run: TrainingRun, name: str, most: int | None = None) -> Facts:
    """The facts about one task of a run, from at most `most` rows of a split. They are cached if texts of rows may be kept,
    because notes quote some. Raises CpeftError for data or a model that cannot be read."""
    options, model = run.settings.data, located_model(run.settings.model, run.base)
    dataset_of(name, run.base, options.revision, options.folder)  # raises MissingData before the tokenizer is loaded
    seed = run.settings.seed_for("subset")

    def read() -> dict[str, Any]:
        logger.info("reading the rows of %s ...", name)
        codec = codec_of(model, options.form)
        return asdict(_facts(coded_data(name, run.base, options, seed, codec, most), codec))

    key = [
        task_identity(name, run.base, options),
        options.model_dump(exclude={"folder"}),
        seed,
        model_identity(model),
        most,
    ]
    return Facts(**(remembered("rows", key, read) if run.settings.predictions.kept else read()))


def _facts(data: TaskData, codec: TextCodec) -> Facts:
    tokens = dict(zip(data.labels, codec.targets(data.labels), strict=True))
    unreached = [label for label, ids in tokens.items() if codec.tokenizer.unk_token_id in ids]
    sources = max(part.longest for part in data.parts.values())
    return Facts(data.all_notes(), unreached, max(map(len, tokens.values()), default=0), sources, codec.positions)


def check_data(runs: Sequence[TrainingRun], most: int | None = None) -> Iterator[Finding]:
    """Findings about the rows of every task of the runs, under every set of options that changes them; each is reported once.
    At most `most` rows of a split are encoded."""
    checked: set[object] = set()
    reported: set[object] = set()
    for run in runs:
        options, model = run.settings.data, located_model(run.settings.model, run.base)
        for name in run.settings.tasks:
            if (key := (name, run.base, options, model, run.settings.eval.max_new_tokens)) in checked:
                continue
            checked.add(key)
            try:
                findings = _check(run, name, most)
            except MissingModel as error:
                findings = [without_model(model.name, run.stage, error)]
            for finding in findings:
                if (what := ("" if finding.level == "error" else name, finding.what)) not in reported:
                    reported.add(what)
                    yield finding


def data_warnings(runs: Iterable[RecipeRun]) -> list[Finding]:
    """The errors and warnings about the data of these runs, from a sample of its rows."""
    training = [run for run in runs if isinstance(run, TrainingRun)]
    return [finding for finding in check_data(training, SAMPLE) if finding.level in ("error", "warning")]


def without_model(model: str, stage: str, error: MissingModel) -> Finding:
    """The finding for a model that is not on this machine: an error, unless a run downloads it first."""
    named = named_model(model)
    if named is None or isinstance(named.source, Path):
        return Finding("error", stage, str(error))
    what = f"model '{model}' is not on this machine yet: cpeft fetch {model}"
    return Finding("unchecked", stage, f"{what}; not checked: whether texts, labels and prompts fit it")


def _check(run: TrainingRun, name: str, most: int | None) -> list[Finding]:
    where, limit = f"{run.stage}: {name}", run.settings.eval.max_new_tokens
    try:
        facts = facts_of(run, name, most)
    except MissingModel:
        raise
    except CpeftError as error:
        return [Finding("error", where, str(error))]
    notes = [note for note in facts.notes if run.settings.trains or not of_training(note)]
    findings = [Finding("warning" if worrying(note) else "ok", where, note) for note in notes]
    if facts.unreached:
        labels = ", ".join(facts.unreached)
        findings.append(Finding("error", where, f"no output can reach {labels}: the tokenizer has no tokens for them"))
    if limit is not None and facts.longest_label > limit:
        cut = f"eval.max_new_tokens = {limit} cuts labels of up to {facts.longest_label} tokens"
        findings.append(Finding("error", where, cut))
    return findings
