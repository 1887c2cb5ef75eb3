"""The usual request, read and answered without h11: small, and plain in every respect.

h11 is exact and takes 150 microseconds for a small request and its answer. Nearly all requests of programs look the
same: one read holds the head, in plain ASCII, and the body has a Content-Length. Those are taken here, in 20.
Whatever is not exactly so (a head in pieces, chunks, a large body, an upgrade, `Expect`, anything odd) is not judged
here but left to h11, untouched. So this file decides only what is surely right, never what is wrong.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from http import HTTPStatus
from typing import NamedTuple

from starlette.types import ASGIApp, Message, Scope
from uvicorn.protocols.http.flow_control import FlowControl

from tq.logs import get_logger

_log = get_logger("rest")

HEAD_BYTES_MAX = 4 * 1024
"""Longer heads are unusual."""
BODY_BYTES_MAX = 64 * 1024
"""Held until it is complete: as much as uvicorn keeps of any request before the application reads."""
_HEAD = re.compile(
    rb"(GET|POST|DELETE) (/[!\"$-~]*) HTTP/1\.1\r\n((?:[A-Za-z0-9-]+:[ -~]*\r\n){1,40})\r\n", re.ASCII
)
_LENGTH = re.compile(rb"[0-9]{1,8}")
_UNUSUAL = frozenset(
    (b"transfer-encoding", b"expect", b"upgrade", b"te", b"trailer", b"proxy-connection", b"http2-settings")
)
_STATUS_LINES = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus
}
_WITHOUT_BODY = (204, 304)


class PlainRequest(NamedTuple):
    """headers: names in lower case, in order."""

    method: str
    target: bytes
    headers: list[tuple[bytes, bytes]]
    body: bytes


class Incomplete(NamedTuple):
    """A plain head, and the beginning of its body. bytes: how long head and body are together."""

    bytes: int


def plain_request(data: bytes | bytearray) -> PlainRequest | Incomplete | None:
    """The one request that data holds exactly, or begins; None = something for h11 to look at."""
    found = _HEAD.match(data, 0, HEAD_BYTES_MAX)
    if found is None:
        return None
    headers = []
    hosts, length = 0, -1
    for line in found[3].split(b"\r\n")[:-1]:
        name, _, value = line.partition(b":")
        name, value = bytes(name.lower()), bytes(value.strip(b" "))
        if name == b"content-length":
            if length >= 0 or not _LENGTH.fullmatch(value):
                return None
            length = int(value)
        elif name == b"host":
            hosts += 1
        elif name in _UNUSUAL or (name == b"connection" and value.lower() != b"keep-alive"):
            return None
        headers.append((name, value))
    whole = found.end() + max(length, 0)
    if hosts != 1 or length > BODY_BYTES_MAX or len(data) > whole:
        return None
    if len(data) < whole:
        return Incomplete(whole)
    return PlainRequest(found[1].decode(), bytes(found[2]), headers, bytes(data[found.end() :]))


class LeanCycle:
    """One such request on its way through the application. Has what uvicorn's protocol looks for in its own cycle."""

    def __init__(
        self,
        scope: Scope,
        body: bytes,
        transport: asyncio.Transport,
        flow: FlowControl,
        default_headers: list[tuple[bytes, bytes]],
        on_response: Callable[[], None],
    ) -> None:
        self.scope = scope
        self.disconnected = False
        self.keep_alive = True
        self.response_started = False
        self.response_complete = False
        self.message_event = asyncio.Event()
        self._body: bytes | None = body
        self._transport = transport
        self._flow = flow
        self._default_headers = default_headers
        self._on_response = on_response
        self._status = 0
        self._head: list[tuple[bytes, bytes]] = []
        self._chunks: list[bytes] = []

    async def run(self, app: ASGIApp) -> None:
        """Have the application answer. It answers errors itself; one that does not costs the connection."""
        try:
            await app(self.scope, self.receive, self.send)
        except Exception as error:  # noqa: BLE001  the top of a request's task
            _log.error("unexpected", f"a request failed: {type(error).__name__}", exc_info=error)
        finally:
            if not self.response_complete and not self._transport.is_closing():
                self._transport.close()

    async def receive(self) -> Message:
        """The body, whole; after that the end of the connection or of the answer, whichever is first."""
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body, "more_body": False}
        while not self.disconnected and not self.response_complete:
            self.message_event.clear()
            await self.message_event.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        """Gather the answer, and write all of it at once: answers here are documents, not streams."""
        if self._flow.write_paused and not self.disconnected:
            await self._flow.drain()
        if self.disconnected:
            return
        if message["type"] == "http.response.start":
            self.response_started = True
            self._status, self._head = message["status"], [*self._default_headers, *message["headers"]]
            return
        self._chunks.append(message.get("body", b""))
        if not message.get("more_body", False):
            self._write(b"".join(self._chunks))

    def _write(self, body: bytes) -> None:
        parts = [_STATUS_LINES[self._status]]
        has_length = self._status in _WITHOUT_BODY
        for name, value in self._head:
            parts += (name, b": ", value, b"\r\n")
            if name == b"content-length":
                has_length = True
        if not has_length:
            parts.append(b"content-length: %d\r\n" % len(body))
        if not self.keep_alive:
            parts.append(b"connection: close\r\n")  # the broker stops
        parts += (b"\r\n", body)
        self._transport.write(b"".join(parts))
        self.response_complete = True
        self.message_event.set()
        if not self.keep_alive:
            self._transport.close()
        self._on_response()
