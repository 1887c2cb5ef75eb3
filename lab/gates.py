"""A network of loopback addresses with a gate in front of every node: it works on every machine, without rights.

Node k listens at 127.0.1.k and is known as 127.0.2.k, where its gate listens at the same ports and carries every byte
on. Who dials a node's Raft port says so in the hello of the peers' protocol, which the gate reads; who dials the
other port is a client. So a connection belongs to a pair of names and its two directions to two ways, and each can be
held, slowed or broken by itself. What a gate cannot do is lose a packet: TCP's own time-outs never go off behind it.

Gates run on an event loop in a thread of their own: a harness that is busy must not look like a slow network.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Collection, Coroutine, Sequence
from typing import TypeAlias, TypeVar

import uvloop

from lab.network import CLIENTS, Seat, Way
from tq.broker.replication.handshake import HELLO_BYTES_MAX, unpack_hello
from tq.errors import ProtocolError

CHUNK_BYTES = 64 * 1024
LENGTH_BYTES = 4
HELLO_SECONDS = 5.0
"""As long as the peers themselves wait for one."""
CALL_SECONDS = 10.0

_T = TypeVar("_T")
_Serve: TypeAlias = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[None, None, None]]


class Gates:
    """Serves `network.Network`. Made, it is open."""

    def __init__(self, nodes: Sequence[str]) -> None:
        self._loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="gates", daemon=True)
        self._thread.start()
        self._weather = _Weather()
        self._servers: list[asyncio.Server] = []
        self._serving: set[asyncio.Task[None]] = set()
        self._seats: dict[str, Seat] = {}
        for number, node in enumerate(nodes, start=1):
            self._seats[node] = self._call(self._open(node, f"127.0.1.{number}", f"127.0.2.{number}"))

    def seat(self, node: str) -> Seat:
        return self._seats[node]

    def cut(self, ways: Collection[Way], *, resets: bool) -> None:
        held, broken = ((), ways) if resets else (ways, ())
        self._call(self._weather.change(held=held, broken=broken))

    def slow(self, ways: Collection[Way], seconds: float) -> None:
        self._call(self._weather.change(late=dict.fromkeys(ways, seconds)))

    def heal(self) -> None:
        self._call(self._weather.change())

    def close(self) -> None:
        """Break every connection and end the thread."""
        self._call(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(CALL_SECONDS)
        self._loop.close()

    def _call(self, work: Coroutine[None, None, _T]) -> _T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(CALL_SECONDS)

    async def _open(self, node: str, host: str, known_as: str) -> Seat:
        """One gate for clients and one for peers, at ports that the system chose."""

        async def from_client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await self._carry(reader, writer, (CLIENTS, node), (host, tcp_port), b"")

        async def from_peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            peer, hello = await _hello(reader)
            await self._carry(reader, writer, (peer, node), (host, raft_port), hello)

        tcp_port = await self._listen(known_as, from_client)
        raft_port = await self._listen(known_as, from_peer)
        return Seat(host, known_as, tcp_port, raft_port)

    async def _listen(self, host: str, serve: _Serve) -> int:
        async def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            self._serving.add(task)
            try:
                await serve(reader, writer)
            except (OSError, ProtocolError, TimeoutError, asyncio.IncompleteReadError, RuntimeError):
                pass  # one end is gone (uvloop: RuntimeError), the way is broken, or nobody we know dialled
            finally:
                self._serving.discard(task)
                writer.transport.abort()

        server = await asyncio.start_server(accepted, host, 0, limit=CHUNK_BYTES)
        self._servers.append(server)
        port: int = server.sockets[0].getsockname()[1]
        return port

    async def _carry(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        way: Way,
        target: tuple[str, int],
        first: bytes,
    ) -> None:
        """Both directions of one connection, until both have ended or it is broken. first: was read already."""
        await self._weather.lets_pass(way)
        onward, outward = await asyncio.open_connection(*target, limit=CHUNK_BYTES)
        there = self._pump(reader, outward, way, first)
        back = self._pump(onward, writer, way[::-1], b"")
        pumps = [asyncio.ensure_future(pump) for pump in (there, back)]
        breaking = self._weather.on_break(way, (writer.transport, outward.transport))
        try:
            await asyncio.gather(*pumps)
        finally:
            breaking()
            for pump in pumps:
                pump.cancel()
            outward.transport.abort()

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, way: Way, data: bytes
    ) -> None:
        data = data or await _read(reader)
        while data:
            await self._weather.lets_pass(way)
            writer.write(data)
            await writer.drain()
            data = await _read(reader)
        # The end of a stream waits like any other packet: who is cut off does not hear that the other one died.
        await self._weather.lets_pass(way)
        if not writer.transport.is_closing():
            writer.write_eof()

    async def _close(self) -> None:
        for server in self._servers:
            server.close()
        serving = list(self._serving)
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)


class _Weather:
    """What happens to which way. Belongs to the gates' loop."""

    def __init__(self) -> None:
        self._held: set[Way] = set()
        self._broken: set[Way] = set()
        self._late: dict[Way, float] = {}
        self._changed = asyncio.Event()
        self._open: dict[object, tuple[Way, tuple[asyncio.WriteTransport, ...]]] = {}

    async def change(
        self, held: Collection[Way] = (), broken: Collection[Way] = (), late: dict[Way, float] | None = None
    ) -> None:
        self._held, self._broken, self._late = set(held), set(broken), late or {}
        self._changed.set()
        self._changed = asyncio.Event()
        for way, transports in list(self._open.values()):
            if self._is_broken(way):
                for transport in transports:
                    transport.abort()

    def on_break(self, way: Way, transports: tuple[asyncio.WriteTransport, ...]) -> Callable[[], None]:
        """Abort these when the way is broken in either direction, until the returned function is called."""
        key = object()
        self._open[key] = (way, transports)

        def forget() -> None:
            del self._open[key]

        return forget

    async def lets_pass(self, way: Way) -> None:
        """Return when bytes may go this way. Raises ConnectionResetError when the connection is broken."""
        if way in self._late:
            await asyncio.sleep(self._late[way])
        while way in self._held:
            await self._changed.wait()
        if self._broken and self._is_broken(way):
            raise ConnectionResetError(f"{way} is broken")

    def _is_broken(self, way: Way) -> bool:
        return way in self._broken or way[::-1] in self._broken


async def _read(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.read(CHUNK_BYTES)
    except ConnectionResetError:
        return b""


async def _hello(reader: asyncio.StreamReader) -> tuple[str, bytes]:
    """The first frame of a peer: its node id and the bytes."""
    async with asyncio.timeout(HELLO_SECONDS):
        length = await reader.readexactly(LENGTH_BYTES)
        if int.from_bytes(length, "big") > HELLO_BYTES_MAX:
            raise ProtocolError("a hello of this length is none")
        frame = await reader.readexactly(int.from_bytes(length, "big"))
    return unpack_hello(frame).node_id, length + frame
