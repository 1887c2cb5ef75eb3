"""How keys become bytes: the order of the bytes is the order in which tables are read.

Numbers are big-endian, so that byte order is number order. Sequences and minutes take 8 bytes, kind numbers and
attempt numbers 4, state classes 1; ids and names stand as they are. Encoders raise struct.error or OverflowError
for a number that does not fit: the machine never makes one.

    LIVE, PAYLOAD, EXTRA, RESULT  seq 8
    ATTEMPT                       seq 8 | number 4
    INDEX                         state class 1 | kind 4 | seq 8
    KIND, COUNT                   kind 4
    METER                         minute 8
    ENDED, SESSION                id (16 bytes)
    UNIQUE, QUEUE, META           name, UTF-8
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct

SEQ_BYTES = 8
KIND_BYTES = 4

_SEQ = Struct(">Q")
_ATTEMPT = Struct(">QI")
_INDEX = Struct(">BIQ")
_INDEX_PREFIX = Struct(">BI")
_KIND = Struct(">I")


# Written for every row: the packing itself, without a call of ours around it.
seq_key: Callable[[int], bytes] = _SEQ.pack
"""Key of LIVE, PAYLOAD, EXTRA and RESULT."""
index_key: Callable[[int, int, int], bytes] = _INDEX.pack
"""Key of INDEX: state class, kind, seq."""


def seq_of(key: bytes) -> int:
    """The sequence a key of LIVE, PAYLOAD, EXTRA, RESULT or ATTEMPT begins with."""
    return int.from_bytes(key[:SEQ_BYTES], "big")


def attempt_key(seq: int, number: int) -> bytes:
    return _ATTEMPT.pack(seq, number)


def attempt_of(key: bytes) -> tuple[int, int]:
    """(seq, number)"""
    seq, number = _ATTEMPT.unpack(key)
    return seq, number


def index_of(key: bytes) -> tuple[int, int, int]:
    """(state class, kind, seq)"""
    state_class, kind, seq = _INDEX.unpack(key)
    return state_class, kind, seq


def index_range(state_class: int, kind: int | None = None) -> tuple[bytes, bytes]:
    """(start, stop) of a scan over one state class, or over one kind in it."""
    if kind is None:
        prefix = bytes((state_class,))
    else:
        prefix = _INDEX_PREFIX.pack(state_class, kind)
    return prefix, prefix_end(prefix)


def kind_key(kind: int) -> bytes:
    return _KIND.pack(kind)


def kind_of(key: bytes) -> int:
    return int.from_bytes(key, "big")


def minute_key(minute: int) -> bytes:
    return _SEQ.pack(minute)


def minute_of(key: bytes) -> int:
    return int.from_bytes(key, "big")


def name_key(name: str) -> bytes:
    """Key of UNIQUE, QUEUE and META. Byte order of UTF-8 is code point order."""
    return name.encode()


def name_of(key: bytes) -> str:
    return key.decode()


def prefix_end(prefix: bytes) -> bytes:
    """The lowest key above every key that begins with prefix (not all 0xFF bytes): the stop of a prefix scan."""
    body = prefix.rstrip(b"\xff")
    if not body:
        raise ValueError(f"no key is above every key that begins with {prefix!r}")
    return body[:-1] + bytes((body[-1] + 1,))
