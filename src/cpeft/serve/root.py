"""Prompts on disk that come and go while a server runs: any folder of prompts, and a prompt root.

A prompt root is the only state of a server, so several that watch one root answer alike. Below it

    .served/NAME/VERSION/    a prompt, or what is served of a run, as it was when it was posted; never changed
    .served/NAME/current     the version that NAME stands for, replaced atomically

and beside `.served` whatever may be posted: folders of prompts and runs.
"""

import hashlib
import os
import re
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cpeft.errors import ConfigError, PromptError
from cpeft.files import replace_text
from cpeft.store.run_folder import METHOD_CARD, RunFolder, saved_prompts

NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,99}", re.ASCII)
VERSION = re.compile(r"[0-9a-f]{16}")
SERVED, CURRENT = ".served", "current"
KINDS = (".json", ".safetensors", ".toml")  # files of a prompt; others are not copied
MOST_BYTES = 2**30  # of one version
VERSIONS = 10  # kept of one name


def folders_of(folder: Path) -> dict[str, Path]:
    """The prompts below a folder, by their paths relative to it."""
    found = {path.relative_to(folder): path for path in saved_prompts(folder) if path != folder}
    return {str(name): path for name, path in found.items() if not any(part.startswith(".") for part in name.parts)}


def stamp(folder: Path) -> tuple[tuple[str, int, int], ...]:
    """Changes when a file of a prompt's folder does."""
    return tuple((str(path), stat.st_mtime_ns, stat.st_size) for path, stat in _files(folder))


def _files(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    for path in sorted(folder.rglob("*")):
        if path.suffix in KINDS:
            try:
                yield path, path.stat()
            except FileNotFoundError:  # removed since
                continue


class PromptRoot:
    """The names of a prompt root and their versions; raises ConfigError where `folder` is none."""

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise ConfigError(f"--prompt-root {folder}: no such folder")
        self.folder = folder.resolve()
        self._served = self.folder / SERVED

    def folders(self) -> dict[str, Path]:
        """Every version as NAME@VERSION, and what each NAME stands for."""
        found: dict[str, Path] = {}
        for place in sorted(self._served.glob(f"*/{CURRENT}")):
            name, current = place.parent.name, self.current(place.parent.name)
            found |= {f"{name}@{version}": place.parent / version for version in self.versions(name)}
            if current:
                found[name] = place.parent / current
        return found

    def current(self, name: str) -> str | None:
        """The version that a name stands for."""
        try:
            version = (self._served / name / CURRENT).read_text(encoding="utf-8").strip()
        except FileNotFoundError:
            return None
        return version if VERSION.fullmatch(version) and (self._served / name / version).is_dir() else None

    def versions(self, name: str) -> list[str]:
        """The versions of a name, the newest first."""
        found = [path for path in (self._served / name).glob("*") if VERSION.fullmatch(path.name)]
        return [path.name for path in sorted(found, key=lambda path: -path.stat().st_mtime_ns)]

    @contextmanager
    def copied(self, folder: str) -> Iterator[Path]:
        """A copy of what is served of a folder below the root, to be looked at before it is served; it goes with the block
        unless `add` has taken it. Raises PromptError for a folder outside the root and for one that is too large."""
        place = (self.folder / folder).resolve()
        if self.folder not in place.parents or self._served in (place, *place.parents) or not place.is_dir():
            raise PromptError(f"there is no folder {folder[:200]!r} below the prompt root")
        copy = self._served / f".{uuid.uuid4().hex}"
        try:
            _copy(place, copy)
            yield copy
        finally:
            shutil.rmtree(copy, ignore_errors=True)

    def add(self, name: str, copy: Path) -> str:
        """Let a name stand for a new version, a folder from `copied`; returns the version."""
        version = _digest(copy)
        place = self._served / name / version
        place.parent.mkdir(exist_ok=True)
        if place.exists():
            place.touch()  # the newest again
        else:
            copy.rename(place)
        self.choose(name, version)
        for old in self.versions(name)[VERSIONS:]:
            shutil.rmtree(self._served / name / old, ignore_errors=True)
        return version

    def choose(self, name: str, version: str) -> None:
        """Let a name stand for a version that is here; raises PromptError for another."""
        if version not in self.versions(name):
            raise PromptError(
                f"'{name}' has no version {version[:40]!r}; it has {', '.join(self.versions(name)) or 'none'}"
            )
        replace_text(self._served / name / CURRENT, version + "\n")

    def remove(self, name: str) -> bool:
        """Serve a name no longer; its versions stay. Whether it was served."""
        served = self.current(name) is not None
        (self._served / name / CURRENT).unlink(missing_ok=True)
        return served


def _copy(place: Path, into: Path) -> None:
    """The files of a prompt's folder; of a run those of its method, which is what is served of it."""
    method = RunFolder(place).method_path
    source = method if (method / METHOD_CARD).exists() else place
    files = [path for path, _ in _files(source) if path.is_file() and not path.is_symlink()]
    if sum(path.stat().st_size for path in files) > MOST_BYTES:
        raise PromptError(f"the folder has more than {MOST_BYTES // 2**20} MiB")
    for path in files:
        to = into / path.relative_to(place)
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, to)
    into.mkdir(parents=True, exist_ok=True)


def _digest(folder: Path) -> str:
    """Sixteen digits of the SHA-256 over names and contents of all files."""
    every = hashlib.sha256()
    for path, _ in _files(folder):
        every.update(f"{path.relative_to(folder).as_posix()}\0".encode() + path.read_bytes() + b"\0")
    return every.hexdigest()[:16]
