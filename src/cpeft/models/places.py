"""The place of a model on this machine by any of its names, and its identity without loading it.

A name is looked for in this order: a named model, a folder or GGUF file, a folder or GGUF file in the folder that CPEFT_MODELS
names; else it is a name on the hub.
"""

from functools import lru_cache
from pathlib import Path

from cpeft.data.hub import Unreached, hub_folder
from cpeft.errors import MissingModel
from cpeft.models.cache import file_hash
from cpeft.models.content import READ, folder_parts, weights_hash
from cpeft.models.gguf import check_convertible, converted, gguf_file
from cpeft.models.named_models import Download, named_model
from cpeft.models.obtaining import FOLDER_VARIABLE, embedded_folder, models_folder, obtain
from cpeft.options.model import ModelOptions

Name = str | Path


def folder_of(name: Name, file: str | None = None, fetch: bool = True) -> Path | None:
    """The folder that transformers reads, None for a name on the hub. A GGUF file is converted into one, and a named model is
    downloaded unless it is here or `fetch` forbids it.

    Raises MissingModel and ConfigError as `obtain` and `converted` do."""
    if model := named_model(name):
        return obtain(model, fetch)
    place = local_place(name)
    if gguf := gguf_file(place, file):
        return converted(gguf)
    return place if place.is_dir() else None


def local_place(name: Name) -> Path:
    """The path of a name: itself where it exists, else in the user's folder of models."""
    path, models = Path(name).expanduser(), models_folder()
    if not path.exists() and models and (models / path).exists() and not path.is_absolute():
        return models / path
    return path


def content_of(name: Name, file: str | None = None) -> str | None:
    """The hash of a model's weights, None for a name on the hub: of a GGUF file all of it, tokenizer and template included,
    whether it is here yet or known by name; of a folder its files of weights (size, first and last mebibyte of each)."""
    if model := named_model(name):
        if isinstance(model.source, Download):
            return model.source.sha256
        return weights_hash(embedded_folder(model))
    place = local_place(name)
    if gguf := gguf_file(place, file):
        return file_hash(gguf)
    return weights_hash(place) if place.is_dir() else None


def description_of(name: Name, file: str | None = None, revision: str | None = None) -> Path | None:
    """The folder with a model's configuration, tokenizer and chat template: its own, or for a hub model one in the hub's cache,
    filled from the hub where it can be reached; None for a GGUF file, which holds all of it.

    Raises MissingModel where there is none."""
    if model := named_model(name):
        return embedded_folder(model) if isinstance(model.source, Path) else None
    place = local_place(name)
    if gguf_file(place, file):
        return None
    return place if place.is_dir() else _hub_description(str(name), revision)


@lru_cache(maxsize=16)
def _hub_description(name: str, revision: str | None) -> Path:
    try:
        return hub_folder(name, revision, READ)
    except Unreached as error:
        if not error.offline:
            raise MissingModel(f"model '{name}': no such folder, and {error}") from None
        raise MissingModel(
            f"model '{name}': no such folder, here or in {FOLDER_VARIABLE}, not in the hub's cache, no hub in reach\n"
            f"Give a local folder, or on a machine with a network run: cpeft fetch model:{name} --out DIR, then set model.name "
            f"to DIR/{Path(name).name}"
        ) from None


def check_model(options: ModelOptions) -> None:
    """Raise MissingModel for a model that is neither on this machine, nor in the hub's cache, nor reachable; its weights are
    not looked for. No error for a named model that is still to be downloaded: a run downloads it."""
    if model := named_model(options.name):
        if isinstance(model.source, Path):
            embedded_folder(model)
        return
    place = local_place(options.name)
    if gguf := gguf_file(place, options.file):
        check_convertible(gguf)
    description_of(options.name, options.file, options.revision)


def model_identity(options: ModelOptions) -> dict[str, str]:
    """The part of a run's id that stands for its model, without loading it. It is content, so that a model may move but not be
    replaced unnoticed: of a GGUF file its hash; of a folder that of its weights (`content_of`), and the hashes of its
    configuration, tokenizer and chat template; of a hub model its name and these hashes, the revision being a setting. The
    number format is the requested one: the store keeps what `auto` means, whatever the machine.

    Raises MissingModel for a model that is not here, ConfigError for one that needs program code of its own."""
    name = content_of(options.name, options.file) or options.name
    folder = description_of(options.name, options.file, options.revision)
    return {"dtype": options.dtype, "name": name, **(folder_parts(folder, options.name) if folder else {})}
