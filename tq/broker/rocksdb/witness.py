"""A small file beside a database that remembers how far it was synced.

RocksDB takes a write-ahead log whose end is missing for one that was torn by a crash, and opens with less. The
witness is written after every sync, so a database that holds less than its witness has lost something. It is never
ahead of the database: it is written after the sync it speaks of.

Two slots are written in turn, each with its own checksum, so a torn write leaves the other one. Writing is a plain
`pwrite` (about 2 microseconds; survives the death of the process); `fsync` is for the owner to call now and then
(survives the loss of power).
"""

from __future__ import annotations

import errno
import os
import zlib
from pathlib import Path
from struct import Struct
from typing import NamedTuple

from tq.broker.rocksdb.files import sync_directory
from tq.errors import StoreDamaged

FILE_NAME = "WITNESS"
NOTE_BYTES_MAX = 64

_SLOT_BYTES = 512
"""One sector, the unit a disk writes whole."""
_MAGIC = b"tqwitns1"
_SLOT = Struct(f">8sQQQQH{NOTE_BYTES_MAX}s")
_CRC = Struct(">I")


class Sighting(NamedTuple):
    """What the witness last saw.

    sequence: RocksDB's number of the last synced write. manifest, manifest_bytes: the number of the manifest and the
    length it had for certain. note: what the owner wanted to be told at the next start.
    """

    sequence: int = 0
    manifest: int = 0
    manifest_bytes: int = 0
    note: bytes = b""


class Witness:
    """The open file. Used by one thread at a time."""

    def __init__(self, descriptor: int, turn: int, sighting: Sighting) -> None:
        self._descriptor = descriptor
        self._turn = turn
        self.sighting = sighting
        """What the file says."""

    @staticmethod
    def create(directory: str) -> None:
        """Make a witness that has seen nothing. Durable on return; replaces one that is there."""
        path = Path(directory, FILE_NAME)
        blank = _pack(1, Sighting()).ljust(_SLOT_BYTES, b"\0")
        with open(path, "wb") as file:
            file.write(blank + bytes(_SLOT_BYTES))
            file.flush()
            os.fsync(file.fileno())
        sync_directory(directory)

    @classmethod
    def open(cls, directory: str) -> Witness:
        """Raises StoreDamaged when the file is missing or neither slot can be read."""
        turn, sighting = read_witness(directory)
        return cls(os.open(Path(directory, FILE_NAME), os.O_RDWR | os.O_CLOEXEC), turn, sighting)

    def write(self, sighting: Sighting) -> None:
        """Say that this much is synced. Raises OSError."""
        self.sighting = sighting
        self._turn += 1
        slot = _pack(self._turn, sighting)
        written = os.pwrite(self._descriptor, slot, (self._turn & 1) * _SLOT_BYTES)
        if written != len(slot):
            raise OSError(errno.ENOSPC, "the witness was not written whole")

    def fsync(self) -> None:
        os.fdatasync(self._descriptor)

    def close(self) -> None:
        """Calling it twice is allowed."""
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            os.close(descriptor)


def read_witness(directory: str) -> tuple[int, Sighting]:
    """(turn, what it says) of the newer of the two slots that is whole."""
    path = Path(directory, FILE_NAME)
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise StoreDamaged(
            f"{path} is missing: without it nobody knows how far the database was synced"
        ) from error
    slots = [_unpack(content[place : place + _SLOT_BYTES]) for place in (0, _SLOT_BYTES)]
    whole = [slot for slot in slots if slot is not None]
    if not whole:
        raise StoreDamaged(f"{path} is damaged: neither of its two records can be read")
    return max(whole)


def _pack(turn: int, sighting: Sighting) -> bytes:
    if len(sighting.note) > NOTE_BYTES_MAX:
        raise ValueError(f"a note of {len(sighting.note)} bytes does not fit into {NOTE_BYTES_MAX}")
    sequence, manifest, manifest_bytes, note = sighting
    body = _SLOT.pack(_MAGIC, turn, sequence, manifest, manifest_bytes, len(note), note)
    return body + _CRC.pack(zlib.crc32(body))


def _unpack(slot: bytes) -> tuple[int, Sighting] | None:
    if len(slot) < _SLOT.size + _CRC.size:
        return None
    magic, turn, sequence, manifest, manifest_bytes, note_bytes, note = _SLOT.unpack_from(slot)
    (crc,) = _CRC.unpack_from(slot, _SLOT.size)
    if magic != _MAGIC or crc != zlib.crc32(slot[: _SLOT.size]):
        return None
    return turn, Sighting(sequence, manifest, manifest_bytes, note[:note_bytes])
