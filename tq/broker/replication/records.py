"""What the journal's records look like, and what makes one wrong.

Entry, key = index 8:      crc 4 | previous entry's crc 4 | index 8 | term 8 | previous entry's term 8 | data
State, one record:         crc 4 | version 8 | term 8 | commit 8 | base index 8 | base term 8 | base crc 4 | relaxed 1 | vote
Members, one record:       crc 4 | the configuration as of base
Note for the witness:      last index 8 | its term 8 | its crc 4 | state version 8

All numbers big-endian; crc is CRC-32 (zlib's) over everything behind it. Each entry names the checksum of the one
before, so an entry that survived a truncation, or came from another log, does not fit even with the right number.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from struct import Struct
from typing import NamedTuple

from tq.errors import StoreDamaged

_INDEX_BYTES = 8
_ENTRY = Struct(">IQQQ")
_STATE = Struct(">QQQQQI?")
_NOTE = Struct(">QQIQ")
_CRC = Struct(">I")


@dataclass(frozen=True, slots=True)
class Link:
    """What the next entry must follow."""

    index: int
    term: int
    crc: int


CONTROL = b"\xc1"
"""First byte of an entry that is the cluster's own: the one value that msgpack never begins with."""
BEGINNING = Link(0, 0, 0)


@dataclass(frozen=True, slots=True)
class Entry:
    index: int
    term: int
    data: bytes


class State(NamedTuple):
    """What a node must remember beside entries.

    version: goes up with every change. voted_for: node voted for in term, empty = nobody. base: the last entry
    that was trimmed away. is_relaxed: entries may have been acknowledged without a sync.
    """

    version: int = 0
    term: int = 0
    commit_index: int = 0
    base: Link = BEGINNING
    is_relaxed: bool = False
    voted_for: str = ""


class Note(NamedTuple):
    """How far the journal was synced: its last entry, and the version of its state."""

    last: Link
    version: int


def pack_entry(previous: Link, term: int, data: bytes) -> tuple[Link, bytes]:
    """(what the next entry must follow, record) of the entry that follows previous."""
    index = previous.index + 1
    body = _ENTRY.pack(previous.crc, index, term, previous.term)
    crc = zlib.crc32(data, zlib.crc32(body))
    return Link(index, term, crc), b"".join((_CRC.pack(crc), body, data))


def unpack_entry(record: bytes, previous: Link | None, index: int) -> tuple[Link, Entry]:
    """Raises StoreDamaged unless the record is whole, is entry `index`, and follows previous (None = not checked)."""
    if len(record) < _CRC.size + _ENTRY.size:
        raise StoreDamaged(f"entry {index} is {len(record)} bytes long, too short")
    (crc,) = _CRC.unpack_from(record)
    if zlib.crc32(memoryview(record)[_CRC.size :]) != crc:
        raise StoreDamaged(f"entry {index} does not match its checksum")
    previous_crc, found, term, previous_term = _ENTRY.unpack_from(record, _CRC.size)
    if found != index:
        raise StoreDamaged(f"entry {found} stands where entry {index} should")
    if previous is not None and (previous.term, previous.crc) != (previous_term, previous_crc):
        raise StoreDamaged(f"entry {index} does not follow the entry before it")
    return Link(index, term, crc), Entry(index, term, record[_CRC.size + _ENTRY.size :])


def walk(rows: Iterable[tuple[bytes, bytes]], base: Link) -> Iterator[tuple[Link, Entry]]:
    """Every entry behind base with its link, verified. Raises StoreDamaged at a hole or a record that does not fit."""
    last = base
    for key, record in rows:
        if key != entry_key(last.index + 1):
            raise StoreDamaged(f"entry {last.index + 1} is missing")
        last, entry = unpack_entry(record, last, last.index + 1)
        yield last, entry


def entry_key(index: int) -> bytes:
    return index.to_bytes(_INDEX_BYTES, "big")


def pack_state(state: State) -> bytes:
    base = state.base
    body = _STATE.pack(
        state.version, state.term, state.commit_index, base.index, base.term, base.crc, state.is_relaxed
    )
    body += state.voted_for.encode()
    return _CRC.pack(zlib.crc32(body)) + body


def unpack_state(record: bytes) -> State:
    """Raises StoreDamaged."""
    body = record[_CRC.size :]
    if len(body) < _STATE.size or _CRC.unpack_from(record)[0] != zlib.crc32(body):
        raise StoreDamaged("the record of term, vote and commit index does not match its checksum")
    version, term, commit_index, base_index, base_term, base_crc, is_relaxed = _STATE.unpack_from(body)
    base = Link(base_index, base_term, base_crc)
    return State(version, term, commit_index, base, is_relaxed, body[_STATE.size :].decode())


def pack_members(members: bytes) -> bytes:
    return _CRC.pack(zlib.crc32(members)) + members


def unpack_members(record: bytes) -> bytes:
    """Raises StoreDamaged."""
    members = record[_CRC.size :]
    if len(record) < _CRC.size or _CRC.unpack_from(record)[0] != zlib.crc32(members):
        raise StoreDamaged("the record of the cluster's nodes does not match its checksum")
    return members


def pack_note(note: Note) -> bytes:
    return _NOTE.pack(note.last.index, note.last.term, note.last.crc, note.version)


def compare(note: Note, state: State, witnessed: Link, last: Link) -> None:
    """Raise StoreDamaged when the journal holds less than was synced.

    note: what the witness saw. witnessed: the link of the entry the note speaks of, as found now. The state's version
    goes up with every truncation, so with the same version nothing may be missing.
    """
    if state.version < note.version:
        raise StoreDamaged(f"its state is of version {state.version}, and version {note.version} was synced")
    if state.version == note.version and witnessed != note.last:
        raise StoreDamaged(
            f"it ends with entry {last.index}, and entry {note.last.index} was synced or is another one"
        )


def unpack_note(record: bytes) -> Note:
    """The note of a journal that was never synced is empty, and reads as the beginning."""
    if not record:
        return Note(BEGINNING, 0)
    index, term, crc, version = _NOTE.unpack(record)
    return Note(Link(index, term, crc), version)
