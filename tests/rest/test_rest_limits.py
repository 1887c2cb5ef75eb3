"""What a peer may cost: sizes, times, numbers; and that requests cannot be smuggled past each other."""

from __future__ import annotations

import asyncio
import json

import pytest

from tests.doors.serving import WAIT_S
from tests.rest.serving import (
    TASKS,
    Scripted,
    read_answer,
    read_to_end,
    request_bytes,
    run,
    scripted,
)
from tests.rest.test_rest_reads import VIEW
from tq.broker.admission import Limits
from tq.broker.api.rest.bodies import BODY_BYTES_MAX, SUBMIT_BODY_BYTES_MAX, Bodies
from tq.broker.api.rest.http_connection import Phase
from tq.broker.api.rest.lean import Incomplete, PlainRequest, plain_request
from tq.task import PAYLOAD_BYTES_MAX
from tq.verbs import GetStats, ListTasks, PauseQueue, Request, Submit, TaskPage

TASK = b'{"task_type":"t","task_id":"018f3c1e-7c2a-7b1e-9a55-3f1f6f3c2b10"}'
SHORT = Limits(handshake_ms=80, linger_ms=80, idle_ms=1_000, unread_ms=80)
CHUNKED = ("Content-Type: application/json", "Transfer-Encoding: chunked")


def chunk(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


# ---------------------------------------------------------------- sizes


@pytest.mark.parametrize(
    ("path", "bytes_max"), [(TASKS, SUBMIT_BODY_BYTES_MAX), (f"{TASKS}/purge", BODY_BYTES_MAX)]
)
def test_a_body_announced_too_large_is_refused_unread(path: str, bytes_max: int) -> None:
    async def scenario() -> None:
        async with scripted() as door:
            reader, writer = await door.dial()
            writer.write(request_bytes("POST", path, length=bytes_max + 1))
            answer = await read_answer(reader)

        assert (answer.status, answer.code) == (413, "PAYLOAD_TOO_LARGE")

    run(scenario())


def test_a_body_without_end_is_refused_where_the_limit_is_and_then_cut() -> None:
    async def scenario() -> None:
        async with scripted(limits=SHORT) as door:
            reader, writer = await door.dial()
            writer.write(request_bytes("POST", f"{TASKS}/purge", b"", *CHUNKED))
            sent = 0
            answering = asyncio.ensure_future(read_answer(reader))
            while not answering.done():
                writer.write(chunk(b" " * 16_384))
                sent += 16_384
                await writer.drain()
                await asyncio.sleep(0)
            assert (answering.result().status, answering.result().code) == (413, "PAYLOAD_TOO_LARGE")
            assert door.parts.bodies.held_bytes == 0

            await door.until(lambda: door.door.connections_held == 0)

    run(scenario())


def test_the_largest_payload_passes_and_one_byte_more_does_not() -> None:
    async def scenario() -> None:
        async with scripted() as door:
            largest = await door.http.post(
                TASKS, json={"task_type": "t", "payload_json": "x" * (PAYLOAD_BYTES_MAX - 2)}
            )
            over = await door.http.post(
                TASKS, json={"task_type": "t", "payload_json": "x" * (PAYLOAD_BYTES_MAX - 1)}
            )

        assert largest.status_code == 201
        assert (over.status_code, over.json()["code"]) == (413, "PAYLOAD_TOO_LARGE")

    run(scenario())


def test_all_bodies_together_are_bounded() -> None:
    async def scenario() -> None:
        async with scripted(bodies=Bodies(total_bytes_max=100_000)) as door:
            reader, writer = await door.dial()
            writer.write(request_bytes("POST", TASKS, b" " * 90_000, length=1_000_000))
            await door.until(lambda: door.parts.bodies.held_bytes == 90_000)

            refused = await door.http.post(TASKS, content=b" " * 20_000)
            writer.transport.abort()
            await door.until(lambda: not door.parts.bodies.held_bytes)
            passed = await door.http.post(TASKS, json={"task_type": "t"})

        assert (refused.status_code, refused.json()["code"]) == (503, "BROKER_UNAVAILABLE")
        assert passed.status_code == 201

    run(scenario())


def test_a_head_without_end_is_refused() -> None:
    async def scenario() -> None:
        async with scripted() as door:
            reader, writer = await door.dial()
            writer.write(b"GET / HTTP/1.1\r\n" + b"X-Filler: y\r\n" * 10_000)
            answer = await read_answer(reader)

            assert (answer.status, answer.code) == (400, "BAD_REQUEST")
            writer.close()

    run(scenario())


# ---------------------------------------------------------------- times


@pytest.mark.parametrize(
    "said",
    [
        b"GET",
        b"GET / HTTP/1.1\r\nHost: x\r\n",
        request_bytes("POST", TASKS, b"{", length=9),
        request_bytes("POST", TASKS, b"{", length=900_000),
    ],
    ids=["method", "head", "body", "large body"],
)
def test_a_request_that_does_not_arrive_is_told_so_and_ended(said: bytes) -> None:
    async def scenario() -> None:
        async with scripted(limits=SHORT) as door:
            reader, writer = await door.dial()
            writer.write(said)
            answer = await read_answer(reader)

            assert (answer.status, answer.code) == (408, "REQUEST_TIMEOUT")
            assert await read_to_end(reader) == b""
            await door.until(lambda: door.door.connections_held == 0)

    run(scenario())


def test_one_byte_at_a_time_is_not_enough_to_stay() -> None:
    async def scenario() -> None:
        async with scripted(limits=SHORT) as door:
            reader, writer = await door.dial()
            answering = asyncio.ensure_future(read_answer(reader))
            for byte in request_bytes("GET", "/livez", b"", "X-Filler: " + "y" * 10_000):
                if answering.done():
                    break
                writer.write(bytes([byte]))
                await asyncio.sleep(0.005)

            assert (await answering).status == 408

    run(scenario())


def test_a_connection_that_says_nothing_is_closed() -> None:
    async def scenario() -> None:
        async with scripted(limits=SHORT) as door:
            reader, _ = await door.dial()

            assert await read_to_end(reader) == b""

    run(scenario())


def test_a_peer_that_takes_no_answers_is_cut() -> None:
    async def scenario() -> None:
        async with scripted(limits=SHORT) as door:
            page = door.backend.replies[ListTasks]
            assert isinstance(page, TaskPage)
            door.backend.replies[ListTasks] = page._replace(
                tasks=(VIEW._replace(error="x" * 10_000),) * 1_000
            )
            _, writer = await door.dial()
            writer.transport.pause_reading()  # type: ignore[attr-defined]
            writer.write(request_bytes("GET", TASKS))

            await door.until(lambda: door.backend.seen)
            await door.until(lambda: door.door.connections_held == 0)

    run(scenario())


# ---------------------------------------------------------------- one request after the other


async def answers_to(door: Scripted, said: bytes, count: int) -> list[tuple[int, bytes]]:
    reader, writer = await door.dial()
    writer.write(said)
    found = [await read_answer(reader) for _ in range(count)]
    return [(answer.status, answer.body) for answer in found]


def test_requests_sent_ahead_are_answered_in_order() -> None:
    async def scenario() -> None:
        async with scripted() as door:
            said = [request_bytes("GET", path) for path in ("/livez", "/nothing", "/readyz", "/metrics")]
            found = await answers_to(door, b"".join(said), 4)

            assert [status for status, _ in found] == [200, 404, 200, 200]

    run(scenario())


def test_what_comes_while_a_request_is_answered_is_answered_after_it() -> None:
    async def scenario() -> None:
        async with scripted() as door:
            door.backend.hold = True
            reader, writer = await door.dial()
            writer.write(request_bytes("POST", "/api/v1/queues/q/resume"))
            await door.until(lambda: door.backend.held)
            writer.write(request_bytes("GET", "/nothing") + request_bytes("GET", "/metrics"))
            await writer.drain()
            door.backend.release()

            assert [(await read_answer(reader)).status for _ in range(3)] == [200, 404, 200]

    run(scenario())


SAID = {
    "get": request_bytes("GET", "/api/v1/stats"),
    "get with a query": request_bytes("GET", f"{TASKS}?limit=5&queue=a%20b"),
    "escaped path": request_bytes("POST", "/api/v1/queues/%C3%A4/pause"),
    "submit": request_bytes("POST", TASKS, TASK),
    "no content": request_bytes("DELETE", f"{TASKS}/{'0' * 32}"),
    "bad body": request_bytes("POST", TASKS, b"{"),
    "wrong path": request_bytes("GET", "/no"),
    "wrong method": request_bytes("POST", "/livez"),
    "head": request_bytes("HEAD", "/livez"),
    "wrong key": request_bytes("GET", "/livez", b"", "Authorization: Basic x"),
}


@pytest.mark.parametrize("name", SAID)
def test_a_request_in_one_piece_is_answered_like_the_same_in_two(name: str) -> None:
    """The first is read without h11, as is one whose body comes later; one whose head comes in pieces is read with it."""
    said = SAID[name]
    body_at = said.index(b"\r\n\r\n") + 4
    assert isinstance(plain_request(said), PlainRequest) == (name != "head")
    assert isinstance(plain_request(said[:body_at]), Incomplete) == (body_at < len(said))

    async def ask(door: Scripted, *pieces: bytes) -> tuple[list[bytes], list[Request]]:
        reader, writer = await door.dial()
        for piece in pieces:
            writer.write(piece)
            if piece is not pieces[-1]:
                await door.until(
                    lambda: any(
                        each.phase in (Phase.HEAD, Phase.BODY) for each in door.door.state.connections
                    )
                )
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), WAIT_S)
        writer.close()
        await door.until(lambda: not door.door.connections_held)
        seen, door.backend.seen = door.backend.seen, []
        return sorted(line for line in head.lower().split(b"\r\n") if not line.startswith(b"date")), seen

    async def scenario() -> None:
        async with scripted() as door:
            whole = await ask(door, said)
            assert whole == await ask(door, said[:10], said[10:])
            if body_at < len(said):
                assert whole == await ask(door, said[:body_at], said[body_at:])

    run(scenario())


AMBIGUOUS = {
    "two lengths": [f"Content-Length: {len(TASK)}", "Content-Length: 3"],
    "length and chunks": [f"Content-Length: {len(TASK)}", "Transfer-Encoding: chunked"],
    "chunks and something": ["Transfer-Encoding: chunked, identity"],
    "length with a sign": [f"Content-Length: +{len(TASK)}"],
    "length of a list": [f"Content-Length: {len(TASK)}, 3"],
    "space before the colon": [f"Content-Length : {len(TASK)}"],
    "no host": [],
}


@pytest.mark.parametrize("name", AMBIGUOUS)
def test_a_request_that_two_readers_would_read_differently_is_refused(name: str) -> None:
    async def scenario() -> None:
        async with scripted() as door:
            host = [] if name == "no host" else ["Host: x"]
            head = [f"POST {TASKS} HTTP/1.1", *host, "Content-Type: application/json", *AMBIGUOUS[name]]
            smuggled = request_bytes("POST", "/api/v1/queues/q/pause")
            reader, writer = await door.dial()
            writer.write("\r\n".join([*head, "", ""]).encode() + TASK + smuggled)
            answer = await read_answer(reader)

            assert (400 <= answer.status < 500) or answer.status == 501
            assert await read_to_end(reader) == b""
            assert [verb for verb in door.backend.seen if type(verb) in (PauseQueue, Submit)] == []

    run(scenario())


@pytest.mark.parametrize(
    "said",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 200,
        b"*1\r\n$4\r\nPING\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /\r\n\r\n",
        b"\r\n\r\n\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
        b"POST /api/v1/events HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: upgrade\r\n"
        b"Content-Length: 0\r\n\r\n",
    ],
    ids=["tls", "resp", "http/2", "http/0.9", "nothing", "half a websocket", "post as a websocket"],
)
def test_what_is_no_request_is_refused_and_harms_nobody(said: bytes) -> None:
    async def scenario() -> None:
        async with scripted(limits=SHORT) as door:
            reader, writer = await door.dial()
            writer.write(said)
            text = await read_to_end(reader)

            assert text == b"" or 400 <= int(text.split()[1]) < 500, text
            assert (await door.http.get("/api/v1/stats")).status_code == 200
            assert [type(verb) for verb in door.backend.seen] == [GetStats]

    run(scenario())


def test_an_answer_is_json_of_utf_8_and_not_to_be_guessed_at() -> None:
    async def scenario() -> None:
        async with scripted() as door:
            answer = await door.http.get("/api/v1/stats")

        assert json.loads(answer.content)
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "server" not in answer.headers and "date" in answer.headers

    run(scenario())
