"""Where a model lies on this machine, by whatever name it is asked for, and what identifies it without loading it.

A name is looked for in this order: a named model, a folder or GGUF file, a folder or GGUF file in the folder that CPEFT_MODELS
names; else it is a name on the hub.
"""

import hashlib
from pathlib import Path

from cpeft.models.cache import file_hash
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


def content_of(name: Name, file: str | None = None) -> str | None:
    """The hash of what a model is, None for a name on the hub: of a GGUF file all of it, whether it is here yet or known by
    name; of a folder its safetensors (size, first and last mebibyte of each), so it may move but not be replaced unnoticed."""
    if model := named_model(name):
        if isinstance(model.source, Download):
            return model.source.sha256
        return _folder_hash(model.source)
    place = local_place(name)
    if gguf := gguf_file(place, file):
        return file_hash(gguf)
    return _folder_hash(place) if place.is_dir() else None


def is_local(name: Name) -> bool:
    """Whether a name means a path of this machine and no model of the hub, even where nothing is there."""
    place = local_place(name)
    return place.exists() or place.suffix.lower() == SUFFIX


def _folder_hash(folder: Path) -> str | None:
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.safetensors")):
        with path.open("rb") as file:
            digest.update(str(path.stat().st_size).encode() + file.read(2**20))
            file.seek(-min(2**20, path.stat().st_size), 2)
            digest.update(file.read())
    return digest.hexdigest() if folder.is_dir() else None
