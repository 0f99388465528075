"""Where a model lies on this machine, by whatever name it is asked for, and what identifies it without loading it.

A name is looked for in this order: a named model, a folder or GGUF file, a folder or GGUF file in the folder that CPEFT_MODELS
names; else it is a name on the hub.
"""

from pathlib import Path

from cpeft.models.cache import file_hash
from cpeft.models.content import weights_hash
from cpeft.models.gguf import SUFFIX, converted, gguf_file
from cpeft.models.named_models import Download, named_model
from cpeft.models.obtaining import models_folder, obtain

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
    """The path that a name means: itself where it exists, else in the user's folder of models where it is there."""
    path, models = Path(name).expanduser(), models_folder()
    if not path.exists() and models and (models / path).exists() and not path.is_absolute():
        return models / path
    return path


def plain_folder(name: Name, file: str | None = None) -> Path | None:
    """The folder of a model that lies here as transformers saves one; None for a GGUF file, what is still to be downloaded, and
    a name on the hub."""
    if model := named_model(name):
        return model.source if isinstance(model.source, Path) else None
    place = local_place(name)
    return place if place.is_dir() and not gguf_file(place, file) else None


def content_of(name: Name, file: str | None = None) -> str | None:
    """The hash of a model's weights, None for a name on the hub: of a GGUF file, which holds tokenizer and template too, all
    of it, whether it is here yet or known by name; of a folder its files of weights, so it may move but not be replaced
    unnoticed."""
    if folder := plain_folder(name, file):
        return weights_hash(folder)
    if (model := named_model(name)) and isinstance(model.source, Download):
        return model.source.sha256
    gguf = gguf_file(local_place(name), file)
    return file_hash(gguf) if gguf else None


def is_local(name: Name) -> bool:
    """Whether a name means a path of this machine and no model of the hub, even where nothing is there."""
    place = local_place(name)
    return place.exists() or place.suffix.lower() == SUFFIX
