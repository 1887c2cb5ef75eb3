"""The TCP door: listens, keeps the connections, flushes and sweeps them. `tcp_connection` is one of them."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable

from tq.broker.admission import Admission
from tq.broker.api.sweeper import Sweeper
from tq.broker.api.tcp_connection import TcpConnection
from tq.broker.observe import Observer
from tq.broker.service import Service
from tq.clock import Clock
from tq.errors import TqError
from tq.logs import get_logger
from tq.protocol.encoder import Encoder
from tq.verbs import Push

_log = get_logger("tcp")

BACKLOG = 1_024
"""Connections the kernel may hold for us while the loop is busy; a fleet that reconnects at once is that large."""
COMPLAINTS_MAX = 20
"""Lines about bad peers from one sweep to the next; the rest is counted."""
EVICTABLE_MS = 250
"""A connection that has not said hello by then makes room for a new one when the door is full: clients say it at once."""
CUT_MS = 1_000
"""An aborted socket is gone at the next turn of the loop; this only bounds a defect."""


class TcpDoor:
    """Every TCP connection of a broker. All methods run on the event loop.

    now_ms: the monotonic clock.
    encoder: shared by all connections, which saves each a buffer.
    is_full: all of them together have as many bytes of requests under way as they may.
    """

    def __init__(
        self, service: Service, admission: Admission, observer: Observer, clock: Clock, *, node_id: str
    ) -> None:
        self.service = service
        self.limits = admission.limits
        self.observer = observer
        self.node_id = node_id
        self.now_ms = clock.monotonic_ms
        self.encoder = Encoder()
        self.is_full = False
        self._bytes_in_flight = 0
        self._admission = admission
        self._complaints = 0
        self._connections: set[TcpConnection] = set()
        self._silent: dict[TcpConnection, int] = {}
        """since when those wait whose hello has not come; longest first"""
        self._unflushed: list[TcpConnection] = []
        self._server: asyncio.Server | None = None
        self._watcher: asyncio.Future[None] | None = None
        self._loop = asyncio.get_running_loop()
        limits = admission.limits
        self._sweeper = Sweeper(
            self._loop,
            self.now_ms,
            lambda: self._connections,
            self._each_second,
            limits.handshake_ms,
            limits.idle_ms,
            limits.unread_ms,
            limits.linger_ms,
        )

    # ------------------------------------------------------------ opening

    async def open(self, host: str, port: int, tls: ssl.SSLContext | None = None) -> tuple[str, int]:
        """Listen, and return the address taken: port 0 lets the system choose. Raises OSError.

        With TLS a connection counts from the end of its handshake on; the handshake has the hello's time-out.
        """
        handshake = self.limits.handshake_ms / 1000
        self._server = await self._loop.create_server(
            lambda: TcpConnection(self),
            host,
            port,
            backlog=BACKLOG,
            ssl=tls,
            ssl_handshake_timeout=handshake if tls else None,
            ssl_shutdown_timeout=self.limits.linger_ms / 1000 if tls else None,
        )
        self._sweeper.start()
        address = self._server.sockets[0].getsockname()
        return str(address[0]), int(address[1])

    def join(self) -> TcpConnection:
        """The protocol of a connection that somebody else has accepted."""
        self._sweeper.start()
        return TcpConnection(self)

    @property
    def connections_held(self) -> int:
        """Open sockets, those included that have been told to go."""
        return len(self._connections)

    # ------------------------------------------------------------ called by the connections

    def arrived(self, connection: TcpConnection) -> None:
        """Keep it or send it away. Those being told that there is no room do not count, and are bounded too."""
        refusal = self._admission.refuse_connection(self.observer.connections_open)
        if refusal is not None and self._makes_room():
            refusal = None
        self._connections.add(connection)
        self._silent[connection] = self.now_ms()
        self.observer.connections_open += 1
        self.observer.connections_total += 1
        if refusal is None:
            return
        self.observer.rejections[refusal.code] += 1
        if len(self._connections) > self.limits.connections_max + self.limits.refusals_max:
            connection.abort()
        else:
            connection.close(refusal, "too_many_connections")

    def spoke(self, connection: TcpConnection) -> None:
        """It has said hello."""
        self._silent.pop(connection, None)

    def _makes_room(self) -> bool:
        """Whether one that says nothing could be sent away, the one that has been silent for longest."""
        longest = next(iter(self._silent), None)
        if longest is None or self._silent[longest] > self.now_ms() - EVICTABLE_MS:
            return False
        longest.give_way()
        return True

    def departed(self, connection: TcpConnection, reason: str) -> None:
        """One no longer counts; its socket may take a moment longer."""
        self._silent.pop(connection, None)
        self.observer.connections_open -= 1
        self.observer.connections_closed[reason] += 1

    def left(self, connection: TcpConnection) -> None:
        self._connections.discard(connection)
        self._tell_watcher()

    def took(self, read_bytes: int) -> None:
        """So many more bytes of requests are under way. From the limit on, whoever is read next is read no further."""
        self._bytes_in_flight += read_bytes
        if self._bytes_in_flight > self.limits.bytes_in_flight_total_max:
            self.is_full = True

    def gave_back(self, read_bytes: int) -> None:
        """So many are answered, or of no interest any more."""
        self._bytes_in_flight -= read_bytes
        if self.is_full and self._bytes_in_flight <= self.limits.bytes_in_flight_total_max >> 1:
            self.is_full = False
            for connection in self._connections:
                connection.pace()

    def flush_soon(self, connection: TcpConnection) -> None:
        """Flush it at the end of this loop turn, together with all others that have something to send."""
        if not self._unflushed:
            self._loop.call_soon(self._flush)
        self._unflushed.append(connection)

    def may_complain(self) -> bool:
        """Whether one more bad peer may have its line in the log; a flood of them must not flood that, too."""
        self._complaints += 1
        return self._complaints <= COMPLAINTS_MAX

    def _flush(self) -> None:
        unflushed, self._unflushed = self._unflushed, []
        for connection in unflushed:
            connection.flush()
        self._tell_watcher()

    # ------------------------------------------------------------ once a second

    def _each_second(self) -> None:
        if self._complaints > COMPLAINTS_MAX:
            text = f"{self._complaints - COMPLAINTS_MAX} more connections were complained of"
            _log.warning("complaints_dropped", text)
        self._complaints = 0
        self.service.sweep()

    # ------------------------------------------------------------ closing, in this order

    def stop_accepting(self) -> None:
        """Let go of the port; those who are connected stay."""
        if self._server is not None:
            self._server.close()
            self._server = None

    def announce(self, push: Push) -> None:
        """Push to every connection."""
        for connection in self._connections:
            connection.push(push)

    def expel_strangers(self) -> None:
        """Let go of everybody whose key was withdrawn or changed."""
        for connection in list(self._connections):
            connection.expel()

    async def answered(self, time_out_ms: int) -> bool:
        """Wait until every request is answered and handed to its socket; False when time ran out first."""
        return await self._watch(self._is_quiet, time_out_ms)

    def say_goodbye(self, error: TqError) -> None:
        """Tell everybody why it ends here; they hang up, or are cut after `linger_ms`."""
        self.stop_accepting()
        for connection in list(self._connections):
            connection.close(error, "broker_stopped")

    async def emptied(self, time_out_ms: int) -> bool:
        """Wait until everybody has hung up; False when time ran out first."""
        return await self._watch(self._is_empty, time_out_ms)

    async def cut(self) -> None:
        """End what is left, and the door with it. Calling it twice is allowed, and without `open`, too."""
        self.stop_accepting()
        if self._connections:
            _log.info("connections_cut", f"{len(self._connections)} peers did not hang up in time")
        for connection in list(self._connections):
            connection.abort()
        await self._watch(self._is_empty, CUT_MS)
        self._sweeper.stop()

    def _is_quiet(self) -> bool:
        return not any(connection.unanswered_count for connection in self._connections)

    def _is_empty(self) -> bool:
        return not self._connections

    async def _watch(self, condition: Callable[[], bool], time_out_ms: int) -> bool:
        """Wait until the condition holds; it is looked at whenever a connection was flushed or has left."""
        deadline = self._loop.time() + time_out_ms / 1000
        while not condition():
            self._watcher = self._loop.create_future()
            try:
                await asyncio.wait_for(self._watcher, deadline - self._loop.time())
            except TimeoutError:
                return condition()
        return True

    def _tell_watcher(self) -> None:
        if self._watcher is not None and not self._watcher.done():
            self._watcher.set_result(None)
