"""The REST door: listens, keeps the connections, sweeps them, and closes in order.

uvicorn's protocols speak HTTP and WebSocket here; its `Server` is not used. That one installs signal handlers, wakes
ten times a second, has no time-out for a TLS handshake, and stops listening and serving in one step, while a broker
must let go of its port first and answer what is under way afterwards.
"""

from __future__ import annotations

import asyncio
from email.utils import formatdate
from functools import partial
from typing import cast

from uvicorn.config import Config
from uvicorn.server import ServerState

from tq.broker.admission import Admission
from tq.broker.api.rest.app import Parts, make_app
from tq.broker.api.rest.errors import ErrorAnswers
from tq.broker.api.rest.event_socket import EventSocket
from tq.broker.api.rest.http_connection import HttpConnection
from tq.broker.api.sweeper import Sweeper
from tq.broker.tls import TlsContext
from tq.errors import TqError
from tq.logs import get_logger
from tq.verbs import Push

_log = get_logger("rest")

BACKLOG = 1_024
MESSAGE_BYTES_MAX = 64 * 1024
"""Of one message of a WebSocket client: a filter."""
PING_S = 20.0
"""Between pings to a WebSocket client, and for its answer."""
EVICTABLE_MS = 250
"""A connection that has not asked anything for so long makes room for a new one when the door is full. Clients that
mean to ask do so at once; under a flood of connections this is the time that each of them gets."""
LOOKS_MAX = 8
"""Connections looked at for one that may go; the others are in the middle of a large request, and go on."""
CUT_S = 1.0
"""An aborted socket is gone at the next turn of the loop; this only bounds a defect."""


class RestDoor:
    """Every HTTP connection of a broker. All methods run on the event loop."""

    def __init__(self, parts: Parts, admission: Admission) -> None:
        self.limits = admission.limits
        self.now_ms = parts.clock.monotonic_ms
        self.answers = ErrorAnswers(parts.clock, parts.observer)
        self.state = ServerState()
        self.config = Config(
            make_app(parts, self.answers),
            http=HttpConnection,
            ws=cast("type[EventSocket]", partial(EventSocket, self)),
            ws_max_size=MESSAGE_BYTES_MAX,
            ws_ping_interval=PING_S,
            ws_ping_timeout=PING_S,
            ws_per_message_deflate=False,
            lifespan="off",
            log_config=None,
            # Its lines at `info` and `warning` are about single peers, and hold addresses with their queries.
            log_level="error",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=max(1, self.limits.idle_ms // 1000),
        )
        self.config.load()
        self._parts = parts
        self._admission = admission
        self._server: asyncio.Server | None = None
        self._emptied = asyncio.Event()
        self._fresh: dict[HttpConnection, int] = {}
        self._idle: dict[HttpConnection, int] = {}
        """since when those wait that have not asked anything yet, or nothing more; longest first"""
        self._loop = asyncio.get_running_loop()
        self._sweeper = Sweeper(
            self._loop,
            self.now_ms,
            lambda: cast("set[HttpConnection | EventSocket]", self.state.connections),
            self._stamp,
            self.limits.handshake_ms,
            self.limits.linger_ms,
        )

    # ------------------------------------------------------------ opening

    async def open(self, host: str, port: int, tls: TlsContext | None = None) -> tuple[str, int]:
        """Listen, and return the address taken: port 0 lets the system choose. Raises OSError."""
        self._stamp()
        self._server = await self._loop.create_server(
            lambda: HttpConnection(self),
            host,
            port,
            backlog=BACKLOG,
            ssl=tls.context if tls else None,
            ssl_handshake_timeout=self.limits.handshake_ms / 1000 if tls else None,
            ssl_shutdown_timeout=self.limits.linger_ms / 1000 if tls else None,
        )
        self._sweeper.start()
        address = self._server.sockets[0].getsockname()
        return str(address[0]), int(address[1])

    @property
    def connections_held(self) -> int:
        """Open sockets, WebSockets and those included that have been told to go."""
        return len(self.state.connections)

    # ------------------------------------------------------------ called by the connections

    def admit(self, connection: HttpConnection) -> TqError | None:
        """None when the connection that has just come may stay, if need be in the place of one that only waits."""
        refusal: TqError | None = self._admission.refuse_connection(self.connections_held - 1)
        if refusal is not None and (longest := self._longest_waiting()) is not None:
            # The place of one that had none of its own is none either.
            refusal = longest.refusal
            longest.give_way()
        self._fresh[connection] = self.now_ms()
        self._parts.observer.http_connections_open += 1
        return refusal

    def waits(self, connection: HttpConnection) -> None:
        """It has its answer, and may ask again."""
        self._idle[connection] = self.now_ms()

    def asks(self, connection: HttpConnection) -> None:
        """A whole request has come; from now on the broker is what it waits for."""
        self._fresh.pop(connection, None)
        self._idle.pop(connection, None)

    def _longest_waiting(self) -> HttpConnection | None:
        """Who gives way: somebody who has asked nothing yet, before somebody who did."""
        by_ms = self.now_ms() - EVICTABLE_MS
        for waiting in (self._fresh, self._idle):
            for _ in range(LOOKS_MAX):
                longest = next(iter(waiting), None)
                if longest is None or waiting[longest] > by_ms:
                    break
                if not longest.is_sending:
                    return longest
                waiting[longest] = waiting.pop(longest) + EVICTABLE_MS
        return None

    @property
    def is_flooded(self) -> bool:
        """So many are being told that there is no room that one more goes without a word."""
        return self.connections_held > self.limits.connections_max + self.limits.refusals_max

    def left(self, connection: HttpConnection | EventSocket) -> None:
        self._parts.observer.http_connections_open -= 1
        if isinstance(connection, HttpConnection):
            self.asks(connection)
        if not self.state.connections:
            self._emptied.set()

    # ------------------------------------------------------------ once a second

    def _stamp(self) -> None:
        """The Date header of answers; WebSockets hold the list itself, so it is changed and not replaced."""
        self.state.default_headers[:] = [
            (b"date", formatdate(self._parts.clock.now_ms() / 1000, usegmt=True).encode())
        ]

    # ------------------------------------------------------------ closing, in this order

    def stop_accepting(self) -> None:
        """Let go of the port, and end what only waits: long polls and streams. Calling it twice is allowed."""
        self._parts.stopping.set()
        if self._server is not None:
            self._server.close()
            self._server = None

    def announce(self, push: Push) -> None:
        """Nobody here takes pushes: streams are told by `stop_accepting`."""

    async def close(self, grace_ms: int) -> None:
        """Let what is under way be answered for so long, then cut. Calling it twice is allowed, and without `open`."""
        self.stop_accepting()
        connections = cast("list[HttpConnection | EventSocket]", list(self.state.connections))
        for connection in connections:
            connection.shutdown()
        if not await self._is_emptied(grace_ms / 1000):
            _log.info("connections_cut", f"{self.connections_held} HTTP peers did not hang up in time")
            for connection in cast("list[HttpConnection | EventSocket]", list(self.state.connections)):
                connection.transport.abort()
            await self._is_emptied(CUT_S)
        for task in list(self.state.tasks):
            task.cancel()
        await asyncio.gather(*self.state.tasks, return_exceptions=True)
        self._sweeper.stop()

    async def _is_emptied(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                while self.state.connections:
                    self._emptied.clear()
                    await self._emptied.wait()
        except TimeoutError:
            return False
        return True
