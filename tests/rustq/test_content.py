"""Messages put together from a channel's frames, and everything else left to the library."""

from __future__ import annotations

import asyncio
import random
from types import SimpleNamespace
from typing import cast

import aio_pika
from aiormq import spec
from aiormq.channel import Channel
from pamqp.body import ContentBody
from pamqp.header import ContentHeader

from tests.rustq.places import WAIT_SECONDS_MAX, Deployment
from tq.client.rustq.amqp import Link
from tq.client.rustq.content import Content
from tq.client.rustq.names import names_of
from tq.client.rustq.subscription import Delivery, Subscription

CLOSE = spec.Channel.Close(320, "it goes", 0, 0)


class Scene:
    """A channel of which there is only its queue of frames."""

    def __init__(self) -> None:
        self.taken: list[tuple[int | None, bytes]] = []
        self._frames: asyncio.Queue[tuple[int, object]] = asyncio.Queue()
        self.channel = cast(Channel, SimpleNamespace(frames=self._frames))
        Content(self.channel, lambda deliver, header, body: self.taken.append((deliver.delivery_tag, body)))

    async def put(self, *frames: object) -> None:
        """As the connection does."""
        for frame in frames:
            await self.channel.frames.put((1, frame))

    async def left(self) -> list[object]:
        """What the library's reader gets, in order."""
        found = []
        while not self._frames.empty():
            found.append((await self.channel.frames.get())[1])
            self.channel.frames.task_done()
        return found


def delivery(tag: int) -> spec.Basic.Deliver:
    return spec.Basic.Deliver("worker", tag, False, "", "queue")


def header(size: int) -> ContentHeader:
    return ContentHeader(body_size=size)


def test_messages_of_none_one_and_many_bodies_are_handed_on_whole_and_in_order() -> None:
    async def scene() -> Scene:
        here = Scene()
        await here.put(delivery(1), header(0))
        await here.put(delivery(2), header(3), ContentBody(b"one"))
        await here.put(delivery(3), header(6), ContentBody(b"ma"), ContentBody(b"ny"))
        assert len(here.taken) == 2, "the third is not whole yet"
        await here.put(ContentBody(b".."))
        assert await here.left() == []
        return here

    assert asyncio.run(scene()).taken == [(1, b""), (2, b"one"), (3, b"many..")]


def test_all_that_is_no_delivery_goes_to_the_library_and_content_that_was_returned_too() -> None:
    async def scene() -> None:
        here = Scene()
        returned = (spec.Basic.Return(312, "NO_ROUTE", "", "gone"), header(2), ContentBody(b"no"))
        others = (spec.Basic.QosOk(), *returned, spec.Basic.Ack(1))
        await here.put(others[0], delivery(1), header(0), *others[1:])
        assert await here.left() == list(others)
        assert here.taken == [(1, b"")]

    asyncio.run(scene())


def test_channel_that_is_closed_in_the_middle_of_a_message_hands_on_no_part_of_it() -> None:
    async def scene() -> None:
        for before in ((delivery(1),), (delivery(1), header(2)), (delivery(1), header(2), ContentBody(b"a"))):
            here = Scene()
            await here.put(*before, CLOSE)
            assert (await here.left(), here.taken) == ([CLOSE], [])
            stray = (header(1), ContentBody(b"b"))
            await here.put(*stray)
            assert (await here.left(), here.taken) == (list(stray), []), "it belongs to nothing"

    asyncio.run(scene())


def test_bodies_come_from_rabbitmq_as_they_were_published_and_calls_are_answered_between_them(
    deployment: Deployment,
) -> None:
    bodies = [random.Random(size).randbytes(size) for size in (0, 1, 300_000, 131_064, 131_065, 0, 5)]
    taken: list[Delivery] = []
    arrived = asyncio.Event()

    def receive(each: Delivery) -> None:
        taken.append(each)
        arrived.set()

    async def scene() -> None:
        link = Link(deployment.amqp_url, "tests", random.Random(1))
        subscription = Subscription(link, names_of(deployment.name), "worker", [10], receive)
        feed = await subscription.connect()
        async with asyncio.timeout(WAIT_SECONDS_MAX), deployment.stores() as (_, channel):
            for number, body in enumerate(bodies):
                message = aio_pika.Message(body, headers={"number": number})
                await channel.default_exchange.publish(message, deployment.name)
            await subscription.consume(feed)
            while len(taken) < len(bodies):
                await feed.channel.basic_qos(prefetch_count=10)
                arrived.clear()
                if len(taken) < len(bodies):
                    await arrived.wait()
            assert [(each.queue, each.body) for each in taken] == [(deployment.name, body) for body in bodies]
            await feed.ack([each.tag for each in taken])
        await feed.close()
        await subscription.close()

    asyncio.run(scene())
