"""One WebSocket connection: uvicorn's, on `websockets`, held to the door's limits like any other.

Nothing may escape a timer's callback: the broker's loop takes that for a defect and stops.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from uvicorn.config import Config
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState
from websockets.exceptions import WebSocketException

from tq.broker.api.rest.http_connection import Stuck
from tq.errors import BadRequest

if TYPE_CHECKING:
    from uvicorn._types import ASGISendEvent

    from tq.broker.api.rest.door import RestDoor


class EventSocket(WebSocketsSansIOProtocol):
    """Can be closed with a reason even while its peer takes nothing."""

    def __init__(
        self, door: RestDoor, config: Config, server_state: ServerState, app_state: dict[str, Any]
    ) -> None:
        super().__init__(config, server_state, app_state)
        self._door = door
        self._stuck = Stuck()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._door.left()

    async def send(self, message: ASGISendEvent) -> None:
        if message["type"] == "websocket.close":
            # uvicorn would wait for a peer that does not read, which is the one that must be told to go.
            self.writable.set()
        await super().send(message)

    def handle_parser_exception(self) -> None:
        """What came is no WebSocket. Before the handshake uvicorn has no answer to that."""
        if self.conn.close_sent is not None:
            super().handle_parser_exception()
            return
        error = BadRequest("this is not a WebSocket handshake (RFC 6455)")
        self.transport.write(self._door.answers.raw(error))
        self.transport.close()

    def send_keepalive_ping(self) -> None:
        with suppress(WebSocketException):
            super().send_keepalive_ping()

    def keepalive_timeout(self) -> None:
        with suppress(WebSocketException):
            super().keepalive_timeout()

    def sweep(self, now_ms: int) -> None:
        """Cut the connection when its peer takes nothing; pings look after one that says nothing."""
        if self._stuck.is_over(self.transport, self._door.limits, now_ms):
            self.transport.abort()
