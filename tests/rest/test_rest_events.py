"""The stream of events: what is pushed, what is filtered, where it goes on, and how it ends."""

from __future__ import annotations

import asyncio
import json
from base64 import urlsafe_b64encode
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_OID, uuid5

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.doors.serving import WAIT_S
from tests.rest.serving import Scripted, run, running, scripted
from tests.rest.test_rest_access import Keys
from tq.broker.access import Permission
from tq.broker.admission import Limits
from tq.broker.api.rest.events import BEARER, SUBPROTOCOL
from tq.broker.feed import Feed

EVENTS = "/api/v1/events"


def address(door: Scripted, query: str = "") -> str:
    return f"ws://{door.host}:{door.port}{EVENTS}{query}"


async def next_of(socket: ClientConnection) -> Any:
    async with asyncio.timeout(WAIT_S):
        return json.loads(await socket.recv())


def id_of(queue: str) -> str:
    return str(uuid5(NAMESPACE_OID, queue))


def tell(feed: Feed, *queues: str, size: int = 0) -> None:
    """One task update for each queue."""
    fields = (
        {"task_id": id_of(queue), "task_type": "t", "queue": queue, "status": "pending"} for queue in queues
    )
    feed.publish(1_700_000_000_000, "task_update", [each | {"error": "x" * size} for each in fields])


def test_what_happens_to_a_task_is_pushed_in_order(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with (
            running(tmp_path) as broker,
            connect(f"ws://{broker.addresses['rest']}{EVENTS}?types=task_update") as socket,
        ):
            task_id = await broker.submit(queue="default")
            await broker.work()
            events = [await next_of(socket) for _ in range(3)]

        assert [event["status"] for event in events] == ["pending", "in_progress", "completed"]
        assert {(event["type"], event["task_id"], event["queue"]) for event in events} == {
            ("task_update", task_id, "default")
        }
        assert events[0]["seq"] < events[1]["seq"] < events[2]["seq"]

    run(scenario())


def test_a_filter_in_the_address_holds_from_the_first_event() -> None:
    async def scenario() -> None:
        async with scripted() as door, connect(address(door, "?queues=b,c&types=task_update")) as socket:
            await door.until(lambda: door.feed.has_listeners)
            door.feed.publish(1, "stats", [{"pending_count": 1}])
            tell(door.feed, "a", "b", "c")

            assert [(await next_of(socket))["queue"] for _ in range(2)] == ["b", "c"]

    run(scenario())


@pytest.mark.parametrize(
    ("wish", "passes"),
    [
        ({"types": ["worker_update"]}, {"worker_update"}),
        ({"queues": ["b"]}, {"b", "worker_update"}),
        ({"task_ids": [id_of("a")]}, {"a", "worker_update"}),
        ({"task_types": ["u"]}, {"worker_update"}),
        ({"statuses": ["pending"]}, {"a", "b", "worker_update"}),
        ({}, {"a", "b", "worker_update"}),
    ],
    ids=["types", "queues", "ids", "task types", "statuses", "none"],
)
def test_a_filter_that_is_sent_replaces_the_one_before_and_is_confirmed(
    wish: dict[str, list[str]], passes: set[str]
) -> None:
    async def scenario() -> None:
        async with scripted() as door, connect(address(door, "?queues=nothing")) as socket:
            await socket.send(json.dumps(wish))
            confirmed = await next_of(socket)
            tell(door.feed, "a", "b")
            door.feed.publish(1, "worker_update", [{"worker_id": "w"}])
            door.feed.publish(1, "worker_update", [{"worker_id": "last"}])
            found = []
            while (event := await next_of(socket)).get("worker_id") != "last":
                found.append(event.get("queue", event["type"]))

        assert confirmed["type"] == "filter"
        assert {name: confirmed[name] for name in wish} == wish
        assert set(found) == passes and len(found) == len(passes)

    run(scenario())


def test_a_stream_goes_on_where_it_was_left() -> None:
    async def scenario() -> None:
        async with scripted() as door:
            async with connect(address(door)) as socket:
                await door.until(lambda: door.feed.has_listeners)
                tell(door.feed, "a", "b")
                first = await next_of(socket)
            async with connect(address(door, f"?since={first['seq']}")) as socket:
                tell(door.feed, "c")

                assert [(await next_of(socket))["queue"] for _ in range(2)] == ["b", "c"]

    run(scenario())


def test_a_gap_is_told() -> None:
    async def scenario() -> None:
        async with scripted(feed=Feed(2)) as door:
            async with connect(address(door)) as socket:
                await door.until(lambda: door.feed.has_listeners)
                tell(door.feed, "a")
                first = await next_of(socket)
                for queue in "bcd":
                    tell(door.feed, queue)
                    await next_of(socket)
            async with connect(address(door, f"?since={first['seq']}")) as socket:
                found = [await next_of(socket) for _ in range(3)]

        assert found[0] == {"type": "gap", "since": first["seq"]}
        assert [event["queue"] for event in found[1:]] == ["c", "d"]

    run(scenario())


def test_a_reader_that_falls_behind_is_dropped_with_a_reason_and_the_others_are_not() -> None:
    async def scenario() -> None:
        async with scripted(feed=Feed(50)) as door:
            async with (
                connect(address(door), max_queue=1, ping_interval=None) as slow,
                connect(address(door, "?queues=last"), ping_interval=None) as quick,
            ):
                await door.until(lambda: len(door.door.state.connections) == 2)
                slow.transport.pause_reading()
                published = 0
                while slow_is_served(door):
                    tell(door.feed, *["a"] * 10, size=20_000)
                    published += 10
                    await asyncio.sleep(0)
                    assert published < 20_000
                tell(door.feed, "last")
                assert (await next_of(quick))["queue"] == "last"

                slow.transport.resume_reading()
                seq = 0
                with pytest.raises(ConnectionClosed) as closed:
                    while True:
                        seq = (await next_of(slow))["seq"]

            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 4008
            assert f"since={seq}" in closed.value.rcvd.reason

    def slow_is_served(door: Scripted) -> bool:
        return len(door.feed._of_all) == 2

    run(scenario())


def test_a_dropped_reader_that_goes_on_not_reading_is_cut() -> None:
    async def scenario() -> None:
        limits = Limits(unread_ms=80, linger_ms=80)
        async with (
            scripted(feed=Feed(10), limits=limits) as door,
            connect(address(door), max_queue=1, ping_interval=None, close_timeout=0.1) as slow,
        ):
            await door.until(lambda: door.feed.has_listeners)
            slow.transport.pause_reading()
            while door.feed.has_listeners:
                tell(door.feed, *["a"] * 5, size=50_000)
                await asyncio.sleep(0)

            await door.until(lambda: door.door.connections_held == 0)

    run(scenario())


@pytest.mark.parametrize("said", ["{", "[]", '{"colour": ["red"]}', '{"queues": "a"}', b"\x00"])
def test_a_message_that_is_no_filter_ends_the_stream_with_what_is_wrong(said: str | bytes) -> None:
    async def scenario() -> None:
        async with scripted() as door, connect(address(door)) as socket:
            await socket.send(said)
            with pytest.raises(ConnectionClosed) as closed:
                await next_of(socket)

        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 4000
        assert closed.value.rcvd.reason

    run(scenario())


def test_a_message_too_long_ends_the_stream() -> None:
    async def scenario() -> None:
        async with scripted() as door, connect(address(door)) as socket:
            await socket.send("x" * 100_000)
            with pytest.raises(ConnectionClosed) as closed:
                await next_of(socket)

        assert closed.value.rcvd is not None and closed.value.rcvd.code == 1009

    run(scenario())


def test_a_broker_that_stops_says_so() -> None:
    async def scenario() -> None:
        async with scripted() as door, connect(address(door)) as socket:
            await door.until(lambda: door.feed.has_listeners)
            door.door.stop_accepting()
            with pytest.raises(ConnectionClosed) as closed:
                await next_of(socket)

        assert closed.value.rcvd is not None and closed.value.rcvd.code == 1012

    run(scenario())


def test_a_listener_that_hangs_up_leaves_nothing_behind() -> None:
    async def scenario() -> None:
        async with scripted() as door:
            async with connect(address(door)) as socket:
                await door.until(lambda: door.feed.has_listeners)
                socket.transport.abort()
            await door.until(lambda: not door.feed.has_listeners and not door.door.state.tasks)

    run(scenario())


@pytest.mark.parametrize(
    ("query", "status"),
    [("?since=x", 400), ("?since=-1", 400), ("?colour=red", 400), ("?types=everything", 400)],
)
def test_a_wrong_address_is_refused_before_the_stream(query: str, status: int) -> None:
    async def scenario() -> None:
        async with scripted() as door:
            with pytest.raises(InvalidStatus) as refused:
                await connect(address(door, query))

        assert refused.value.response.status_code == status
        assert json.loads(refused.value.response.body or b"")["code"] == "BAD_REQUEST"

    run(scenario())


def test_a_page_of_another_origin_hears_nothing() -> None:
    async def scenario() -> None:
        async with scripted() as door:
            with pytest.raises(InvalidStatus) as refused:
                await connect(address(door), origin="http://evil.example")  # type: ignore[arg-type]

        assert refused.value.response.status_code == 403

    run(scenario())


def bearer(key: str) -> str:
    return BEARER + urlsafe_b64encode(key.encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    ("named", "status"),
    [
        ({}, 401),
        ({"additional_headers": {"Authorization": "Bearer wrong"}}, 401),
        ({"additional_headers": {"Authorization": "Bearer work_tasks"}}, 403),
        ({"subprotocols": [SUBPROTOCOL, bearer("wrong")]}, 401),
        ({"subprotocols": [SUBPROTOCOL, BEARER + "x"]}, 401),
        ({"additional_headers": {"Authorization": "Bearer read_tasks"}}, 101),
        ({"subprotocols": [SUBPROTOCOL, bearer("read_tasks")]}, 101),
    ],
    ids=["none", "wrong", "not permitted", "wrong offered", "no key offered", "header", "offered"],
)
def test_a_stream_takes_a_key_that_may_read(named: dict[str, Any], status: int) -> None:
    async def scenario() -> None:
        async with scripted(access=Keys()) as door:
            if status == 101:
                async with connect(address(door), **named) as socket:
                    assert socket.subprotocol == (SUBPROTOCOL if "subprotocols" in named else None)
                    await door.until(lambda: door.feed.has_listeners)
                return
            with pytest.raises(InvalidStatus) as refused:
                await connect(address(door), **named)
            assert refused.value.response.status_code == status

    run(scenario())


def test_a_stream_ends_when_its_key_is_withdrawn() -> None:
    async def scenario() -> None:
        keys = Keys()
        async with scripted(access=keys, check_s=0.02) as door:
            headers = {"Authorization": "Bearer read_tasks"}
            async with connect(address(door), additional_headers=headers) as socket:
                await door.until(lambda: door.feed.has_listeners)
                del keys.known[str(Permission.READ_TASKS)]
                with pytest.raises(ConnectionClosed) as closed:
                    await next_of(socket)

        assert closed.value.rcvd is not None and closed.value.rcvd.code == 4001

    run(scenario())
