"""The metrics port: what scrapers get, and what strangers may not do."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from http import HTTPStatus

import pytest
from prometheus_client import CollectorRegistry, Gauge
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_open_metrics

from tests.metrics.scrapes import WAIT_SECONDS, ask, read_answer
from tq import exposition
from tq.exposition import CONNECTIONS_MAX, CONTENT_TYPE, REQUEST_BYTES_MAX, Gate, MetricsDoor, Refusal

GET = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"


def with_door(scenario: Callable[[int], Awaitable[None]], gate: Gate | None = None) -> None:
    async def run() -> None:
        registry = CollectorRegistry()
        Gauge("tq_x", "X.", registry=registry).set(1)
        door = MetricsDoor(registry, gate)
        _, port = await door.open("127.0.0.1", 0)
        try:
            await scenario(port)
        finally:
            door.close()

    asyncio.run(run())


def test_a_scrape_gets_the_plain_format() -> None:
    async def scenario(port: int) -> None:
        status, headers, body = await ask(port, GET)
        assert status == "HTTP/1.1 200 OK"
        assert headers["content-type"] == CONTENT_TYPE
        assert body.endswith(b"tq_x 1.0\n")

    with_door(scenario)


def test_a_scrape_that_prefers_openmetrics_gets_it() -> None:
    async def scenario(port: int) -> None:
        accept = b"Accept: application/openmetrics-text;version=1.0.0,text/plain;q=0.5"
        _, headers, body = await ask(port, b"GET /metrics HTTP/1.1\r\n" + accept + b"\r\n\r\n")
        assert headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
        assert [family.name for family in parse_open_metrics(body.decode())] == ["tq_x"]

    with_door(scenario)


def test_a_connection_serves_scrape_after_scrape() -> None:
    async def scenario(port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(3):
            writer.write(GET)
            status, headers, _ = await read_answer(reader)
            assert (status, headers["connection"]) == ("HTTP/1.1 200 OK", "keep-alive")
        writer.write(GET.replace(b"Host: x", b"Connection: close"))
        await read_answer(reader)
        assert await asyncio.wait_for(reader.read(), WAIT_SECONDS) == b""
        writer.close()

    with_door(scenario)


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        (b"GET /metrics?name=x HTTP/1.1", "200 OK"),
        (b"GET / HTTP/1.1", "404 Not Found"),
        (b"GET /metricsx HTTP/1.1", "404 Not Found"),
        (b"POST /metrics HTTP/1.1", "405 Method Not Allowed"),
        (b"\xff\xfe \x00", "405 Method Not Allowed"),
    ],
    ids=["query", "root", "other", "post", "garbage"],
)
def test_anything_else_is_told_that_there_is_nothing_else(request_line: bytes, status: str) -> None:
    async def scenario(port: int) -> None:
        answered, _, _ = await ask(port, request_line + b"\r\n\r\n")
        assert answered == f"HTTP/1.1 {status}"

    with_door(scenario)


def test_head_gets_the_headers_only() -> None:
    async def scenario(port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"HEAD /metrics HTTP/1.0\r\n\r\n")
        answer = await asyncio.wait_for(reader.read(), WAIT_SECONDS)
        assert answer.startswith(b"HTTP/1.1 200 OK")
        assert answer.endswith(b"\r\n\r\n")
        writer.close()

    with_door(scenario)


@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
def test_a_gate_keeps_the_page_from_whoever_it_refuses(method: bytes) -> None:
    asked = []

    async def gate(authorization: str, address: str) -> Refusal | None:
        asked.append((authorization, address))
        return None if authorization == "Bearer right" else Refusal(HTTPStatus.UNAUTHORIZED, "who are you?")

    async def scenario(port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(method + b" /metrics HTTP/1.1\r\nAuthorization: Bearer wrong\r\n\r\n")
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        assert head.startswith("HTTP/1.1 401 Unauthorized\r\n")
        assert "\r\nWWW-Authenticate: Bearer\r\n" in head
        if method == b"GET":
            assert await reader.readexactly(len("who are you?\n")) == b"who are you?\n"

        writer.write(b"GET /metrics HTTP/1.1\r\nAuthorization: Bearer right\r\n\r\n")
        status, _, body = await read_answer(reader)
        assert (status, body[-8:]) == ("HTTP/1.1 200 OK", b"q_x 1.0\n")
        assert asked == [("Bearer wrong", "127.0.0.1"), ("Bearer right", "127.0.0.1")]
        assert (await ask(port, b"GET /other HTTP/1.1\r\n\r\n"))[0] == "HTTP/1.1 404 Not Found"
        writer.close()

    with_door(scenario, gate)


def test_a_request_without_an_end_is_cut_off() -> None:
    async def scenario(port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"x" * (4 * REQUEST_BYTES_MAX))
        try:
            rest = await asyncio.wait_for(reader.read(), WAIT_SECONDS)
        except ConnectionResetError:
            rest = b""
        assert rest == b""
        writer.close()
        assert (await ask(port, GET))[0] == "HTTP/1.1 200 OK"

    with_door(scenario)


def test_a_request_that_is_never_finished_is_hung_up_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exposition, "REQUEST_WAIT_S", 0.05)

    async def scenario(port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /met")
        assert await asyncio.wait_for(reader.read(), WAIT_SECONDS) == b""
        writer.close()

    with_door(scenario)


def test_a_scraper_that_stays_silent_is_hung_up_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exposition, "IDLE_WAIT_S", 0.05)

    async def scenario(port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        assert await asyncio.wait_for(reader.read(), WAIT_SECONDS) == b""
        writer.close()

    with_door(scenario)


def test_connections_that_say_nothing_do_not_keep_a_scraper_out() -> None:
    async def scenario(port: int) -> None:
        held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(CONNECTIONS_MAX)]
        for reader, writer in held:
            writer.write(GET)
            await read_answer(reader)
        # The first to come speaks again, so the second is the one that has been silent for longest.
        held[0][1].write(GET)
        await read_answer(held[0][0])
        assert (await ask(port, GET))[0] == "HTTP/1.1 200 OK"
        with suppress(ConnectionResetError):
            assert await asyncio.wait_for(held[1][0].read(), WAIT_SECONDS) == b""
        for reader, writer in (held[0], held[2]):
            writer.write(GET)
            assert (await read_answer(reader))[0] == "HTTP/1.1 200 OK"
        for _, writer in held:
            writer.close()

    with_door(scenario)


def test_a_door_that_closes_hangs_up() -> None:
    async def run() -> None:
        door = MetricsDoor(CollectorRegistry())
        _, port = await door.open("127.0.0.1", 0)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(GET)
        await read_answer(reader)
        door.close()
        assert await asyncio.wait_for(reader.read(), WAIT_SECONDS) == b""
        writer.close()

    asyncio.run(run())
