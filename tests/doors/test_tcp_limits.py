"""The TCP door's limits: connections, bytes and requests in flight, unread answers."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from tests.doors.serving import WAIT_S, Dialler, Serving, run, serving
from tq.broker.admission import Limits
from tq.broker.api import tcp
from tq.errors import TooManyConnections
from tq.ids import new_id
from tq.protocol.connection import Connection, Role
from tq.protocol.events import CloseReceived
from tq.task import TaskSpec, TaskView
from tq.verbs import Done, Draining, GetTask, Ping, Submit


def test_one_connection_too_many_is_told_the_limit_and_the_others_stay() -> None:
    async def scenario() -> None:
        async with serving(Limits(connections_max=2)) as here:
            first, second = await here.dial(), await here.dial()
            reader, writer = await here.stranger()
            core = Connection(Role.PEER)
            core.start_hello("client")
            writer.write(core.data_to_send())

            (closed,) = core.receive(await reader.read(-1))

            assert isinstance(closed, CloseReceived)
            assert isinstance(closed.error, TooManyConnections)
            writer.close()
            assert await first.ask(Ping()) == await second.ask(Ping()) == Done()
            await first.hang_up()
            await here.until(lambda: here.observer.connections_open == 1)
            assert await (await here.dial()).ask(Ping()) == Done()

    run(scenario())


def test_who_has_not_said_hello_gives_way_to_who_comes_and_a_peer_never_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tcp, "EVICTABLE_MS", 0)

    async def scenario() -> None:
        async with serving(Limits(connections_max=3)) as here:
            first = await here.dial()
            silent = [await here.stranger() for _ in range(2)]
            silent[1][1].write(b"\0\0")
            await here.until(lambda: here.observer.connections_open == 3)
            others = [await here.dial() for _ in range(2)]

            for reader, _ in silent:
                with suppress(ConnectionResetError):
                    assert await reader.read(-1) == b""
            for peer in (first, *others):
                assert await peer.ask(Ping()) == Done()
            assert here.observer.connections_closed["made_room"] == 2
            told, _ = await here.stranger()
            assert await told.read(-1), "nobody is silent any more"

    run(scenario())


def test_more_refusals_than_can_be_spoken_at_a_time_are_dropped_without_a_word() -> None:
    async def scenario() -> None:
        async with serving(Limits(connections_max=1, refusals_max=1, linger_ms=int(WAIT_S * 1000))) as here:
            kept = await here.dial()
            told, _ = await here.stranger()
            assert await told.read(-1)
            dropped, _ = await here.stranger()

            with pytest.raises(ConnectionResetError):
                if not await dropped.read(-1):
                    raise ConnectionResetError
            assert await kept.ask(Ping()) == Done()
            assert here.observer.connections_open == 1

    run(scenario())


async def _stuff(here: Serving, client: Dialler, payload_bytes: int) -> int:
    """Send submits without reading answers until the door stops reading; returns how many it took."""
    sent = 0
    while not client.writer.transport.get_write_buffer_size():
        client.send(Submit((TaskSpec(new_id(), "t", b"x" * payload_bytes),)))
        sent += 1
        await asyncio.sleep(0)
    return sent


def test_a_connection_with_too_many_bytes_unanswered_is_not_read_until_half_are_answered() -> None:
    async def scenario() -> None:
        most = 256 * 1024
        async with serving(Limits(bytes_in_flight_max=most)) as here:
            greedy, honest = await here.dial(), await here.dial()
            here.backend.hold = True
            sent = await _stuff(here, greedy, 50_000)
            held = here.backend.held_count

            # One read may bring as much again; what is in the kernel's buffers is not ours to count.
            assert held * 50_000 <= most + 512 * 1024
            ping = honest.send(Ping())
            await here.until_held(held + 1)
            here.backend.release()
            assert await honest.reply_to(ping) == Done()
            await here.until(lambda: len(here.backend.tasks) == sent)

    run(scenario())


def test_all_connections_together_may_not_have_more_than_so_many_bytes_unanswered() -> None:
    async def scenario() -> None:
        async with serving(Limits(bytes_in_flight_total_max=300_000)) as here:
            first, second = await here.dial(), await here.dial()
            here.backend.hold = True
            for client in (first, second):
                client.send(Submit((TaskSpec(new_id(), "t", b"x" * 200_000),)))
            await here.until_held(2)
            assert here.door.is_full
            late = second.send(Ping())
            third = await here.dial()  # a round trip in which the late ping would have been read
            late_too = third.send(Ping())
            fourth = await here.dial()
            assert here.backend.held_count == 2

            here.backend.release()

            assert await second.reply_to(late) == await third.reply_to(late_too) == Done()
            assert await fourth.ask(Ping()) == Done()
            assert not here.door.is_full

    run(scenario())


def test_bytes_of_a_peer_that_has_left_no_longer_count() -> None:
    async def scenario() -> None:
        async with serving(Limits(bytes_in_flight_total_max=300_000)) as here:
            gone, stays = await here.dial(), await here.dial()
            here.backend.hold = True
            gone.send(Submit((TaskSpec(new_id(), "t", b"x" * 400_000),)))
            await here.until(lambda: here.door.is_full)
            gone.writer.transport.abort()
            # A connection that is not read is only seen to be gone once it is written to.
            while here.door.is_full:
                here.door.announce(Draining(1, ""))
                await asyncio.sleep(0.002)

            here.backend.release()
            assert await stays.ask(Ping()) == Done()

    run(scenario())


def test_a_connection_with_too_many_requests_unanswered_is_not_read_until_half_are_answered() -> None:
    async def scenario() -> None:
        async with serving(Limits(requests_in_flight_max=10)) as here:
            client = await here.dial()
            here.backend.hold = True
            first = [client.send(Ping()) for _ in range(10)]
            await here.until_held(10)
            late = client.send(Ping())
            honest = await here.dial()
            honest.send(Ping())
            await here.until_held(11)  # the honest one's; the late one waits in the kernel

            here.backend.release()
            assert [await client.reply_to(request_id) for request_id in (*first, late)] == [Done()] * 11

    run(scenario())


def test_a_peer_that_does_not_read_its_answers_is_closed_and_others_are_unharmed() -> None:
    async def scenario() -> None:
        limits = Limits(unread_ms=100, linger_ms=60, out_high_bytes=64 * 1024, out_low_bytes=1024)
        async with serving(limits) as here:
            deaf, honest = await here.dial(), await here.dial()
            task = TaskSpec(new_id(), "t", b"x" * 1024 * 1024)
            await honest.ask(Submit((task,)))
            deaf.stop_reading()
            for _ in range(30):
                deaf.send(GetTask(task.task_id))

            while here.observer.connections_closed["unread"] == 0:
                assert isinstance(await honest.ask(GetTask(task.task_id)), TaskView)
            await here.until(lambda: here.door.connections_held == 1)
            assert await honest.ask(Ping()) == Done()

    run(scenario())


def test_a_slow_reader_that_makes_progress_gets_all_its_answers() -> None:
    async def scenario() -> None:
        limits = Limits(unread_ms=200, unread_bytes_min=1, out_high_bytes=64 * 1024, out_low_bytes=1024)
        async with serving(limits) as here:
            client = await here.dial()
            task = TaskSpec(new_id(), "t", b"x" * 1024 * 1024)
            await client.ask(Submit((task,)))
            ids = [client.send(GetTask(task.task_id)) for _ in range(10)]

            for request_id in ids:
                view = await client.reply_to(request_id)
                assert isinstance(view, TaskView)
                await asyncio.sleep(0.02)
            assert here.observer.connections_closed["unread"] == 0

    run(scenario())


def test_a_peer_whose_unread_answers_pass_all_bounds_is_cut_at_once() -> None:
    async def scenario() -> None:
        limits = Limits(out_high_bytes=1024, out_low_bytes=512, out_max_bytes=1024 * 1024)
        async with serving(limits) as here:
            client = await here.dial()
            client.stop_reading()
            task = TaskSpec(new_id(), "t", b"x" * 1024 * 1024)
            await (await here.dial()).ask(Submit((task,)))
            here.backend.hold = True
            for _ in range(20):
                client.send(GetTask(task.task_id))
            await here.until_held(20)

            while here.observer.connections_closed["unread"] == 0:
                here.backend.release_one()
                await asyncio.sleep(0)

    run(scenario())
