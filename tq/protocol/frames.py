"""Bytes to frames and back: 4-byte big-endian length of what follows | 1-byte type | body.

A declared length over the limit is refused as soon as its four bytes are there, before anything is kept for it.
"""

from __future__ import annotations

import struct
from typing import TypeAlias

from tq.errors import ProtocolError

LENGTH_BYTES = 4
HEADER_BYTES = LENGTH_BYTES + 1
_HEADER = struct.Struct(">IB")

Frame: TypeAlias = tuple[int, bytes | bytearray]
"""(type, body)"""


def frame(kind: int, body: bytes) -> bytes:
    """One frame. kind: 0-255. body: the caller keeps it within the receiver's limit."""
    return _HEADER.pack(len(body) + 1, kind) + body


class FrameReader:
    """Cuts a stream into frames, however it arrives.

    Every byte is copied a fixed number of times: an incomplete frame is appended to until it is complete, never
    joined before. At most one incomplete frame is held, so at most `frame_bytes_max` plus one read.

    frame_bytes_max: longest type and body; may be changed between feeds.
    error: set once the stream cannot be followed any more; nothing is read after that.
    stranger: the four bytes that were no acceptable length, to tell who speaks there.
    """

    def __init__(self, frame_bytes_max: int) -> None:
        self.frame_bytes_max = frame_bytes_max
        self.error: ProtocolError | None = None
        self.stranger = b""
        self._held = bytearray()
        self._wanted_bytes = LENGTH_BYTES

    @property
    def is_between_frames(self) -> bool:
        """Nothing of an unfinished frame is held."""
        return not self._held

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that are complete now, in order. After a bad length: those before it, and `error` is set."""
        if self.error is not None:
            return []
        if not self._held:
            frames, offset = self._cut(data)
            if offset < len(data) and self.error is None:
                self._held += memoryview(data)[offset:]
            return frames
        self._held += data
        if len(self._held) < self._wanted_bytes:
            return []
        frames, offset = self._cut(self._held)
        del self._held[:offset]
        return frames

    def _cut(self, data: bytes | bytearray) -> tuple[list[Frame], int]:
        """(frames, how many bytes they took); notes how many bytes the next step wants."""
        frames: list[Frame] = []
        start, end = 0, len(data)
        while end - start >= LENGTH_BYTES:
            length = int.from_bytes(data[start : start + LENGTH_BYTES], "big")
            if not 0 < length <= self.frame_bytes_max:
                self._refuse(length, bytes(data[start : start + LENGTH_BYTES]))
                return frames, end
            stop = start + LENGTH_BYTES + length
            if stop > end:
                self._wanted_bytes = stop - start
                return frames, start
            frames.append((data[start + LENGTH_BYTES], data[start + HEADER_BYTES : stop]))
            start = stop
        self._wanted_bytes = LENGTH_BYTES
        return frames, start

    def _refuse(self, length: int, first: bytes) -> None:
        self.stranger = first
        if length == 0:
            self.error = ProtocolError("a frame of length 0; the shortest has 1 byte, its type")
        else:
            self.error = ProtocolError(
                f"a frame of {length} bytes; at most {self.frame_bytes_max} are allowed here, nothing of it was read"
            )
