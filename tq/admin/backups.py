"""A backup on disk, looked at and copied without a broker.

    DIR/manifest.json   format, log index, and every file with its size and SHA-256; written last
    DIR/store/...       the files

A copy without a manifest is not a backup: the broker was stopped while it wrote it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

MANIFEST = "manifest.json"
FORMAT = 1
"""The newest manifest this release reads."""
MANIFEST_BYTES_MAX = 64 * 1024 * 1024
"""Room for some hundred thousand files."""
BLOCK_BYTES = 1 << 20

Advance = Callable[[int], None]
"""Told the bytes of each step."""


class NotABackup(Exception):
    """The directory is not a backup, or not one that this release can read; the text says which."""


class File(NamedTuple):
    """One file of a backup. name: relative to it, with slashes."""

    name: str
    size: int
    sha256: str


class Backup(NamedTuple):
    """What the manifest says. log_index: the entry the copy stands at."""

    path: Path
    log_index: int
    files: tuple[File, ...]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)


def is_backup(path: Path) -> bool:
    return (path / MANIFEST).is_file()


def read_backup(path: Path) -> Backup:
    """The backup in a directory. Raises NotABackup, OSError."""
    if not is_backup(path):
        raise NotABackup(f"{path} has no {MANIFEST}: it is not a backup, or one that was never finished")
    try:
        with (path / MANIFEST).open("rb") as stream:
            document = json.loads(stream.read(MANIFEST_BYTES_MAX))
        if document["format"] > FORMAT:
            raise NotABackup(f"{path} was written by a newer tq; use the tq-admin of that version")
        files = tuple(
            File(str(each["name"]), int(each["bytes"]), str(each["sha256"])) for each in document["files"]
        )
        backup = Backup(path, int(document["index"]), files)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise NotABackup(f"{path / MANIFEST} is damaged: {error}") from error
    for file in files:
        if _leads_outside(file.name):
            raise NotABackup(f"{path / MANIFEST} names {file.name!r}, which is not inside the backup")
    return backup


def damages(backup: Backup, advance: Advance) -> Iterator[str]:
    """One sentence for each file that is missing, differs or does not belong; every byte is read."""
    for file in backup.files:
        path = backup.path / file.name
        try:
            digest, size = _digest(path, advance)
        except OSError as error:
            yield f"{file.name} cannot be read: {error.strerror or error}"
            continue
        if size != file.size:
            yield f"{file.name} has {size} bytes, and had {file.size}"
        elif digest != file.sha256:
            yield f"{file.name} is not what was written: its SHA-256 differs"
    known = {file.name for file in backup.files} | {MANIFEST}
    found = (path.relative_to(backup.path).as_posix() for path in backup.path.rglob("*") if path.is_file())
    for name in sorted(set(found) - known):
        yield f"{name} is not part of the backup"


def copy(backup: Backup, target: Path, advance: Advance) -> None:
    """Copy the files below target, which must be empty or absent, and sync them to disk.

    What was read is hashed again on the way. Raises NotABackup for a file that changed since it was verified,
    OSError.
    """
    directories = {target}
    for file in backup.files:
        path = target / file.name
        path.parent.mkdir(parents=True, exist_ok=True)
        directories.update(each for each in path.parents if each == target or target in each.parents)
        if _copy_file(backup.path / file.name, path, advance) != file.sha256:
            raise NotABackup(f"{file.name} changed while it was copied")
    for directory in sorted(directories, reverse=True):
        sync_directory(directory)


def _leads_outside(name: str) -> bool:
    path = Path(name)
    return path.is_absolute() or ".." in path.parts or not path.parts


def _digest(path: Path, advance: Advance) -> tuple[str, int]:
    digest, size = sha256(), 0
    with path.open("rb") as stream:
        while block := stream.read(BLOCK_BYTES):
            digest.update(block)
            size += len(block)
            advance(len(block))
    return digest.hexdigest(), size


def _copy_file(source: Path, target: Path, advance: Advance) -> str:
    digest = sha256()
    with source.open("rb") as reader, target.open("xb") as writer:
        while block := reader.read(BLOCK_BYTES):
            digest.update(block)
            writer.write(block)
            advance(len(block))
        writer.flush()
        os.fsync(writer.fileno())
    return digest.hexdigest()


def sync_directory(path: Path) -> None:
    """Return once the names in a directory are on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
