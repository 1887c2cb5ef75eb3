"""A gRPC client over a bare socket: it sends what no library would, and stops in the middle.

It blocks. `settled` returns once the server's own threads have taken in all that was sent, without a turn of the event
loop: what the loop then finds came all at once.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from typing import NamedTuple

READ_S = 30.0
"""Far longer than anything here takes, on any machine."""
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RESET, SETTINGS, PING, GOAWAY = 0, 1, 3, 4, 6, 7
END_STREAM, ACK, END_HEADERS = 1, 1, 4
TABLE_SETTING, WINDOW_SETTING = 1, 4
CANCEL = 8


class Frame(NamedTuple):
    kind: int
    flags: int
    stream: int
    body: bytes


class RawClient:
    """One connection. window: how many bytes of each answer may be sent before the client has read; 0 = none."""

    def __init__(self, address: str, *, window: int = 65_535) -> None:
        host, _, port = address.rpartition(":")
        self._socket = socket.create_connection((host, int(port)), timeout=READ_S)
        self._received = b""
        self._streams = 0
        self._pings = 0
        self._ends: dict[int, bytes] = {}
        # Without a table of headers the server writes each out.
        settings = struct.pack(">HIHI", TABLE_SETTING, 0, WINDOW_SETTING, window)
        self._socket.sendall(PREFACE + _frame(SETTINGS, 0, 0, settings))

    def begin(self, path: str, *headers: tuple[bytes, bytes]) -> int:
        """Open a call and say nothing more; its stream."""
        stream, self._streams = 2 * self._streams + 1, self._streams + 1
        named = [
            (b":method", b"POST"),
            (b":scheme", b"http"),
            (b":path", path.encode()),
            (b":authority", b"test"),
            (b"content-type", b"application/grpc"),
            (b"te", b"trailers"),
            *headers,
        ]
        self._socket.sendall(
            _frame(HEADERS, END_HEADERS, stream, b"".join(_literal(*pair) for pair in named))
        )
        return stream

    def say(self, stream: int, message: bytes) -> None:
        """The request of a call, which is all that it will say."""
        body = struct.pack(">BI", 0, len(message)) + message
        self._socket.sendall(_frame(DATA, END_STREAM, stream, body))

    def call(self, path: str, message: bytes, *headers: tuple[bytes, bytes]) -> int:
        stream = self.begin(path, *headers)
        self.say(stream, message)
        return stream

    def cancel(self, stream: int) -> None:
        self._socket.sendall(_frame(RESET, 0, stream, struct.pack(">I", CANCEL)))

    def settled(self) -> None:
        """Return once the server has read everything sent so far."""
        self._pings += 1
        wanted = self._pings.to_bytes(8)
        self._socket.sendall(_frame(PING, 0, 0, wanted))
        for frame in self._frames():
            if frame.kind == PING and frame.flags & ACK and frame.body == wanted:
                return

    def end_of(self, stream: int) -> bytes:
        """What the call ends with: the bytes of its last headers, or of its reset. Names and values are plain in them."""
        frames = self._frames()
        while stream not in self._ends:
            frame = next(frames, None)
            assert frame is not None, "the connection ended before the call"
        return self._ends[stream]

    def close(self) -> None:
        self._socket.close()

    def _frames(self) -> Iterator[Frame]:
        while True:
            while (frame := self._take()) is not None:
                if frame.kind == PING and not frame.flags & ACK:
                    self._socket.sendall(_frame(PING, ACK, 0, frame.body))
                if frame.kind == RESET or (frame.kind == HEADERS and frame.flags & END_STREAM):
                    self._ends.setdefault(frame.stream, frame.body)
                yield frame
            more = self._socket.recv(65_536)
            if not more:
                return
            self._received += more

    def _take(self) -> Frame | None:
        length = int.from_bytes(self._received[:3])
        if len(self._received) < 9 + length:
            return None
        kind, flags, stream = struct.unpack(">BBI", self._received[3:9])
        frame = Frame(kind, flags, stream, self._received[9 : 9 + length])
        self._received = self._received[9 + length :]
        return frame


def _frame(kind: int, flags: int, stream: int, body: bytes) -> bytes:
    return len(body).to_bytes(3) + struct.pack(">BBI", kind, flags, stream) + body


def _literal(name: bytes, value: bytes) -> bytes:
    """One header, written out: neither indexed nor compressed."""
    return b"\0" + _length(name) + name + _length(value) + value


def _length(text: bytes) -> bytes:
    rest = len(text) - 127
    if rest < 0:
        return bytes((len(text),))
    out = bytearray((127,))
    while rest > 127:
        out.append(rest & 127 | 128)
        rest >>= 7
    return bytes((*out, rest))
