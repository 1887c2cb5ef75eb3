"""One connection between two nodes: the handshake, then frames; or, for a visit, whatever the visitor speaks.

A *visit* is a connection of its own beside the peers' stream, under the same proof of who is who: what a node asks
another in the name of its clients must stand in nobody's way, least of all in that of heartbeats.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from dataclasses import dataclass
from typing import Protocol, cast

from tq.broker.replication.handshake import (
    HELLO_BYTES_MAX,
    Hello,
    Purpose,
    check_proof,
    pack_hello,
    prove,
    unpack_hello,
)
from tq.broker.replication.messages import FRAME_BYTES_MAX
from tq.errors import AuthenticationFailed, ProtocolError, TqError
from tq.logs import get_logger

_log = get_logger("raft")

LENGTH_BYTES = 4
OUT_BYTES_MAX = 2 * FRAME_BYTES_MAX
"""Unsent bytes of one stream. The core keeps one message under way per peer, so more is a peer that does not read."""
HANDSHAKE_SECONDS = 5.0
USER_TIMEOUT_MS = 3_000
"""Sent data that nobody acknowledges for so long ends the stream: the peer's machine is gone."""


@dataclass(frozen=True)
class PeerSecurity:
    """secret: proved by HMAC on both sides, empty = none. server, client: TLS with certificates on both sides."""

    secret: str = ""
    server: ssl.SSLContext | None = None
    client: ssl.SSLContext | None = None


class Owner(Protocol):
    """Whose streams they are: see `transport.PeerTransport`."""

    security: PeerSecurity

    def hello(self, target: str, purpose: Purpose) -> Hello: ...

    def admit(self, stream: Stream) -> bool:
        """Whether a new connection may begin to prove itself."""
        ...

    def check(self, hello: Hello) -> None:
        """Raises AuthenticationFailed unless this hello is meant for us, from the disk its node always had."""
        ...

    def refused(self, whom: str, text: str) -> None:
        """What came over a stream was not believed. whom: the peer, or where the stranger is."""
        ...

    def joined(self, stream: Stream, hello: Hello) -> int:
        """The stream is the peer's now; its epoch."""
        ...

    def visited(self, hello: Hello) -> asyncio.Protocol:
        """Who takes a visit over. Raises TqError when nobody does."""
        ...

    def received(self, peer: str, epoch: int, frame: bytes) -> None: ...

    def left(self, stream: Stream, peer: str, epoch: int) -> None: ...


class Stream(asyncio.Protocol):
    """One connection."""

    def __init__(self, owner: Owner, *, dials: str, visit: asyncio.Protocol | None = None) -> None:
        """dials: the node that was dialled; empty on the listening side. visit: takes the connection over once the
        handshake is through."""
        self._owner = owner
        self._dials = dials
        self._visit = visit
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._own_hello = b""
        self._peer_hello: tuple[Hello, bytes] | None = None
        self._peer = ""
        self._epoch = 0
        self._deadline: asyncio.TimerHandle | None = None
        self.is_handed_over = False
        self.host = ""
        """Whoever is at the other end, as far as the network knows."""
        self.reason = "it hung up before it had proved itself"
        """Why it ended without ever being a peer's."""
        self._ended: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    @property
    def is_dialled(self) -> bool:
        """Whether this node opened the connection."""
        return bool(self._dials)

    async def ended(self) -> bool:
        """Wait until the connection is over, or handed over to a visit; whether it was ever a peer's."""
        # Whoever waits may be cancelled, and others wait for the same.
        return await asyncio.shield(self._ended)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Not an isinstance: uvloop's transports are of a class of their own.
        self._transport = transport = cast(asyncio.Transport, transport)
        self.host = str((transport.get_extra_info("peername") or ("somewhere",))[0])
        if not self._owner.admit(self):
            transport.abort()
            return
        _tune(transport.get_extra_info("socket"))
        loop = asyncio.get_running_loop()
        self._deadline = loop.call_later(HANDSHAKE_SECONDS, self.cut)
        if self._dials:
            self._say_hello(self._dials, Purpose.RAFT if self._visit is None else Purpose.VISIT)

    def connection_lost(self, error: Exception | None) -> None:
        if error is not None:
            self.reason = str(error)
        self._end()

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer
        buffer += data
        at = 0
        try:
            while len(buffer) - at >= LENGTH_BYTES and not self.is_handed_over:
                length = int.from_bytes(buffer[at : at + LENGTH_BYTES], "big")
                if length > (FRAME_BYTES_MAX if self._peer else HELLO_BYTES_MAX):
                    raise ProtocolError(f"a frame of {length} bytes is longer than allowed")
                stop = at + LENGTH_BYTES + length
                if len(buffer) < stop:
                    break
                self._frame(bytes(memoryview(buffer)[at + LENGTH_BYTES : stop]))
                at = stop
        except TqError as error:
            self.reason = error.text
            self._owner.refused(self._whom(), error.text)
            self.cut()
            return
        if at:
            del buffer[:at]
        if self.is_handed_over and buffer:
            assert self._visit is not None
            # What came right behind the proof is the visitor's first word.
            self._visit.data_received(bytes(buffer))

    def _whom(self) -> str:
        """What nobody has proved is told as the address that it came from, not as the name it gave."""
        return self._peer or self._dials or f"a stranger at {self.host}"

    def send(self, frame: bytes) -> None:
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        transport.write(len(frame).to_bytes(LENGTH_BYTES, "big") + frame)
        if transport.get_write_buffer_size() > OUT_BYTES_MAX:
            _log.warning("peer_stuck", f"{self._peer} does not read what it is sent", peer=self._peer)
            self.cut()

    def cut(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def _frame(self, frame: bytes) -> None:
        if self._peer:
            self._owner.received(self._peer, self._epoch, frame)
        elif self._peer_hello is None:
            self._hear_hello(frame)
        else:
            self._hear_proof(frame)

    def _say_hello(self, target: str, purpose: Purpose) -> None:
        self._own_hello = pack_hello(self._owner.hello(target, purpose))
        self.send(self._own_hello)

    def _hear_hello(self, frame: bytes) -> None:
        hello = unpack_hello(frame)
        if self._dials and hello.node_id != self._dials:
            raise AuthenticationFailed(f"{self._dials} was dialled and {hello.node_id} answered")
        self._peer_hello = (hello, frame)
        if not self._dials:
            self._say_hello(hello.node_id, hello.purpose)
            self.send(prove(self._owner.security.secret, "listener", frame, self._own_hello))

    def _hear_proof(self, frame: bytes) -> None:
        assert self._peer_hello is not None
        hello, raw = self._peer_hello
        secret = self._owner.security.secret
        if self._dials:
            check_proof(secret, "listener", self._own_hello, raw, frame)
            self.send(prove(secret, "dialler", self._own_hello, raw))
        else:
            check_proof(secret, "dialler", raw, self._own_hello, frame)
        self._owner.check(hello)
        if self._visit is not None or hello.purpose is Purpose.VISIT:
            self._hand_over(self._visit or self._owner.visited(hello))
            return
        self._peer = hello.node_id
        if self._deadline is not None:
            self._deadline.cancel()
        self._epoch = self._owner.joined(self, hello)

    def _hand_over(self, visit: asyncio.Protocol) -> None:
        assert self._transport is not None
        self._visit = visit
        self.is_handed_over = True
        self._transport.set_protocol(visit)
        self._end()
        visit.connection_made(self._transport)

    def _end(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        if not self._ended.done():
            self._owner.left(self, self._peer, self._epoch)
            self._ended.set_result(bool(self._peer))


def _tune(sock: socket.socket | None) -> None:
    if sock is None or sock.family not in (socket.AF_INET, socket.AF_INET6):
        return
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, USER_TIMEOUT_MS)
