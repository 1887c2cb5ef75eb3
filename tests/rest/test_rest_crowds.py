"""A full door: who gives way to whom, what probes get, and that a crowd holds no more than its share."""

from __future__ import annotations

import asyncio

import pytest

from tests.rest.serving import TASKS, Scripted, read_answer, read_to_end, request_bytes, run, scripted
from tq.broker.admission import Limits
from tq.broker.api.rest import door as rest_door
from tq.broker.api.rest.http_connection import Phase
from tq.verbs import GetStats

STATS = request_bytes("GET", "/api/v1/stats")
Dialled = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@pytest.fixture(autouse=True)
def _give_way_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rest_door, "EVICTABLE_MS", 0)


async def crowd(door: Scripted, count: int, said: bytes = b"") -> list[Dialled]:
    """So many connections, each of which has said this and no more."""
    made = []
    for _ in range(count):
        made.append(await door.dial())
        made[-1][1].write(said)
    await door.until(lambda: door.door.connections_held >= count)
    return made


async def asked(dialled: Dialled) -> int:
    dialled[1].write(STATS)
    return (await read_answer(dialled[0])).status


@pytest.mark.parametrize(
    ("said", "phase"),
    [
        (b"", Phase.FRESH),
        (b"GET /li", Phase.HEAD),
        (request_bytes("POST", TASKS, b"{", length=90), Phase.BODY),
    ],
    ids=["nothing", "half a head", "half a body"],
)
def test_who_only_waits_gives_way_to_who_comes_the_longest_first(said: bytes, phase: Phase) -> None:
    async def scenario() -> None:
        async with scripted(limits=Limits(connections_max=4)) as door:
            waiting = await crowd(door, 4, said)
            held = door.door.state.connections
            await door.until(lambda: all(each.phase is phase and not each.is_sending for each in held))
            assert [await asked(await door.dial()) for _ in range(3)] == [200] * 3

            for reader, _ in waiting[:3]:
                assert await read_to_end(reader) == b""
            await door.until(lambda: door.door.connections_held == 4)
            assert door.observer.http_connections_open == 4

    run(scenario())


def test_who_has_asked_something_stays_longer_than_who_has_not() -> None:
    async def scenario() -> None:
        async with scripted(limits=Limits(connections_max=3)) as door:
            first = await door.dial()
            assert await asked(first) == 200
            silent = await crowd(door, 3)
            newcomer = await door.dial()

            assert await read_to_end(silent[0][0]) == b""
            assert (await asked(newcomer), await asked(first)) == (200, 200)

    run(scenario())


def test_a_new_connection_has_a_moment_to_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rest_door, "EVICTABLE_MS", 60_000)

    async def scenario() -> None:
        async with scripted(limits=Limits(connections_max=2)) as door:
            waiting = await crowd(door, 2)
            late = await door.dial()

            assert await asked(late) == 503
            assert [await asked(each) for each in waiting] == [200, 200]

    run(scenario())


def test_a_body_that_keeps_coming_keeps_its_place() -> None:
    async def scenario() -> None:
        async with scripted(limits=Limits(connections_max=2, receive_bytes_per_s_min=1_000)) as door:
            reader, writer = await door.dial()
            task = b'{"task_type":"t","payload_json":"' + b"x" * 500_000
            writer.write(request_bytes("POST", TASKS, task, length=len(task) + 2))
            await door.until(lambda: door.parts.bodies.held_bytes)
            await crowd(door, 1)
            for _ in range(3):
                assert await asked(await door.dial()) == 200
            writer.write(b'"}')

            assert (await read_answer(reader)).status == 201

    run(scenario())


def test_a_door_full_of_busy_connections_answers_probes_and_tells_the_others() -> None:
    async def scenario() -> None:
        async with scripted(limits=Limits(connections_max=2, refusals_max=2)) as door:
            door.backend.hold = True
            busy = await crowd(door, 2, STATS)
            await door.until(lambda: len(door.backend.held) == 2)
            door.backend.hold = False
            told = await door.dial()
            told[1].write(STATS)
            answer = await read_answer(told[0])
            assert (answer.status, answer.code) == (503, "BROKER_UNAVAILABLE")
            assert answer.headers["retry-after"] == "5"
            for method in ("GET", "HEAD"):
                reader, writer = await door.dial()
                writer.write(request_bytes(method, "/livez"))
                assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
                await read_to_end(reader)

            for _, answer_held in door.backend.held:
                answer_held(door.backend.replies[GetStats])
            assert [(await read_answer(reader)).status for reader, _ in busy] == [200, 200]

    run(scenario())


def test_a_flood_of_connections_holds_no_more_sockets_than_can_be_told_so() -> None:
    async def scenario() -> None:
        async with scripted(limits=Limits(connections_max=2, refusals_max=3)) as door:
            door.backend.hold = True
            await crowd(door, 2, STATS)
            await door.until(lambda: len(door.backend.held) == 2)
            most = 0
            for _ in range(30):
                await door.dial()
                most = max(most, door.door.connections_held)
            reader, writer = await door.dial()
            writer.write(request_bytes("GET", "/livez"))

            # One more is here for the moment it takes to send it away.
            assert most <= 2 + 3 + 1
            assert b" 200 " in await reader.readuntil(b"\r\n")

    run(scenario())
