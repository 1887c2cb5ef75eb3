"""A consistent copy of a running broker's store, in a directory of its own."""

from __future__ import annotations

import json
import os
from hashlib import sha256
from pathlib import Path

from tq.broker.storage.store import Store
from tq.errors import BadRequest
from tq.verbs import BackedUp

MANIFEST = "manifest.json"
MANIFEST_FORMAT = 1
STORE = "store"


def back_up(store: Store, directory: str, index: int) -> BackedUp:
    """Copy the store into a directory that does not exist yet and list every file with its hash. On the disk thread.

    The copy is made of hard links where the file system allows it, so it takes little time and space; hashing
    reads every byte, which also finds damage. The manifest is written last: a copy without one is not a backup.
    """
    target = Path(directory)
    if not target.is_absolute():
        raise BadRequest(f"backup directory {directory!r} is not an absolute path on the broker's machine")
    if target.exists():
        raise BadRequest(f"{directory} exists already; name a directory that does not")
    target.mkdir(parents=True)
    store.checkpoint(str(target / STORE))
    files = []
    size = 0
    for path in sorted((target / STORE).rglob("*")):
        if path.is_file():
            size += path.stat().st_size
            name = str(path.relative_to(target))
            files.append({"name": name, "bytes": path.stat().st_size, "sha256": _hash(path)})
    manifest = {"format": MANIFEST_FORMAT, "index": index, "files": files}
    _write_durably(target / MANIFEST, json.dumps(manifest, indent=1))
    return BackedUp(str(target), index, size, len(files))


def _hash(path: Path) -> str:
    digest = sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _write_durably(path: Path, text: str) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
