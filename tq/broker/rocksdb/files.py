"""Names of RocksDB's files, and the two things a file system must be told."""

from __future__ import annotations

import os
import re
from pathlib import Path

from tq.errors import StoreDamaged

CURRENT = "CURRENT"
_CURRENT_CONTENT = re.compile(rb"MANIFEST-(\d+)\n")
_WAL_NAME = re.compile(r"(\d+)\.log")


def wal_files(directory: str) -> list[tuple[int, Path]]:
    """(number, path) of the write-ahead logs, oldest first."""
    found = []
    for name in os.listdir(directory):
        if match := _WAL_NAME.fullmatch(name):
            found.append((int(match[1]), Path(directory, name)))
    return sorted(found)


def manifest_number(directory: str) -> int:
    """Number of the manifest in use. Raises StoreDamaged when CURRENT does not name one."""
    path = Path(directory, CURRENT)
    match = _CURRENT_CONTENT.fullmatch(path.read_bytes())
    if match is None:
        raise StoreDamaged(f"{path} is damaged: it does not name a manifest")
    return int(match[1])


def manifest_path(directory: str, number: int) -> Path:
    return Path(directory, f"MANIFEST-{number:06d}")


def has_database(directory: str) -> bool:
    """Whether RocksDB finished making a database here, once."""
    return Path(directory, CURRENT).exists()


def sync_directory(directory: str | Path) -> None:
    """Make names that were created, renamed or removed in it durable."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_durably(path: Path, content: bytes) -> None:
    """Create or replace a file so that a crash leaves the old one or the new one, whole."""
    beside = path.with_name(path.name + ".new")
    with open(beside, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(beside, path)
    sync_directory(path.parent)
