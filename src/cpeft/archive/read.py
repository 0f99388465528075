"""Unpacking an archive that anybody may have written.

Names are checked before anything is written: relative, printable, without `..`, each once. Sizes are limited as they are
declared and as they are read, so a small file cannot fill the disk. Links are never made, and nothing is unpickled or imported.
"""

import hashlib
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pydantic import ValidationError

from cpeft.archive.layout import INDEX, SCHEMA, STORE, SUFFIXES, FileEntry, Index, order_manifests
from cpeft.errors import DataError, first_line

MOST_FILES, MOST_BYTES, MOST_OF_INDEX = 200_000, 8 * 2**30, 64 * 2**20
AT_ONCE = 2**20  # bytes
ENCRYPTED = 1  # bit of the flags of an entry
READABLE = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}
BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError)


@dataclass(frozen=True)
class Unpacked:
    """An archive in a folder of its own, and what is wrong with its files, by path."""

    folder: Path
    index: Index
    sha256: str
    damage: dict[str, str]


@contextmanager
def unpacked(path: Path) -> Iterator[Unpacked]:
    """An archive in a temporary folder. Raises DataError for a file that is none, or that is not safe to unpack."""
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from None
    with tempfile.TemporaryDirectory(prefix="cpeft-") as made:
        folder = Path(made)
        try:
            with zipfile.ZipFile(path) as archive:
                entries = _entries(path, archive)
                index = _index(path, archive, entries)
                damage = dict(_unpack(archive, entries, index, folder))
        except BROKEN as error:
            raise DataError(f"{path}: not a readable zip file: {first_line(error)}") from None
        order_manifests(folder / STORE)
        yield Unpacked(folder, index, digest, damage)


def _entries(path: Path, archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """The files of a zip by name; raises DataError for one that is not safe to unpack."""
    entries = archive.infolist()
    total = sum(entry.file_size for entry in entries)
    if len(entries) > MOST_FILES or total > MOST_BYTES:
        raise DataError(
            f"{path}: {len(entries):,} files of {total:,} bytes; at most {MOST_FILES:,} of {MOST_BYTES:,} are read"
        )
    for entry in entries:
        if not _safe(entry.orig_filename):
            raise DataError(f"{path}: not unpacked: it holds a file with the unsafe name {entry.orig_filename[:200]!r}")
        if entry.filename.startswith(f"{STORE}/") and not entry.filename.endswith(SUFFIXES):
            raise DataError(f"{path}: not unpacked: '{entry.filename}' is of no kind that a store in an archive holds")
        if entry.flag_bits & ENCRYPTED or entry.compress_type not in READABLE:
            raise DataError(f"{path}: '{entry.filename}' is encrypted or compressed in another way than archives are")
    found = {entry.filename: entry for entry in entries}
    if len({name.casefold() for name in found}) < len(entries):
        raise DataError(f"{path}: two of its files have the same name")
    return found


def _safe(name: str) -> bool:
    """Whether a name stays inside of the folder it is unpacked to, on any system."""
    pure = PurePosixPath(name)
    parts = name.split("/")
    plain = name.isprintable() and not set(name) & set('\\:*?"<>|')
    return plain and not pure.is_absolute() and all(part not in ("", ".", "..") and len(part) < 200 for part in parts)


def _index(path: Path, archive: zipfile.ZipFile, entries: dict[str, zipfile.ZipInfo]) -> Index:
    if INDEX not in entries or entries[INDEX].file_size > MOST_OF_INDEX:
        raise DataError(f"{path}: no archive of cpeft: it has no '{INDEX}'")
    try:
        index = Index.model_validate_json(archive.read(INDEX))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part)[:80] for part in first["loc"])
        raise DataError(f"{path}: '{INDEX}' is not that of an archive: {where!r}: {first['msg']}") from None
    if index.schema_ > SCHEMA:
        raise DataError(f"{path}: written by a later version of cpeft (schema {index.schema_}, known is {SCHEMA})")
    return index


def _unpack(
    archive: zipfile.ZipFile, entries: dict[str, zipfile.ZipInfo], index: Index, folder: Path
) -> Iterator[tuple[str, str]]:
    """Write every file that the index names; yields what is wrong, by path."""
    for name in entries.keys() - index.files.keys() - {INDEX}:
        yield name, f"not in {INDEX}"
    for name, expected in index.files.items():
        if name not in entries:
            yield name[:200], "missing"
            continue
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        found = _copy(archive, entries[name], target, expected.bytes)
        if found != expected:
            yield name, f"{found.bytes:,} bytes or more" if found.bytes != expected.bytes else "another SHA-256"


def _copy(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, target: Path, size: int) -> FileEntry:
    """Write one file, of which one byte more than its size is read at most."""
    found, read = hashlib.sha256(), 0
    with archive.open(entry) as source, target.open("xb") as file:
        while part := source.read(min(AT_ONCE, size + 1 - read)):
            read += len(part)
            found.update(part)
            file.write(part)
    return FileEntry(bytes=read, sha256=found.hexdigest())
