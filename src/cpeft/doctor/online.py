"""`cpeft doctor --online`: whether the hub still has what tasks and recipes name, and at which commit.

Of every split of a task one row is read, at a pinned commit, and written as the task writes it, so that a renamed column or
label is found. Of a model the configuration is read. Nothing is kept but what the hub's libraries cache.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from cpeft.data.hub import ask_hub_once
from cpeft.errors import CpeftError, DataError, MissingModel, first_line
from cpeft.models.named_models import Download, named_model
from cpeft.models.places import local_place
from cpeft.options.model import ModelOptions
from cpeft.study.recipe.files import find_recipe, packaged_recipes
from cpeft.study.recipe.recipe import Recipe, load_recipe
from cpeft.study.recipe.settings import located_model
from cpeft.tasks import TASKS, Task
from cpeft.tasks.custom import find_task

LOOKED_AT = 50  # rows of a split, of which the first that belongs to the task is read


@dataclass(frozen=True)
class HubEntry:
    """A split of a task, or a model, on the hub: its commit, and what was read there or why nothing was."""

    kind: Literal["task", "model"]
    name: str
    address: str
    split: str
    revision: str
    state: Literal["ok", "error"]
    what: str


def look_online(recipes: Sequence[str], plugins: Sequence[Path] = ()) -> Iterator[HubEntry]:
    """What the hub has of the tasks and models of these recipes, without any of all registered tasks and the models of all
    packaged recipes. Raises MissingModel where no hub answers, and what reading a recipe raises."""
    from huggingface_hub import constants

    ask_hub_once()
    if constants.HF_HUB_OFFLINE:
        raise MissingModel(f"no hub in reach: {constants.ENDPOINT} does not answer, or HF_HUB_OFFLINE is set")
    loaded = [load_recipe(find_recipe(name), (), plugins) for name in recipes or packaged_recipes()]
    for task, revision in _tasks(loaded) if recipes else ((task, None) for _, task in TASKS.items()):
        if task.hub.path and not task.rows and not task.files:
            yield from _splits(task, revision)
    for options in _models(loaded):
        yield _configuration(options)


def _tasks(recipes: Iterable[Recipe]) -> list[tuple[Task, str | None]]:
    runs = [run for recipe in recipes for run in recipe.training]
    named = dict.fromkeys((name, run.base, run.settings.data.revision) for run in runs for name in run.settings.tasks)
    return [(find_task(name, base), revision) for name, base, revision in named]


def _models(recipes: Iterable[Recipe]) -> list[ModelOptions]:
    """The models that the hub may have, each once."""
    found = dict[tuple[str, str | None], ModelOptions]()
    for run in (run for recipe in recipes for run in recipe.training):
        options = located_model(run.settings.model, run.base)
        known = named_model(options.name)
        on_hub = (
            isinstance(known.source, Download) and known.source.hub if known else not local_place(options.name).exists()
        )
        if on_hub:
            found.setdefault((options.name, options.revision), options)
    return list(found.values())


def _splits(task: Task, revision: str | None) -> Iterator[HubEntry]:
    address = "/".join(filter(None, (task.hub.path, task.hub.config)))
    try:
        import datasets
        from huggingface_hub import HfApi

        commit = HfApi().dataset_info(task.hub.path, revision=revision).sha or ""
        found = datasets.load_dataset(task.hub.path, task.hub.config, revision=commit or revision, streaming=True)
    except Exception as error:  # `datasets` raises nearly anything: no such name, no such config, a script
        yield HubEntry("task", task.name, address, "", revision or "", "error", _why(error))
        return
    for ours, theirs in task.hub.splits.items():
        state: Literal["ok", "error"] = "error"
        if theirs not in found:
            what = f"no split '{theirs}'; there are {', '.join(map(str, found))}"
        else:
            try:
                state, what = "ok", _first(task, found[theirs])
            except Exception as error:  # reading may fail in as many ways
                state, what = "error", _why(error)
        yield HubEntry("task", task.name, address, ours, commit, state, what)


def _first(task: Task, rows: Iterable[Mapping[str, Any]]) -> str:
    """The first row that belongs to the task, as text with its answer; hidden labels have none."""
    problem: DataError | None = None
    for row in islice(rows, LOOKED_AT):
        if task.keep and not task.keep(row):
            continue
        source = task.source(row)
        try:
            return f"{source} -> {task.example(row).target}"
        except DataError as error:  # of another task of this dataset, or hidden
            problem = error
    raise problem or DataError(f"none of the first {LOOKED_AT} rows belongs to the task")


def _configuration(options: ModelOptions) -> HubEntry:
    known = named_model(options.name)
    try:
        from huggingface_hub import HfApi

        from cpeft.models.content import read_config

        if known and isinstance(known.source, Download):
            address, asked = known.source.hub, known.source.revision
            info = HfApi().model_info(address, revision=asked)
            if known.source.file not in {file.rfilename for file in info.siblings or ()}:
                raise DataError(f"no file '{known.source.file}'")
            return HubEntry("model", options.name, address, "", info.sha or "", "ok", known.source.file)
        address, asked = options.name, options.revision
        commit = HfApi().model_info(address, revision=asked).sha or ""
        config = read_config(address, revision=commit or asked)
    except Exception as error:  # of the hub, or of transformers on a configuration it does not know
        return HubEntry("model", options.name, options.name, "", options.revision or "", "error", _why(error))
    kind = "encoder-decoder" if config.is_encoder_decoder else "decoder-only"
    return HubEntry("model", options.name, address, "", commit, "ok", f"{config.model_type}, {kind}")


def _why(error: BaseException) -> str:
    """The reason in one line, with the kind of error where it is none of ours."""
    return first_line(error) if isinstance(error, CpeftError) else f"{type(error).__name__}: {first_line(error)}"
