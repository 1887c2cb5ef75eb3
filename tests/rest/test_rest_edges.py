"""Where a request is just about wrong: exact limits, things said twice, refusals in one shape and in the log."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from io import StringIO

import pytest

from tests.doors.serving import WAIT_S
from tests.metrics.logged import logged
from tests.rest.serving import TASKS, Answered, Scripted, read_answer, request_bytes, run, scripted
from tests.rest.test_rest_access import Keys
from tests.rest.test_rest_reads import VIEW
from tq.broker.api.rest.http_connection import HEAD_BYTES_MAX
from tq.verbs import GetTask

ONE = f"{TASKS}/018f3c1e-7c2a-7b1e-9a55-3f1f6f3c2b10"
EVENTS = "/api/v1/events"
HANDSHAKE = {
    "connection": "Upgrade",
    "upgrade": "websocket",
    "sec-websocket-version": "13",
    "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
}


@pytest.fixture
def log() -> Iterator[StringIO]:
    """What is written from `debug` up, by tq and by the libraries."""
    with logged("debug") as kept:
        yield kept.stream


def lines(log: StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in log.getvalue().splitlines()]


async def handshake(door: Scripted, target: str, **changed: str) -> Answered:
    """The answer to a WebSocket handshake, with some of its headers changed, or left out when empty."""
    headers = HANDSHAKE | {name.replace("_", "-"): value for name, value in changed.items()}
    said = [f"{name}: {value}" for name, value in headers.items() if value]
    reader, writer = await door.dial()
    writer.write(request_bytes("GET", target, b"", *said))
    return await read_answer(reader)


# ---------------------------------------------------------------- heads


def head_of(size: int) -> bytes:
    bare = request_bytes("GET", "/livez", b"", "X-Filler: ")
    return bare.replace(b"X-Filler: ", b"X-Filler: " + b"y" * (size - len(bare)))


@pytest.mark.parametrize("pieces", [1, 2, 20], ids=["whole", "in two", "in many"])
@pytest.mark.parametrize(("size", "status"), [(HEAD_BYTES_MAX, 200), (HEAD_BYTES_MAX + 1, 400)])
def test_a_head_may_be_as_large_as_the_limit_and_not_a_byte_larger(
    size: int, status: int, pieces: int
) -> None:
    async def scenario() -> None:
        async with scripted() as door:
            reader, writer = await door.dial()
            said, step = head_of(size), -(-size // pieces)
            for start in range(0, size, step):
                writer.write(said[start : start + step])
                await asyncio.sleep(0)

            assert (await read_answer(reader)).status == status

    run(scenario())


def test_the_head_of_a_request_sent_ahead_has_the_same_limit() -> None:
    async def scenario() -> None:
        async with scripted() as door:
            reader, writer = await door.dial()
            writer.write(head_of(HEAD_BYTES_MAX) + head_of(HEAD_BYTES_MAX + 1))

            assert [(await read_answer(reader)).status for _ in range(2)] == [200, 400]

    run(scenario())


# ---------------------------------------------------------------- parameters


@pytest.mark.parametrize(
    ("target", "names"),
    [
        (f"{TASKS}?limit=5&limit=6", ["limit"]),
        (f"{TASKS}?status=pending&queue=a&status=pending&queue=", ["status", "queue"]),
        (f"{ONE}?wait=1&wait=1", ["wait"]),
        (f"{TASKS}?lim%69t=1&limit=2", ["limit"]),
    ],
    ids=["once more", "two", "alike", "escaped"],
)
def test_a_parameter_that_is_given_twice_is_refused_by_name(target: str, names: list[str]) -> None:
    async def scenario() -> None:
        async with scripted() as door:
            answer = await door.http.get(target)
            assert door.backend.seen == []

        assert answer.status_code == 400
        assert answer.json()["error"] == "; ".join(f"{name}: is given more than once" for name in names)

    run(scenario())


def test_a_wait_may_be_a_fraction_of_a_second() -> None:
    async def scenario() -> None:
        async with scripted() as door:
            door.backend.replies[GetTask] = VIEW
            started = asyncio.get_running_loop().time()
            answer = await door.http.get(f"{ONE}?wait=0.05")
            took = asyncio.get_running_loop().time() - started

        assert answer.status_code == 200
        assert 0.05 <= took < WAIT_S

    run(scenario())


@pytest.mark.parametrize("wait", ["-1", "60.1", "1e1", "nan", "inf", ".5", "1.", "%201"])
def test_a_wait_that_is_no_number_of_seconds_is_refused(wait: str) -> None:
    async def scenario() -> None:
        async with scripted() as door:
            answer = await door.http.get(f"{ONE}?wait={wait}")

        assert answer.status_code == 400
        assert answer.json()["error"].startswith("wait: ")

    run(scenario())


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("statuses=pending,complete", "statuses[1]"),
        ("task_ids=mine", "task_ids[0]"),
        ("types=task_updates", "types[0]"),
        ("queues=a%00b", "queues[0]"),
        ("since=1&since=1", "since"),
        ("queue=mail", "queue"),
    ],
)
def test_a_filter_that_no_event_can_pass_is_refused_by_name(query: str, name: str) -> None:
    async def scenario() -> None:
        async with scripted() as door:
            answer = await handshake(door, f"{EVENTS}?{query}")

        assert answer.status == 400
        assert str(json.loads(answer.body)["error"]).startswith(f"{name}: ")

    run(scenario())


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("target", "changed", "status"),
    [
        (f"{EVENTS}?x=1", {}, 400),
        (EVENTS, {"origin": "http://elsewhere.example"}, 403),
        (EVENTS, {"authorization": "Bearer wrong"}, 401),
        ("/nothing", {}, 404),
        (EVENTS, {"sec_websocket_key": ""}, 400),
        (EVENTS, {"sec_websocket_version": "8"}, 400),
    ],
    ids=["filter", "origin", "key", "path", "handshake", "version"],
)
def test_a_refused_websocket_is_told_why_like_any_request_and_is_no_error_of_the_broker(
    target: str, changed: dict[str, str], status: int, log: StringIO
) -> None:
    async def scenario() -> None:
        async with scripted(access=Keys() if "authorization" in changed else None) as door:
            answer = await handshake(door, target, **changed)
            assert answer.status == status
            assert answer.headers["content-type"] == "application/json"
            assert json.loads(answer.body).keys() == {"error", "code", "outcome", "timestamp"}
            await door.until(lambda: not door.door.connections_held)

    run(scenario())
    assert [line["event"] for line in lines(log) if line["level"] != "debug"] == []


def test_a_stream_that_is_cut_when_the_broker_stops_is_no_error(log: StringIO) -> None:
    async def scenario() -> None:
        async with scripted() as door:
            reader, writer = await door.dial()
            said = [f"{name}: {value}" for name, value in HANDSHAKE.items()]
            writer.write(request_bytes("GET", EVENTS, b"", *said))
            async with asyncio.timeout(WAIT_S):
                assert b" 101 " in await reader.readuntil(b"\r\n\r\n")

    run(scenario())
    assert [line["event"] for line in lines(log) if line["level"] not in ("debug", "info")] == []


def test_a_refused_request_has_a_line_at_debug_without_payload_or_key(log: StringIO) -> None:
    async def scenario() -> None:
        async with scripted(access=Keys()) as door:
            await door.http.post(
                TASKS,
                json={"task_type": "", "payload": "secret"},
                headers={"authorization": "Bearer submit_tasks"},
            )
            await door.http.get(TASKS, headers={"authorization": "Bearer secret"})

    run(scenario())
    found = [line for line in lines(log) if line["event"] == "request_refused"]
    assert [(line["code"], line["component"]) for line in found] == [
        ("BAD_REQUEST", "rest"),
        ("AUTHENTICATION_FAILED", "rest"),
    ]
    assert "secret" not in log.getvalue()


# ---------------------------------------------------------------- what OpenAPI says


def test_openapi_names_the_errors_that_can_happen() -> None:
    async def scenario() -> None:
        async with scripted() as door:
            paths = (await door.http.get("/openapi.json")).json()["paths"]
            not_allowed = await door.http.get(f"{TASKS}/batch")

        operations = {
            (path, method): operation for path, item in paths.items() for method, operation in item.items()
        }
        assert all("500" in each["responses"] for each in operations.values())
        with_405 = {name for name, each in operations.items() if "405" in each["responses"]}
        assert with_405 == {(f"{TASKS}/{{task_id}}", "get"), (f"{TASKS}/{{task_id}}", "delete")}
        assert not_allowed.status_code == 405
        assert all(
            ("501" in each["responses"]) == (each.get("x-tq-verb") not in (None, "Ping", "GetHealth"))
            for each in operations.values()
        )

    run(scenario())


def test_the_page_of_the_docs_shows_every_call_and_asks_nobody_for_anything() -> None:
    async def scenario() -> None:
        async with scripted() as door:
            page = await door.http.get("/docs")
            paths = (await door.http.get("/openapi.json")).json()["paths"]

        assert page.headers["content-type"] == "text/html; charset=utf-8"
        assert page.headers["content-security-policy"].startswith("default-src 'none'")
        assert all(f"<code>{path}</code>" in page.text for path in paths)
        assert not re.search(r"""(src|href)\s*=\s*["']?(https?:)?//|<script|@import|url\(""", page.text)

    run(scenario())
