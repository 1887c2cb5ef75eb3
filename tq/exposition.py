"""Metrics as Prometheus reads them, and a door for `GET /metrics` and nothing else; for brokers and workers.

The door is a few lines on the caller's event loop, for those who run no HTTP server: keep-alive, both text formats,
and a bound on everything a stranger may do (connections, size of a request, time).
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress
from http import HTTPStatus
from typing import NamedTuple, TypeAlias

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_open_metrics

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
OPEN_METRICS_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"
REQUEST_BYTES_MAX = 8 * 1024
REQUEST_WAIT_S = 5.0
"""A request that has begun is complete by then."""
IDLE_WAIT_S = 130.0
"""Between two requests of one connection: twice the longest scrape interval that is usual."""
CONNECTIONS_MAX = 32
"""Scrapers come by ones and twos. One more takes the place of whoever has been silent for longest."""


class Page(NamedTuple):
    content_type: str
    body: bytes


class Refusal(NamedTuple):
    """Why somebody gets no page. status: 401, 403 or 503."""

    status: HTTPStatus
    text: str


Gate: TypeAlias = Callable[[str, str], Awaitable[Refusal | None]]
"""(value of the header `Authorization`, the caller's host) -> a refusal, or None for whoever may scrape."""


def render(registry: CollectorRegistry) -> bytes:
    """Everything the registry holds, in the plain text format, `CONTENT_TYPE`."""
    return generate_latest(registry)


def page_for(registry: CollectorRegistry, accept: str) -> Page:
    """The same in the format that the header `Accept` prefers: OpenMetrics, or the plain text format."""
    if "application/openmetrics-text" in accept:
        body: bytes = generate_open_metrics(registry)  # type: ignore[no-untyped-call]
        return Page(OPEN_METRICS_TYPE, body)
    return Page(CONTENT_TYPE, render(registry))


class MetricsDoor:
    """Listens on a port of its own. `open`, then `close`."""

    def __init__(self, registry: CollectorRegistry, gate: Gate | None = None) -> None:
        """gate: None = everybody may scrape."""
        self._registry = registry
        self._gate = gate
        self._server: asyncio.Server | None = None
        self._writers: dict[asyncio.StreamWriter, None] = {}

    async def open(self, host: str, port: int, tls: ssl.SSLContext | None = None) -> tuple[str, int]:
        """Listen; returns the address, with the system's choice for port 0. Raises OSError."""
        self._server = await asyncio.start_server(
            self._serve,
            *(host, port),
            limit=REQUEST_BYTES_MAX,
            ssl=tls,
            ssl_handshake_timeout=None if tls is None else REQUEST_WAIT_S,
        )
        address = self._server.sockets[0].getsockname()
        return str(address[0]), int(address[1])

    @property
    def port(self) -> int:
        """Where it listens. It must be open."""
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    def close(self) -> None:
        """Stop listening and hang up on everybody."""
        if self._server is not None:
            self._server.close()
        for writer in tuple(self._writers):
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._writers) >= CONNECTIONS_MAX:
            self._writers.pop(longest := next(iter(self._writers)))
            longest.transport.abort()
        self._writers[writer] = None
        gone = (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError)
        with suppress(*gone):
            while await self._exchange(reader, writer):
                # To the end of the line: it has spoken last.
                self._writers[writer] = self._writers.pop(writer, None)
        self._writers.pop(writer, None)
        writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request and its answer; whether another may follow."""
        async with asyncio.timeout(IDLE_WAIT_S):
            first = await reader.readexactly(1)
        async with asyncio.timeout(REQUEST_WAIT_S):
            head = first + await reader.readuntil(b"\r\n\r\n")
            line, _, rest = head.decode("latin-1").partition("\r\n")
            headers = _headers_of(rest)
            method, _, target = line.partition(" ")
            # A body is not read, so what follows it would not be a request.
            is_last = (
                headers.get("connection", "").lower() == "close"
                or not line.endswith(" HTTP/1.1")
                or method not in ("GET", "HEAD")
                or bool(headers.keys() & {"content-length", "transfer-encoding"})
            )
            path = target.partition(" ")[0].partition("?")[0]
            refusal = _lost(method, path) or await self._refusal(headers, writer)
            if refusal is not None:
                # What HEAD asks for has no body, refused or not.
                has_body = method != "HEAD"
                answer = _answer(refusal.status, _told(refusal.text), is_last=is_last, has_body=has_body)
            else:
                page = page_for(self._registry, headers.get("accept", ""))
                answer = _answer(HTTPStatus.OK, page, is_last=is_last, has_body=method == "GET")
            writer.write(answer)
            await writer.drain()
        return not is_last

    async def _refusal(self, headers: dict[str, str], writer: asyncio.StreamWriter) -> Refusal | None:
        if self._gate is None:
            return None
        address = writer.get_extra_info("peername")
        return await self._gate(headers.get("authorization", ""), str(address[0]) if address else "")


def _lost(method: str, path: str) -> Refusal | None:
    """The refusal of a request for anything but the metrics."""
    if method not in ("GET", "HEAD"):
        return Refusal(HTTPStatus.METHOD_NOT_ALLOWED, "GET /metrics is all there is")
    if path != "/metrics":
        return Refusal(HTTPStatus.NOT_FOUND, "GET /metrics is all there is")
    return None


def _headers_of(lines: str) -> dict[str, str]:
    """Names in lower case; what is not a header is passed over."""
    parts = (line.partition(":") for line in lines.splitlines())
    return {name.strip().lower(): value.strip() for name, colon, value in parts if colon}


def _told(text: str) -> Page:
    return Page("text/plain; charset=utf-8", f"{text}\n".encode())


def _answer(status: HTTPStatus, page: Page, *, is_last: bool, has_body: bool = True) -> bytes:
    challenge = "WWW-Authenticate: Bearer\r\n" if status is HTTPStatus.UNAUTHORIZED else ""
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: {page.content_type}\r\n{challenge}"
        f"Content-Length: {len(page.body)}\r\nConnection: {'close' if is_last else 'keep-alive'}\r\n\r\n"
    )
    return head.encode() + (page.body if has_body else b"")
