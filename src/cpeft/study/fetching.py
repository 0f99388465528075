"""`cpeft fetch`: models and data into a folder, for machines without a network."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from huggingface_hub import snapshot_download

from cpeft.data.resolve import fetch
from cpeft.errors import MissingModel
from cpeft.models.content import READ
from cpeft.models.hub import UNREACHED, description
from cpeft.models.loading import EMBEDDED, ModelOptions, folder_of
from cpeft.study.recipe import find_recipe, load_recipe
from cpeft.study.settings import find_task

WEIGHTS = [*READ, "*.safetensors"]  # nothing that would have to be unpickled


def fetch_all(what: Sequence[str], out: Path, revision: str | None) -> Iterator[Path]:
    """Fetch every `task:NAME`, `model:NAME` and everything a recipe uses; yields the paths written."""
    for item in what:
        kind, _, name = item.partition(":")
        if kind == "task":
            yield from fetch(find_task(name), out, revision)
        elif kind == "model":
            yield fetch_model(name, out / "models", revision)
        else:
            yield from _fetch_recipe(item, out)


def fetch_model(name: str, folder: Path, revision: str | None) -> Path:
    """A model's configuration, tokenizer and safetensors from the hub; raises MissingModel with the reason."""
    target = folder / Path(name).name
    try:
        snapshot_download(name, revision=revision, local_dir=target, allow_patterns=WEIGHTS)
    except UNREACHED as error:
        raise MissingModel(f"model '{name}' could not be fetched: {str(error).splitlines()[0]}") from None
    return target


def check_model(options: ModelOptions) -> None:
    """Raise MissingModel for a model that is neither in a folder, nor in the hub's cache, nor reachable; its weights are not
    looked for."""
    if folder_of(options.name).is_dir():
        return
    if options.name in EMBEDDED:
        raise MissingModel(f"model '{options.name}' is not in this copy of cpeft")
    description(options.name, options.revision)


def _fetch_recipe(recipe: str, out: Path) -> Iterator[Path]:
    runs = load_recipe(find_recipe(recipe)).training
    tasks = dict.fromkeys((task, run.base, run.settings.data.revision) for run in runs for task in run.settings.tasks)
    for name, base, revision in tasks:
        task = find_task(name, base)
        if not (task.files or task.rows):
            yield from fetch(task, out, revision)
    for model in dict.fromkeys(run.settings.model for run in runs):
        if model.name not in EMBEDDED and not Path(model.name).is_dir():
            yield fetch_model(model.name, out / "models", model.revision)
