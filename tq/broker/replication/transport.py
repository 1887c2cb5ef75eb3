"""Connections to the other nodes over TCP: one stream per peer for Raft's messages, and visits beside it.

A stream belongs to a peer once both sides have proved themselves (`handshake`); a newer one closes the older first.
Frames leave in order or not at all: a stream whose peer does not read is cut at OUT_BYTES_MAX, never thinned out.
Nothing of a frame is read before its length is known to be allowed. Of two nodes the one with the smaller name dials;
the other dials too when nothing has come of it for a while, for a node that was away may not know that the one that
leads by now has joined at all.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter
from collections.abc import Callable, Iterable
from typing import NamedTuple, Protocol

from tq.broker.replication.handshake import NONCE_BYTES, Hello, Purpose
from tq.broker.replication.messages import Message, pack_message, unpack_message
from tq.broker.replication.peer_news import PeerNews
from tq.broker.replication.stream import HANDSHAKE_SECONDS, PeerSecurity, Stream
from tq.errors import AuthenticationFailed, BrokerUnavailable
from tq.logs import get_logger

_log = get_logger("raft")

REDIAL_SECONDS = (0.05, 1.0)
"""Pause before dialling again: the first, and the longest it grows to."""
STREAMS_MAX = 64
"""Connections from outside that have not proved themselves yet; a port scan must not use up the descriptors, nor keep
peers out: when there are more, the host that holds the most of them loses its oldest."""
STEADY_SECONDS = 1.0
"""A stream that ended sooner was refused by the other side: it is dialled again as patiently as one that never was."""
MISSED_SECONDS = 5.0
"""A peer that cannot be reached for so long is worth a line; starts and restarts are not."""


class Ears(Protocol):
    """Who hears of streams and frames: see `ports.Links`."""

    def connected(self, peer: str, epoch: int, disk: str) -> None: ...

    def disconnected(self, peer: str, epoch: int) -> None: ...

    def receive(self, peer: str, epoch: int, message: Message) -> None: ...


class _Peer(NamedTuple):
    address: str
    dialler: asyncio.Task[None]


class PeerTransport:
    """Serves `ports.Links`. `open`, then `set_peers`; `close` at the end."""

    def __init__(
        self,
        node_id: str,
        disk: tuple[str, int],
        ears: Ears,
        security: PeerSecurity,
        *,
        check_disk: Callable[[str, str], bool],
        client_address: Callable[[], str],
    ) -> None:
        """disk: this node's uuid and generation. check_disk(node, disk): whether it is believed to be the node's; raises
        AuthenticationFailed where nobody else is let in."""
        self.node_id = node_id
        self._disk = disk
        self._ears = ears
        self.security = security
        self._check_disk = check_disk
        self._client_address = client_address
        self._server: asyncio.Server | None = None
        self._peers: dict[str, _Peer] = {}
        self._streams: dict[str, Stream] = {}
        self._strangers: dict[Stream, None] = {}
        """From outside, the oldest first."""
        self._open: set[Stream] = set()
        self._client_addresses: dict[str, str] = {}
        self._disks: dict[str, str] = {}
        self._believed: set[str] = set()
        self._epoch = 0
        self._news = PeerNews(lambda: asyncio.get_running_loop().time())
        self._is_closed = False
        self.on_visit: Callable[[str], asyncio.Protocol] | None = None
        """Given the visitor's node id, who takes the connection over."""

    async def open(self, host: str, port: int) -> tuple[str, int]:
        """Listen; the bound address."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: Stream(self, dials=""),
            host,
            port,
            ssl=self.security.server,
            ssl_handshake_timeout=HANDSHAKE_SECONDS if self.security.server else None,
            reuse_address=True,
        )
        address = self._server.sockets[0].getsockname()
        return address[0], address[1]

    def set_peers(self, addresses: Iterable[tuple[str, str]]) -> None:
        """(node id, host:port) of the others: they are dialled until there is a stream."""
        wanted = dict(addresses)
        for node in [node for node, peer in self._peers.items() if wanted.get(node) != peer.address]:
            self._peers.pop(node).dialler.cancel()
            if node not in wanted and (stream := self._streams.get(node)) is not None:
                stream.cut()
        for node, address in wanted.items():
            if node not in self._peers:
                task = asyncio.get_running_loop().create_task(self._dial_for_ever(node, address))
                self._peers[node] = _Peer(address, task)

    def recheck(self) -> None:
        """Which disk counts as whose has changed: cut the streams with others."""
        for node, stream in list(self._streams.items()):
            try:
                self._take_in(node, self._disks[node])
            except AuthenticationFailed as error:
                self._news.warn("peer_refused", node, error.text, peer=node)
                stream.cut()

    def client_address(self, node: str) -> str:
        """Where a node's clients go, as it said; empty = not known."""
        return self._client_address() if node == self.node_id else self._client_addresses.get(node, "")

    def is_connected(self, node: str) -> bool:
        """Whether there is a stream with the node, from the disk that counts as its own."""
        return node in self._streams and node in self._believed

    def disk_of(self, node: str) -> str:
        """The disk with which a node is connected and believed; this node's own; empty = not known."""
        if node == self.node_id:
            return _named(*self._disk)
        return self._disks[node] if self.is_connected(node) else ""

    def send(self, peer: str, message: Message) -> None:
        stream = self._streams.get(peer)
        if stream is not None:
            stream.send(pack_message(message))

    async def visit(self, node: str, visitor: asyncio.Protocol) -> None:
        """Connect to a peer on behalf of `visitor`, who takes the connection over. Raises BrokerUnavailable."""
        peer = self._peers.get(node)
        if peer is None or self._is_closed:
            raise BrokerUnavailable(f"{node} is no node of this cluster, or its address is not known")
        try:
            async with asyncio.timeout(HANDSHAKE_SECONDS):
                stream = await self._dial(node, peer.address, visitor)
                await stream.ended()
        except (OSError, ValueError) as error:  # TimeoutError is an OSError
            raise BrokerUnavailable(f"{node} at {peer.address} cannot be reached: {error}") from error
        if not stream.is_handed_over:
            raise BrokerUnavailable(f"{node} at {peer.address} did not let this node in")

    async def close(self) -> None:
        """Hang up. Calling it twice is allowed."""
        self._is_closed = True
        tasks = [peer.dialler for peer in self._peers.values()]
        self._peers.clear()
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
        shortest, longest = REDIAL_SECONDS
        pause = shortest if node > self.node_id else longest
        now = asyncio.get_running_loop().time
        seen_at = now()
        while True:
            stream = self._streams.get(node)
            if stream is None and node < self.node_id:
                await asyncio.sleep(longest)
                stream = self._streams.get(node)
            dialled_at = now()
            try:
                stream = stream or await self._dial(node, address, None)
                if await stream.ended():
                    seen_at = now()
                    if seen_at - dialled_at >= STEADY_SECONDS:
                        pause = shortest
                else:
                    self._missed(node, address, stream.reason, now() - seen_at)
            # A host's name that cannot be one is a ValueError.
            except (OSError, ValueError) as error:
                self._missed(node, address, str(error), now() - seen_at)
            await asyncio.sleep(pause)
            pause = min(2 * pause, longest)

    def _missed(self, node: str, address: str, reason: str, seconds: float) -> None:
        if seconds >= MISSED_SECONDS:
            text = f"{node} at {address} cannot be reached for {seconds:.0f} s: {reason}"
            self._news.warn("peer_unreachable", node, text, lines_max=1, peer=node)

    async def _dial(self, node: str, address: str, visitor: asyncio.Protocol | None) -> Stream:
        """Raises OSError."""
        host, _, port = address.rpartition(":")
        _, stream = await asyncio.get_running_loop().create_connection(
            lambda: Stream(self, dials=node, visit=visitor),
            host.strip("[]"),
            int(port),
            ssl=self.security.client,
            ssl_handshake_timeout=HANDSHAKE_SECONDS if self.security.client else None,
        )
        return stream

    # ------------------------------------------------------------ for streams

    def hello(self, target: str, purpose: Purpose) -> Hello:
        uuid, generation = self._disk
        nonce = secrets.token_bytes(NONCE_BYTES)
        return Hello(self.node_id, uuid, generation, target, self._client_address(), nonce, purpose)

    def admit(self, stream: Stream) -> bool:
        """Whether a new connection may begin to prove itself."""
        self._open.add(stream)
        # One that was accepted just before the port was closed would keep the server waiting for it.
        if self._is_closed:
            return False
        if not stream.is_dialled:
            if len(self._strangers) >= STREAMS_MAX:
                self._make_room()
            self._strangers[stream] = None
        return True

    def _make_room(self) -> None:
        held = Counter(stranger.host for stranger in self._strangers)
        greediest = max(held, key=held.__getitem__)
        oldest = next(stranger for stranger in self._strangers if stranger.host == greediest)
        self._news.warn(
            "port_crowded",
            greediest,
            f"{STREAMS_MAX} connections have not proved themselves, {held[greediest]} of them from {greediest}: "
            "its oldest is let go",
            lines_max=1,
        )
        del self._strangers[oldest]
        oldest.cut()

    def refused(self, whom: str, text: str) -> None:
        """What came over a stream was not believed. whom: the peer, or where the stranger is."""
        self._news.warn("peer_refused", whom, f"{whom}: {text}")

    def check(self, hello: Hello) -> None:
        """Raises AuthenticationFailed unless this hello is meant for us, from a disk that is let in: see `trust`."""
        if hello.target != self.node_id or hello.node_id == self.node_id:
            raise AuthenticationFailed(
                f"{hello.node_id} looks for {hello.target}, and this is {self.node_id}"
            )
        self._check_disk(hello.node_id, _disk_of(hello))

    def joined(self, stream: Stream, hello: Hello) -> int:
        """The stream is the peer's now; its epoch."""
        peer = hello.node_id
        older = self._streams.pop(peer, None)
        if older is not None:
            older.cut()
        self._strangers.pop(stream, None)
        self._epoch += 1
        self._streams[peer] = stream
        self._client_addresses[peer] = hello.client_address
        self._disks[peer] = disk = _disk_of(hello)
        self._take_in(peer, disk)
        self._news.note("peer_connected", peer, f"{peer} is connected", peer=peer, epoch=self._epoch)
        self._ears.connected(peer, self._epoch, disk)
        return self._epoch

    def _take_in(self, peer: str, disk: str) -> None:
        """Raises AuthenticationFailed."""
        if self._check_disk(peer, disk):
            self._believed.add(peer)
        else:
            self._believed.discard(peer)
            _log.debug(
                "peer_unbelieved", f"{peer} is followed, and not counted before the log says who it is"
            )

    def visited(self, hello: Hello) -> asyncio.Protocol:
        """Raises AuthenticationFailed for a node that is not among the peers, BrokerUnavailable when nobody is in."""
        if hello.node_id not in self._peers:
            raise AuthenticationFailed(f"{hello.node_id} is no node of this cluster")
        if self.on_visit is None or self._is_closed:
            raise BrokerUnavailable("this node takes no visits now")
        return self.on_visit(hello.node_id)

    def received(self, peer: str, epoch: int, frame: bytes) -> None:
        self._ears.receive(peer, epoch, unpack_message(frame))

    def left(self, stream: Stream, peer: str, epoch: int) -> None:
        self._open.discard(stream)
        self._strangers.pop(stream, None)
        if peer:
            if self._streams.get(peer) is stream:
                del self._streams[peer]
            self._news.note("peer_disconnected", peer, f"{peer} is disconnected", peer=peer, epoch=epoch)
            self._ears.disconnected(peer, epoch)


def _disk_of(hello: Hello) -> str:
    return _named(hello.node_uuid, hello.generation)


def _named(uuid: str, generation: int) -> str:
    return f"{uuid}/{generation}"
