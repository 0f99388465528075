"""`cpeft fetch`: models and data into a folder, for machines without a network; a named model into the user's cache."""

import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from cpeft.data.hub import Unreached, hub_folder
from cpeft.data.resolve import fetch
from cpeft.errors import MissingModel, UnknownName, writing
from cpeft.models.cache import write_once
from cpeft.models.content import READ
from cpeft.models.named_models import MODELS, NamedModel, named_model
from cpeft.models.obtaining import obtain
from cpeft.models.places import folder_of, local_place
from cpeft.registry import closest
from cpeft.study.recipe.recipe import find_recipe, load_recipe
from cpeft.study.recipe.runs import RecipeRun, TrainingRun
from cpeft.study.recipe.settings import located_model
from cpeft.tasks.custom import find_task

WEIGHTS = [*READ, "*.safetensors"]  # no file that would have to be unpickled
DEFAULT = Path("fetched")


def fetch_all(what: Sequence[str], out: Path | None, revision: str | None) -> Iterator[Path]:
    """Fetch every named model, `task:NAME`, `model:NAME` and everything a recipe uses; yields the paths written, below
    `out` (by default `fetched`). Named models are saved in the user's cache, and copied to `out` if it is given."""
    for item in what:
        kind, _, name = item.partition(":")
        if kind == "task":
            yield from fetch(find_task(name), out or DEFAULT, revision)
        elif kind == "model":
            yield _fetch_model(name, out, revision)
        elif model := named_model(item):
            yield _fetch_named(model, out)
        else:
            yield from _fetch_recipe(item, out)


def _fetch_model(name: str, out: Path | None, revision: str | None) -> Path:
    """A model's configuration, tokenizer and safetensors from the hub, or a named model; raises MissingModel."""
    if model := named_model(name):
        return _fetch_named(model, out)
    target = (out or DEFAULT) / "models" / Path(name).name
    try:
        return hub_folder(name, revision, WEIGHTS, target)
    except Unreached as error:
        raise MissingModel(f"model '{name}' could not be fetched: {error}") from None


def _fetch_named(model: NamedModel, out: Path | None) -> Path:
    """The folder of a named model in the cache, or its copy in `out`, a cache for another machine."""
    folder = obtain(model)
    if out is None or isinstance(model.source, Path):
        return folder
    target = out / "models" / folder.name
    with writing(target):
        write_once(target, lambda made: shutil.copytree(folder, made))
    return target


def bring_models(runs: Iterable[RecipeRun]) -> None:
    """Download and convert the models of these runs, as far as missing, before any run starts: the machines that run them may
    have no network, and many processes would do it at once. Raises MissingModel and ConfigError."""
    models = dict.fromkeys(located_model(run.settings.model, run.base) for run in runs if isinstance(run, TrainingRun))
    for model in models:
        folder_of(model.name, model.file)


def _fetch_recipe(recipe: str, out: Path | None) -> Iterator[Path]:
    try:
        file = find_recipe(recipe)
    except UnknownName:
        if near := closest(recipe, MODELS.names()):
            raise UnknownName(f"no model or recipe '{recipe}'{near}") from None
        raise
    runs = load_recipe(file).training
    tasks = dict.fromkeys((task, run.base, run.settings.data.revision) for run in runs for task in run.settings.tasks)
    for name, base, revision in tasks:
        task = find_task(name, base)
        if not (task.files or task.rows):
            yield from fetch(task, out or DEFAULT, revision)
    for model in dict.fromkeys(located_model(run.settings.model, run.base) for run in runs):
        named = named_model(model.name)
        if named and not isinstance(named.source, Path):
            yield _fetch_named(named, out)
        elif not (named or local_place(model.name).exists()):
            yield _fetch_model(model.name, out, model.revision)
