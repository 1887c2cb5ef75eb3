"""Streams to the other nodes over TCP: length-prefixed frames, one stream per peer, dialled by the smaller name.

A stream belongs to a peer once both sides have proved themselves (`handshake`); a newer one closes the older first.
Frames leave in order or not at all: a stream whose peer does not read is cut at OUT_BYTES_MAX, never thinned out.
Nothing of a frame is read before its length is known to be allowed.
"""

from __future__ import annotations

import asyncio
import secrets
import socket
import ssl
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol, cast

from tq.broker.replication.handshake import (
    HELLO_BYTES_MAX,
    NONCE_BYTES,
    Hello,
    check_proof,
    pack_hello,
    prove,
    unpack_hello,
)
from tq.broker.replication.messages import FRAME_BYTES_MAX, Message, pack_message, unpack_message
from tq.errors import AuthenticationFailed, ProtocolError, TqError
from tq.logs import get_logger

_log = get_logger("raft")

LENGTH_BYTES = 4
OUT_BYTES_MAX = 2 * FRAME_BYTES_MAX
"""Unsent bytes of one stream. The core keeps one message under way per peer, so more is a peer that does not read."""
HANDSHAKE_SECONDS = 5.0
REDIAL_SECONDS = (0.05, 1.0)
"""Pause before dialling again: the first, and the longest it grows to."""
STREAMS_MAX = 64
"""Connections that have not proved themselves yet; a port scan must not use up the descriptors."""
USER_TIMEOUT_MS = 3_000
"""Sent data that nobody acknowledges for so long ends the stream: the peer's machine is gone."""


class Ears(Protocol):
    """Who hears of streams and frames: see `ports.Links`."""

    def connected(self, peer: str, epoch: int) -> None: ...

    def disconnected(self, peer: str, epoch: int) -> None: ...

    def receive(self, peer: str, epoch: int, message: Message) -> None: ...


@dataclass(frozen=True)
class PeerSecurity:
    """secret: proved by HMAC on both sides, empty = none. server, client: TLS with certificates on both sides."""

    secret: str = ""
    server: ssl.SSLContext | None = None
    client: ssl.SSLContext | None = None


class PeerTransport:
    """Serves `ports.Links`. `open`, then `set_peers`; `close` at the end."""

    def __init__(
        self,
        node_id: str,
        disk: tuple[str, int],
        ears: Ears,
        security: PeerSecurity,
        *,
        check_disk: Callable[[str, str], None],
        client_address: Callable[[], str],
    ) -> None:
        """disk: this node's uuid and generation. check_disk(node, disk) raises for one that may not be believed."""
        self.node_id = node_id
        self._disk = disk
        self._ears = ears
        self.security = security
        self._check_disk = check_disk
        self._client_address = client_address
        self._server: asyncio.Server | None = None
        self._diallers: dict[str, tuple[str, asyncio.Task[None]]] = {}
        self._streams: dict[str, Stream] = {}
        self._strangers: set[Stream] = set()
        self._open: set[Stream] = set()
        self._client_addresses: dict[str, str] = {}
        self._epoch = 0
        self._is_closed = False

    async def open(self, host: str, port: int) -> tuple[str, int]:
        """Listen; the bound address."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: Stream(self, dials=""), host, port, ssl=self.security.server, reuse_address=True
        )
        address = self._server.sockets[0].getsockname()
        return address[0], address[1]

    def set_peers(self, addresses: Iterable[tuple[str, str]]) -> None:
        """(node id, host:port) of the others: those with a greater name are dialled until they answer."""
        wanted = {node: address for node, address in addresses if node > self.node_id}
        for node in list(self._diallers):
            if wanted.get(node) != self._diallers[node][0]:
                self._diallers.pop(node)[1].cancel()
        for node, address in wanted.items():
            if node not in self._diallers:
                task = asyncio.get_running_loop().create_task(self._dial_for_ever(node, address))
                self._diallers[node] = (address, task)

    def client_address(self, node: str) -> str:
        """Where a node's clients go, as it said; empty = not known."""
        return self._client_address() if node == self.node_id else self._client_addresses.get(node, "")

    def send(self, peer: str, message: Message) -> None:
        stream = self._streams.get(peer)
        if stream is not None:
            stream.send(pack_message(message))

    async def close(self) -> None:
        """Hang up. Calling it twice is allowed."""
        self._is_closed = True
        tasks = [task for _, task in self._diallers.values()]
        self._diallers.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._server is not None:
            self._server.close()
        streams = list(self._open)
        for stream in streams:
            stream.cut()
        await asyncio.gather(*(stream.ended() for stream in streams))
        if self._server is not None:
            await self._server.wait_closed()

    async def _dial_for_ever(self, node: str, address: str) -> None:
        host, _, port = address.rpartition(":")
        loop = asyncio.get_running_loop()
        pause, longest = REDIAL_SECONDS
        while True:
            try:
                _, stream = await loop.create_connection(
                    lambda: Stream(self, dials=node), host.strip("[]"), int(port), ssl=self.security.client
                )
                if await stream.ended():
                    pause = REDIAL_SECONDS[0]
            except OSError as error:
                _log.debug("peer_unreachable", f"{node} at {address}: {error}", peer=node)
            await asyncio.sleep(pause)
            pause = min(2 * pause, longest)

    # ------------------------------------------------------------ for streams

    def hello(self, target: str) -> Hello:
        uuid, generation = self._disk
        return Hello(
            self.node_id, uuid, generation, target, self._client_address(), secrets.token_bytes(NONCE_BYTES)
        )

    def admit(self, stream: Stream) -> bool:
        """Whether a new connection may begin to prove itself."""
        self._open.add(stream)
        # One that was accepted just before the port was closed would keep the server waiting for it.
        if self._is_closed or len(self._strangers) >= STREAMS_MAX:
            return False
        self._strangers.add(stream)
        return True

    def check(self, hello: Hello) -> None:
        """Raises AuthenticationFailed unless this hello is meant for us, from the disk its node always had."""
        if hello.target != self.node_id or hello.node_id == self.node_id:
            raise AuthenticationFailed(
                f"{hello.node_id} looks for {hello.target}, and this is {self.node_id}"
            )
        self._check_disk(hello.node_id, f"{hello.node_uuid}/{hello.generation}")

    def joined(self, stream: Stream, hello: Hello) -> int:
        """The stream is the peer's now; its epoch."""
        peer = hello.node_id
        older = self._streams.pop(peer, None)
        if older is not None:
            older.cut()
        self._strangers.discard(stream)
        self._epoch += 1
        self._streams[peer] = stream
        self._client_addresses[peer] = hello.client_address
        _log.info("peer_connected", f"{peer} is connected", peer=peer, epoch=self._epoch)
        self._ears.connected(peer, self._epoch)
        return self._epoch

    def received(self, peer: str, epoch: int, frame: bytes) -> None:
        self._ears.receive(peer, epoch, unpack_message(frame))

    def left(self, stream: Stream, peer: str, epoch: int) -> None:
        self._open.discard(stream)
        self._strangers.discard(stream)
        if peer:
            if self._streams.get(peer) is stream:
                del self._streams[peer]
            _log.info("peer_disconnected", f"{peer} is disconnected", peer=peer, epoch=epoch)
            self._ears.disconnected(peer, epoch)


class Stream(asyncio.Protocol):
    """One connection. dials: the node that was dialled; empty on the listening side."""

    def __init__(self, owner: PeerTransport, *, dials: str) -> None:
        self._owner = owner
        self._dials = dials
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._own_hello = b""
        self._peer_hello: tuple[Hello, bytes] | None = None
        self._peer = ""
        self._epoch = 0
        self._deadline: asyncio.TimerHandle | None = None
        self._ended: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    async def ended(self) -> bool:
        """Wait until the connection is over; whether it was ever a peer's."""
        # Whoever waits may be cancelled, and others wait for the same.
        return await asyncio.shield(self._ended)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Not an isinstance: uvloop's transports are of a class of their own.
        self._transport = transport = cast(asyncio.Transport, transport)
        if not self._owner.admit(self):
            transport.abort()
            return
        _tune(transport.get_extra_info("socket"))
        loop = asyncio.get_running_loop()
        self._deadline = loop.call_later(HANDSHAKE_SECONDS, self.cut)
        if self._dials:
            self._say_hello(self._dials)

    def connection_lost(self, error: Exception | None) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._owner.left(self, self._peer, self._epoch)
        if not self._ended.done():
            self._ended.set_result(bool(self._peer))

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer
        buffer += data
        at = 0
        try:
            while len(buffer) - at >= LENGTH_BYTES:
                length = int.from_bytes(buffer[at : at + LENGTH_BYTES], "big")
                if length > (FRAME_BYTES_MAX if self._peer else HELLO_BYTES_MAX):
                    raise ProtocolError(f"a frame of {length} bytes is longer than allowed")
                stop = at + LENGTH_BYTES + length
                if len(buffer) < stop:
                    break
                self._frame(bytes(memoryview(buffer)[at + LENGTH_BYTES : stop]))
                at = stop
        except TqError as error:
            _log.warning("peer_refused", f"{self._peer or self._dials or 'a stranger'}: {error.text}")
            self.cut()
            return
        if at:
            del buffer[:at]

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

    def _say_hello(self, target: str) -> None:
        self._own_hello = pack_hello(self._owner.hello(target))
        self.send(self._own_hello)

    def _hear_hello(self, frame: bytes) -> None:
        hello = unpack_hello(frame)
        if self._dials and hello.node_id != self._dials:
            raise AuthenticationFailed(f"{self._dials} was dialled and {hello.node_id} answered")
        self._peer_hello = (hello, frame)
        if not self._dials:
            self._say_hello(hello.node_id)
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
        self._peer = hello.node_id
        if self._deadline is not None:
            self._deadline.cancel()
        self._epoch = self._owner.joined(self, hello)


def _tune(sock: socket.socket | None) -> None:
    if sock is None or sock.family not in (socket.AF_INET, socket.AF_INET6):
        return
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, USER_TIMEOUT_MS)
