"""The pipe between the worker and a child process: 4-byte big-endian length, then a msgpack array.

Worker to child: the fields of a Delivery. Child to worker: [word, *fields], the words below. Both ends are the same
program; nothing is unpickled all the same.
"""

from __future__ import annotations

import struct
from typing import cast

import msgpack

from tq.protocol.limits import FRAME_BYTES_MAX

READY, ENDED, PROGRESS, EXTEND = 0, 1, 2, 3
"""[READY] · [ENDED, *Ending] · [PROGRESS, permille, text] · [EXTEND, ms]"""

_LENGTH = struct.Struct(">I")
LENGTH_BYTES = _LENGTH.size


def pack(message: tuple[object, ...]) -> bytes:
    """One message as it goes over the pipe."""
    body = cast("bytes", msgpack.packb(message, unicode_errors="replace"))
    return _LENGTH.pack(len(body)) + body


def length_of(head: bytes | bytearray) -> int:
    """The length that the first LENGTH_BYTES bytes announce. Raises ValueError when no message is so long."""
    length = cast("int", _LENGTH.unpack_from(head)[0])
    if length > FRAME_BYTES_MAX:
        raise ValueError(f"a message of {length} bytes on the child's pipe; somebody else writes to it")
    return length


def unpack(body: bytes | bytearray) -> list[object]:
    """The message's fields. Raises ValueError."""
    return cast("list[object]", msgpack.unpackb(body, strict_map_key=False))


class Reassembly:
    """Bytes as they come, messages as they are complete. Bounded by one message of FRAME_BYTES_MAX."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def feed(self, data: bytes) -> list[list[object]]:
        """The messages that are complete now. Raises ValueError on what is no message."""
        self._bytes += data
        messages: list[list[object]] = []
        while len(self._bytes) >= LENGTH_BYTES:
            end = LENGTH_BYTES + length_of(self._bytes)
            if len(self._bytes) < end:
                break
            messages.append(unpack(self._bytes[LENGTH_BYTES:end]))
            del self._bytes[:end]
        return messages
