"""One WebSocket connection: uvicorn's, on `websockets`, held to the door's limits like any other.

Nothing may escape a timer's callback: the broker's loop takes that for a defect and stops.
"""

from __future__ import annotations

import json
from contextlib import suppress
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from uvicorn.config import Config
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState
from websockets.exceptions import WebSocketException
from websockets.http11 import Response

from tq.broker.api.rest.errors import JSON, HttpFault, failed, upgrade_required
from tq.broker.api.rest.http_connection import Stuck
from tq.errors import BadRequest, TqError
from tq.logs import get_logger

if TYPE_CHECKING:
    from uvicorn._types import ASGISendEvent

    from tq.broker.api.rest.door import RestDoor


_log = get_logger("rest")


class EventSocket(WebSocketsSansIOProtocol):
    """Can be closed with a reason even while its peer takes nothing."""

    def __init__(
        self, door: RestDoor, config: Config, server_state: ServerState, app_state: dict[str, Any]
    ) -> None:
        super().__init__(config, server_state, app_state)
        self._door = door
        self._stuck = Stuck()
        self._refuse = self.conn.reject
        self.conn.reject = self._reject  # type: ignore[method-assign]  # the library's words, in our shape

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._door.left(self)

    async def send(self, message: ASGISendEvent) -> None:
        if message["type"] == "websocket.close":
            # uvicorn would wait for a peer that does not read, which is the one that must be told to go.
            self.writable.set()
        await super().send(message)

    async def run_asgi(self) -> None:
        """Serve the stream. uvicorn's own would log every refusal, and a broker that stops, as an error."""
        try:
            await self.app(self.scope, self.receive, self.send)
        except ClientDisconnected:
            return
        except Exception as error:  # noqa: BLE001  the top of a stream: a defect costs this stream, and is told
            _log.error("unexpected", f"a stream of events failed: {type(error).__name__}", exc_info=error)
            self.send_500_response()
        finally:
            if self.close_timer is None:
                self.transport.close()

    def _reject(self, status: int | HTTPStatus, text: str) -> Response:
        """A handshake that is none, answered like any wrong request."""
        fault: TqError | HttpFault = BadRequest(text.strip())
        if status == HTTPStatus.UPGRADE_REQUIRED:
            fault = upgrade_required(text.strip())
        elif status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            fault = failed()
        code, document = self._door.answers.document(fault)
        response = self._refuse(code, json.dumps(document, ensure_ascii=False))
        del response.headers["Content-Type"]
        response.headers["Content-Type"] = JSON
        return response

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
