"""How RocksDB frames the records of its logs, the write-ahead logs and the manifest alike.

A file is blocks of 32 KiB. A fragment = checksum 4 | length 2 | type 1 | payload, little-endian; what is left of a
block under 7 bytes is padding. A record = one full fragment, or first, middle ..., last
(github.com/facebook/rocksdb/wiki/Write-Ahead-Log-File-Format; unchanged since 2012 but for new record types).

Only the framing is read here: the checksums are RocksDB's to verify, and it does. What it does not is to complain
about a record that seems to go on behind the end of the file, be it that the file was cut or a length changed.
"""

from __future__ import annotations

import mmap
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from struct import Struct
from typing import NamedTuple

from tq.errors import StoreDamaged

HEAD_BYTES = 12

_BLOCK_BYTES = 32 * 1024
_FRAGMENT = Struct("<IHB")
_TORN = -1
_PADDING = 0
_FIRST, _MIDDLE, _LAST = 2, 3, 4
_RECYCLED_TYPES = range(5, 9)
"""Only written when logs are recycled, which is never asked for."""
_METADATA_TYPES_MIN = 9
"""From here on (compression, time stamps, predecessor) a fragment says something about the log, not about data."""


class Record(NamedTuple):
    """head: the first HEAD_BYTES of it, or less if it is shorter. stop: where in the file it ends."""

    head: bytes
    stop: int


def records(path: Path) -> Iterator[Record]:
    """The whole records of a log. Ends where one begins that is not whole; raises StoreDamaged where none can be."""
    if path.stat().st_size == 0:
        return
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        head = b""
        is_inside = False
        for kind, start, stop in _fragments(content, path):
            if kind == _TORN:
                return
            if is_inside != (kind in (_MIDDLE, _LAST)):
                raise broken(path, start, "records run into each other")
            if not is_inside:
                head = b""
            head += content[start : min(stop, start + HEAD_BYTES - len(head))]
            is_inside = kind in (_FIRST, _MIDDLE)
            if not is_inside:
                yield Record(head, stop)


def end_of_records(path: Path) -> int:
    """Where the last whole record of a log ends. Raises StoreDamaged when there is something that cannot be."""
    last = deque(records(path), maxlen=1)
    return last[0].stop if last else 0


def broken(path: Path, place: int, what: str) -> StoreDamaged:
    return StoreDamaged(f"{path} is damaged at byte {place}: {what}")


def _fragments(content: mmap.mmap, path: Path) -> Iterator[tuple[int, int, int]]:
    """(type, start, stop) of each fragment's payload. One that is cut off is the last, with type _TORN."""
    size = len(content)
    place = 0
    while place < size:
        room = _BLOCK_BYTES - place % _BLOCK_BYTES
        if room < _FRAGMENT.size:
            place += room
            continue
        start = place + _FRAGMENT.size
        if start > size:
            yield _TORN, place, size
            return
        _, length, kind = _FRAGMENT.unpack_from(content, place)
        stop = start + length
        if kind in _RECYCLED_TYPES or (kind == _PADDING and length) or stop > place + room:
            raise broken(path, place, f"a fragment of type {kind} and {length} bytes cannot be")
        if stop > size:
            yield _TORN, start, size
            return
        if kind == _PADDING:
            stop = place + room
        elif kind < _METADATA_TYPES_MIN:
            yield kind, start, stop
        place = stop
