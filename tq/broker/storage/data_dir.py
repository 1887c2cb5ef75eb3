"""The data directory: whose it is, what is in it, and that only one broker uses it.

    DIR/node.json   marker: format, node id, disk generation, whether it was ever used; with a checksum
    DIR/LOCK        held by the running broker, with its process id
    DIR/store/      the machine's tables
    DIR/journal/    the log

The marker is written before anything else and says `new` until store and journal exist. So a database is only ever
*made* in a directory that never held one: a missing database anywhere else is damage, not a fresh start.
"""

from __future__ import annotations

import fcntl
import json
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tq.broker.rocksdb.files import has_database, sync_directory, write_durably
from tq.clock import Clock
from tq.errors import BrokerUnavailable, StoreDamaged, Unsupported
from tq.ids import new_id, to_text

FORMAT = 1
"""Version of everything in the directory. A broker opens its own and older ones."""

MARKER_NAME = "node.json"
LOCK_NAME = "LOCK"
STORE_NAME = "store"
JOURNAL_NAME = "journal"


class Marker(NamedTuple):
    """What node.json says. disk_generation: goes up when the node lost its data and was rebuilt."""

    format: int
    node_uuid: str
    disk_generation: int
    created_ms: int
    is_new: bool


class DataDir:
    """An open and locked data directory."""

    def __init__(self, path: Path, lock: int, marker: Marker) -> None:
        """Use `open`."""
        self.path = path
        self.store_path = str(path / STORE_NAME)
        self.journal_path = str(path / JOURNAL_NAME)
        self._lock = lock
        self._marker = marker

    @classmethod
    def open(cls, path: str | Path, clock: Clock) -> DataDir:
        """Lock the directory, making it when it does not exist.

        Raises BrokerUnavailable when another broker holds it (naming its process id), Unsupported when a newer tq
        wrote it, StoreDamaged when what must be there is not, OSError when it cannot be made or written.
        """
        directory = Path(path).absolute()
        directory.mkdir(parents=True, exist_ok=True)
        lock = _take_lock(directory)
        try:
            return cls(directory, lock, _settle_marker(directory, clock))
        except BaseException:
            os.close(lock)
            raise

    @property
    def node_uuid(self) -> str:
        """The node's identity; made with the directory, and lost with it."""
        return self._marker.node_uuid

    @property
    def disk_generation(self) -> int:
        return self._marker.disk_generation

    @property
    def is_new(self) -> bool:
        """Whether store and journal may be missing and are to be made. False from the second start on."""
        return self._marker.is_new

    def mark_used(self) -> None:
        """Store and journal exist now: from here on a missing one is damage."""
        if self._marker.is_new:
            self._marker = self._marker._replace(is_new=False)
            write_durably(self.path / MARKER_NAME, pack_marker(self._marker))

    def close(self) -> None:
        """Let another broker have it. Calling it twice is allowed."""
        if self._lock >= 0:
            lock, self._lock = self._lock, -1
            os.close(lock)


def read_marker(directory: Path) -> Marker | None:
    """None when there is none. Raises StoreDamaged, or Unsupported for a format newer than ours."""
    path = directory / MARKER_NAME
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    try:
        document = json.loads(content)
        fields, crc = document["node"], document["crc32"]
        if crc != zlib.crc32(_canonical(fields)):
            raise StoreDamaged(f"{path} is damaged: it does not match its checksum; restore it from a backup")
        if fields["format"] > FORMAT:
            raise Unsupported(
                f"{directory} was written by a newer tq (format {fields['format']}, this one knows {FORMAT}); "
                "run that version or newer"
            )
        return Marker(**fields)
    except (ValueError, KeyError, TypeError) as error:
        raise StoreDamaged(
            f"{path} is damaged: it is not what tq writes; restore it from a backup"
        ) from error


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Keep brokers out of an existing data directory meanwhile. Raises BrokerUnavailable when one is in."""
    lock = _take_lock(directory)
    try:
        yield
    finally:
        os.close(lock)


def _take_lock(directory: Path) -> int:
    path = directory / LOCK_NAME
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = os.pread(lock, 32, 0).decode(errors="replace").strip() or "unknown"
        os.close(lock)
        raise BrokerUnavailable(
            f"the data directory {directory} is in use by process {holder}; stop it, or give this broker another one"
        ) from error
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
    return lock


def _settle_marker(directory: Path, clock: Clock) -> Marker:
    """Read the marker, make it in a directory without data, and check that what it promises is there."""
    marker = read_marker(directory)
    databases = [directory / STORE_NAME, directory / JOURNAL_NAME]
    if marker is None:
        for path in (*databases, directory / "CURRENT"):
            if path.exists():
                raise StoreDamaged(
                    f"{directory} holds data ({path.name}) but no {MARKER_NAME} that says whose; nothing was changed. "
                    f"Restore {MARKER_NAME} from a backup, or use another directory"
                )
        marker = Marker(FORMAT, to_text(new_id()), 1, clock.now_ms(), is_new=True)
        write_durably(directory / MARKER_NAME, pack_marker(marker))
        sync_directory(directory.parent)
        return marker
    missing = [path for path in databases if not has_database(str(path))]
    if marker.is_new:
        if not missing:
            marker = marker._replace(is_new=False)
            write_durably(directory / MARKER_NAME, pack_marker(marker))
        return marker
    if missing:
        raise StoreDamaged(
            f"{missing[0]} is missing or has no CURRENT file, and {directory} was in use; nothing was changed. "
            "Restore a backup, or, in a cluster, move the data directory away and let the node be rebuilt"
        )
    return marker


def pack_marker(marker: Marker) -> bytes:
    """As node.json holds it."""
    fields = marker._asdict()
    document = {"node": fields, "crc32": zlib.crc32(_canonical(fields))}
    return json.dumps(document, indent=2).encode() + b"\n"


def _canonical(fields: object) -> bytes:
    return json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()
