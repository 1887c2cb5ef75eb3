"""Messages with confirms: each learns what became of itself, and those of one turn leave in one write."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
from aiormq import exceptions
from aiormq.abc import ChannelFrame
from pamqp.common import FieldTable

from lab.servers import RabbitServer
from tests.rustq.places import Deployment
from tq.client.rustq.amqp import Link, close_channel
from tq.client.rustq.confirms import CONTENT_TYPE, PERSISTENT, Confirms

FULL: FieldTable = {"x-max-length": 1, "x-overflow": "reject-publish"}
WAIT_S = 30.0


@asynccontextmanager
async def confirming(deployment: Deployment) -> AsyncIterator[Confirms]:
    """A channel to RabbitMQ on which nobody else publishes, and the deployment's queue."""
    link = Link(deployment.amqp_url, "tests", random.Random(1))
    channel = await link.channel(confirms=True)
    await channel.queue_declare(deployment.name, durable=True)
    try:
        async with asyncio.timeout(WAIT_S):
            yield Confirms(channel)
    finally:
        await close_channel(channel)
        await link.close()


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """How many messages each write held that put any on a queue."""
    counts: list[int] = []
    put = asyncio.Queue.put

    async def counted(queue: asyncio.Queue[object], item: object) -> None:
        if isinstance(item, ChannelFrame) and (messages := item.payload.count(CONTENT_TYPE.encode())):
            counts.append(messages)
        await put(queue, item)

    monkeypatch.setattr(asyncio.Queue, "put", counted)
    yield counts


def test_messages_of_one_turn_leave_in_one_write_and_arrive_in_their_order(
    deployment: Deployment, written: list[int]
) -> None:
    async def scene() -> None:
        bodies = [b"%d" % number for number in range(50)]
        async with confirming(deployment) as confirms, deployment.stores() as (_, channel):
            await asyncio.gather(*[confirms.send(body, queue=deployment.name) for body in bodies[:40]])
            await asyncio.gather(*[confirms.send(body, queue=deployment.name) for body in bodies[40:]])
            queue = await channel.get_queue(deployment.name)
            assert [(await queue.get(no_ack=True)).body for _ in bodies] == bodies
        assert written == [40, 10]

    asyncio.run(scene())


def test_confirmed_message_is_persistent_json_with_its_headers(deployment: Deployment) -> None:
    async def scene() -> None:
        async with confirming(deployment) as confirms, deployment.stores() as (_, channel):
            await confirms.send(b"{}", queue=deployment.name, headers={"x-tq-reason": "why", "x-tq-at": 7})
            message = await (await channel.get_queue(deployment.name)).get(no_ack=True)
            assert (message.delivery_mode, message.content_type) == (PERSISTENT, CONTENT_TYPE)
            assert message.headers == {"x-tq-reason": "why", "x-tq-at": 7}

    asyncio.run(scene())


def test_each_of_a_mixed_lot_learns_what_became_of_itself(deployment: Deployment) -> None:
    async def scene() -> None:
        full, missing = f"{deployment.name}-full", f"{deployment.name}-missing"
        async with confirming(deployment) as confirms, deployment.stores() as (_, channel):
            await confirms.channel.queue_declare(full, durable=True, arguments=FULL)
            await confirms.send(b"first", queue=full)
            names = [deployment.name, missing, full, full, missing, deployment.name, deployment.name]
            sent = [confirms.send(b"%d" % n, queue=name) for n, name in enumerate(names)]
            ends = await asyncio.gather(*sent, return_exceptions=True)

            told = {missing: exceptions.PublishError, full: exceptions.DeliveryError}
            for name, end in zip(names, ends, strict=True):
                assert (type(end) is told[name]) if name in told else not isinstance(end, Exception), end
            queue = await channel.get_queue(deployment.name)
            assert [(await queue.get(no_ack=True)).body for _ in range(3)] == [b"0", b"5", b"6"]

    asyncio.run(scene())


@pytest.mark.parametrize("frames", [0, 1, 3])
def test_body_of_any_number_of_frames_arrives_whole(deployment: Deployment, frames: int) -> None:
    async def scene() -> None:
        async with confirming(deployment) as confirms, deployment.stores() as (_, channel):
            body = random.Random(frames).randbytes(frames * confirms.channel.max_content_size)
            for sent in (body, body + b"x"):
                await confirms.send(sent, queue=deployment.name)
                message = await (await channel.get_queue(deployment.name)).get(no_ack=True)
                assert message.body == sent

    asyncio.run(scene())


def test_those_who_wait_when_the_channel_is_lost_are_told_and_so_is_who_comes_after(
    deployment: Deployment, rabbit_server: RabbitServer
) -> None:
    async def scene() -> None:
        async with confirming(deployment) as confirms:
            rabbit_server.pause()
            try:
                sent = [confirms.send(b"1", queue=deployment.name) for _ in range(3)]
                # One waits for RabbitMQ, one is written in the turn in which the channel goes.
                await asyncio.sleep(0)
                sent.append(confirms.send(b"2", queue=deployment.name))
                closing = asyncio.ensure_future(confirms.channel.connection.close())
                ends = await asyncio.gather(*sent, return_exceptions=True)
            finally:
                rabbit_server.resume()
            assert [type(end) for end in ends] == [exceptions.ChannelInvalidStateError] * 4
            with pytest.raises(exceptions.ChannelInvalidStateError):
                confirms.send(b"3", queue=deployment.name)
            await asyncio.gather(closing, return_exceptions=True)

    asyncio.run(scene())
