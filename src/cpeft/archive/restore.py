"""`cpeft restore`: the finished runs of an archive in a store, for a study that continues on another machine."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from cpeft.archive.layout import STORE
from cpeft.archive.read import unpacked
from cpeft.errors import ConfigError, DataError
from cpeft.store.run_folder import RunFolder, Store


@dataclass(frozen=True)
class Restored:
    """What came of the finished runs of an archive: those put into the store, and those that were finished in it."""

    new: tuple[RunFolder, ...]
    there: tuple[RunFolder, ...]


def restore(path: Path, folder: Path) -> Restored:
    """Put every finished run of an archive into the store `folder`, unless it is finished there; a run that was begun there
    starts anew from the archive. Raises DataError for a file that is no archive or is damaged, and ConfigError for a run
    that a process works on; those before it are restored then."""
    store = Store(folder)
    new: list[RunFolder] = []
    there: list[RunFolder] = []
    with unpacked(path) as archive:
        for name, what in sorted(archive.damage.items()):
            raise DataError(f"{path}: damaged, nothing was restored: '{name}': {what}")
        for kept in Store(archive.folder / STORE).runs():
            run = RunFolder(folder / kept.path.relative_to(archive.folder / STORE))
            if kept.done:
                (there if run.done else new).append(run)
                _put(store, kept, run)
    return Restored(tuple(new), tuple(there))


def _put(store: Store, kept: RunFolder, run: RunFolder) -> None:
    """Copy a finished run to where none is; its result is copied last, for its presence means done."""
    store.forget(run)
    claim = store.claim(run)
    if claim is None and not run.done:
        raise ConfigError(f"{run.path}: a process works on this run; restore again when it has ended")
    if claim is not None:
        try:
            result = kept.result_path.name
            shutil.copytree(kept.path, run.path, ignore=shutil.ignore_patterns(result), dirs_exist_ok=True)
            written = run.path / f".{result}"
            shutil.copy(kept.result_path, written)
            written.rename(run.result_path)
        finally:
            claim.release()
