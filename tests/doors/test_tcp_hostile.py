"""The TCP door against peers that break the rules: they are told why, cut off, and nobody else notices."""

from __future__ import annotations

import asyncio
import json
import os
import struct
from io import StringIO

import pytest

from tests.doors.serving import run, serving
from tq import logs
from tq.broker.admission import Limits
from tq.broker.api.tcp import COMPLAINTS_MAX
from tq.errors import BrokerUnavailable, ProtocolError
from tq.ids import new_id
from tq.protocol.connection import Connection, Role
from tq.protocol.events import CloseReceived
from tq.protocol.frame_types import FrameType
from tq.protocol.frames import frame
from tq.task import TaskSpec
from tq.verbs import Done, Ping, Submit, Submitted

QUICK = Limits(handshake_ms=60, idle_ms=60, unread_ms=60, linger_ms=60)
"""Times short enough to be waited for; what a test waits for is still an event, never a time."""


def hello() -> bytes:
    core = Connection(Role.PEER)
    core.start_hello("client")
    return core.data_to_send()


BROKEN = {
    "a frame of no length": b"\0\0\0\0",
    "a frame over the limit": struct.pack(">IB", 2**31, 16),
    "the longest length there is": b"\xff\xff\xff\xff",
    "an unknown type": frame(250, b"\x90"),
    "a request before the hello": frame(FrameType.PING, b"\x91\x01"),
    "a reply to nothing": hello() + frame(FrameType.ACK, b"\x91\x01"),
    "a hello that is no array": frame(FrameType.HELLO, b"\xc1"),
    "a hello of an unknown role": frame(FrameType.HELLO, b"\x94\x01\xa4boss\xa0\xa0"),
    "a second hello": hello() + hello(),
    "nesting without end": frame(FrameType.HELLO, b"\x91" * 60_000),
    "a map that claims four billion entries": frame(FrameType.HELLO, b"\xdf\xff\xff\xff\xff"),
    "random bytes": bytes(range(7, 207)),
}


@pytest.mark.parametrize("data", BROKEN.values(), ids=BROKEN.keys())
def test_a_peer_that_breaks_the_protocol_is_told_and_cut_off_and_others_are_unharmed(data: bytes) -> None:
    async def scenario() -> None:
        async with serving() as here:
            honest = await here.dial()
            reader, writer = await here.stranger()
            writer.write(data)

            core = Connection(Role.PEER)
            core.start_hello("client")
            *_, last = core.receive(await reader.read(-1))

            assert isinstance(last, CloseReceived)
            assert isinstance(last.error, ProtocolError)
            writer.close()
            assert await honest.ask(Ping()) == Done()
            assert here.observer.connections_closed["protocol_error"] == 1

    run(scenario())


@pytest.mark.parametrize(
    ("data", "answer"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"HTTP/1.1 400"),
        (b"*1\r\n$4\r\nPING\r\n", b"-ERR"),
        (b"PING\r\n", b"-ERR"),
    ],
    ids=["HTTP", "RESP", "Redis inline"],
)
def test_a_client_of_another_protocol_gets_one_readable_line(data: bytes, answer: bytes) -> None:
    async def scenario() -> None:
        async with serving() as here:
            reader, writer = await here.stranger()
            writer.write(data)
            text = await reader.read(-1)

            assert text.startswith(answer)
            assert b"tq" in text
            writer.close()

    run(scenario())


def test_a_tls_client_on_a_plain_port_is_cut_off() -> None:
    async def scenario() -> None:
        async with serving() as here:
            reader, writer = await here.stranger()
            writer.write(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + os.urandom(64))

            await reader.read(-1)
            assert here.observer.connections_closed["protocol_error"] == 1
            writer.close()

    run(scenario())


def test_a_frame_that_comes_byte_by_byte_is_understood() -> None:
    async def scenario() -> None:
        async with serving() as here:
            client = await here.dial()
            request_id = client.core.send_request(Ping())
            for byte in client.core.data_to_send():
                client.writer.write(bytes([byte]))
                await client.writer.drain()
                await asyncio.sleep(0)

            assert await client.reply_to(request_id) == Done()

    run(scenario())


def test_a_peer_that_leaves_in_the_middle_of_a_frame_harms_nobody() -> None:
    async def scenario() -> None:
        async with serving() as here:
            honest, client = await here.dial(), await here.dial()
            client.core.send_request(Submit((TaskSpec(new_id(), "t", b"x" * 1000),)))
            client.writer.write(client.core.data_to_send()[:500])
            await client.writer.drain()
            client.writer.close()

            await here.until(lambda: here.observer.connections_open == 1)
            assert here.backend.tasks == {}
            assert await honest.ask(Ping()) == Done()

    run(scenario())


def test_a_peer_that_says_no_hello_in_time_is_told_and_closed() -> None:
    async def scenario() -> None:
        async with serving(QUICK) as here:
            reader, writer = await here.stranger()
            core = Connection(Role.PEER)
            core.start_hello("client")

            (closed,) = core.receive(await reader.read(-1))

            assert isinstance(closed, CloseReceived)
            assert closed.error is not None
            assert "hello" in closed.error.text
            assert here.observer.connections_closed["hello_time_out"] == 1
            writer.close()

    run(scenario())


def test_a_hello_that_drips_in_does_not_extend_its_time() -> None:
    async def scenario() -> None:
        async with serving(QUICK) as here:
            reader, writer = await here.stranger()
            writer.write(struct.pack(">IB", 60_000, FrameType.HELLO))
            while not reader.at_eof() and not here.observer.connections_closed:
                writer.write(b"\0")
                await asyncio.sleep(0.005)

            await reader.read(-1)
            assert here.observer.connections_closed["hello_time_out"] == 1
            writer.close()

    run(scenario())


def test_a_silent_peer_is_closed_and_one_that_pings_is_not() -> None:
    async def scenario() -> None:
        async with serving(Limits(idle_ms=200)) as here:
            silent, pinging = await here.dial(), await here.dial()
            while here.observer.connections_closed["idle"] == 0:
                assert await pinging.ask(Ping()) == Done()
                await asyncio.sleep(0.01)

            error = await silent.farewell()
            assert isinstance(error, BrokerUnavailable)
            assert "ping" in error.text
            assert await pinging.ask(Ping()) == Done()

    run(scenario())


def test_a_peer_that_waits_for_an_answer_is_not_idle() -> None:
    async def scenario() -> None:
        async with serving(Limits(idle_ms=60)) as here:
            silent, waiting = await here.dial(), await here.dial()
            here.backend.hold = True
            request_id = waiting.send(Ping())
            await here.until_held(1)
            await silent.farewell()

            here.backend.release()
            assert await waiting.reply_to(request_id) == Done()

    run(scenario())


def test_a_frame_that_never_ends_is_given_up() -> None:
    async def scenario() -> None:
        async with serving(QUICK) as here:
            client = await here.dial()
            client.writer.write(struct.pack(">IB", 1000, FrameType.PING) + b"\x91")

            assert isinstance(await client.farewell(), BrokerUnavailable)

    run(scenario())


def test_a_slow_frame_that_keeps_its_pace_may_take_longer_than_the_idle_time() -> None:
    async def scenario() -> None:
        limits = Limits(idle_ms=60, receive_bytes_per_s_min=1_000)
        async with serving(limits) as here:
            silent, slow = await here.dial(), await here.dial()
            request_id = slow.core.send_request(Submit((TaskSpec(new_id(), "t", b"x" * 100_000),)))
            data = slow.core.data_to_send()
            slow.writer.write(data[:50_000])  # good for 50 s at this pace
            await silent.farewell()

            slow.writer.write(data[50_000:])
            assert isinstance(await slow.reply_to(request_id), Submitted)

    run(scenario())


def test_a_crowd_of_bad_peers_does_not_flood_the_log() -> None:
    out = StringIO()
    logs.configure("warning", "json", out)
    bad = 3 * COMPLAINTS_MAX + 5  # two sweeps among them, and one third is still too many

    async def scenario() -> None:
        async with serving() as here:
            writers = [(await here.stranger())[1] for _ in range(bad)]
            for writer in writers:
                writer.write(b"\0\0\0\0")
            await here.until(lambda: here.observer.connections_closed["protocol_error"] == bad)
            await here.until(lambda: "complaints_dropped" in out.getvalue())

    run(scenario())
    events = [json.loads(line)["event"] for line in out.getvalue().splitlines()]
    assert events.count("connection_failed") < bad
