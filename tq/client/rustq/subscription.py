"""Messages from RabbitMQ to one worker, and the answers back, on one channel that is made again when it is lost.

A message belongs to the channel it came on: when that is gone, RabbitMQ hands the message to somebody again, and answers
for it have nowhere to go. So every delivery carries its `Feed`, and answers for a dead feed are dropped.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from typing import NamedTuple

from aiormq import spec
from aiormq.abc import DeliveredMessage
from aiormq.channel import Channel
from pamqp.header import ContentHeader

from tq.client.rustq.amqp import LOST, RPC_SECONDS, Link, answered, close_channel, on_closed
from tq.client.rustq.content import Content
from tq.client.rustq.names import Declaration, QueueNames
from tq.errors import BrokerUnavailable
from tq.logs import get_logger

log = get_logger("rustq")

REDELIVERED = "x-tq-redelivered"
"""Header of a message that was put off: it had been redelivered before, which RabbitMQ does not know of a new message."""

DELETED = "the queue was deleted"
"""How the reason begins when RabbitMQ ended a consumer, which it does for this."""


class Delivery(NamedTuple):
    """One message in hand. lane: 0 goes first. queue: where it was read."""

    feed: Feed
    tag: int
    lane: int
    queue: str
    body: bytes
    is_redelivered: bool


class Feed:
    """One channel's deliveries, until it is lost."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self._open: dict[int, None] = {}
        self._newest = 0
        self.lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        on_closed(channel, self.lose)
        channel.on_consumer_cancel_callbacks.add(self._cancelled)

    def lose(self, reason: str) -> None:
        if not self.lost.done():
            self.lost.set_result(reason)

    @property
    def is_alive(self) -> bool:
        return not self.lost.done() and not self.channel.is_closed

    def took(self, tag: int) -> None:
        """A message came; RabbitMQ numbers them upwards."""
        self._open[tag] = None
        self._newest = tag

    async def ack(self, tags: Iterable[int]) -> None:
        """Answer for these, which have ended. As many as possible in one frame: it says `this one and all before`."""
        settled = sorted(tag for tag in tags if tag in self._open)
        for tag in settled:
            del self._open[tag]
        oldest = next(iter(self._open), self._newest + 1)
        covered = [tag for tag in settled if tag < oldest]
        if covered:
            await self._answer(lambda: self.channel.basic_ack(covered[-1], multiple=True, wait=False))
        for tag in settled[len(covered) :]:
            await self._answer(partial(self.channel.basic_ack, tag, wait=False))

    async def give_back(self, tag: int) -> None:
        """Let somebody else have it."""
        if self._open.pop(tag, 0) is None:
            await self._answer(partial(self.channel.basic_nack, tag, requeue=True, wait=False))

    async def stop(self, tags: Sequence[str]) -> None:
        """No more messages."""
        for tag in tags:
            await self._answer(partial(self.channel.basic_cancel, tag, timeout=RPC_SECONDS))

    async def close(self) -> None:
        await close_channel(self.channel)

    async def _answer(self, send: Callable[[], Awaitable[object]]) -> None:
        if not self.is_alive:
            return
        try:
            await answered(send())
        except LOST as error:
            self.lose(str(error))

    async def _cancelled(self, frame: spec.Basic.Cancel) -> None:
        self.lose(f"{DELETED} (consumer {frame.consumer_tag})")


class Subscription:
    """Consumers on the lanes of one queue."""

    def __init__(
        self,
        link: Link,
        names: QueueNames,
        consumer_id: str,
        shares: Sequence[int],
        receive: Callable[[Delivery], None],
    ) -> None:
        """shares: how many messages each consumer of the main queue may have in hand; their sum for the other lanes."""
        self._link = link
        self._names = names
        self._consumer_id = consumer_id
        self._shares = shares
        self._receive = receive
        self._tags: list[str] = []

    async def connect(self) -> Feed:
        """Declare the queues and open a channel. One try. Raises BrokerUnavailable, BadRequest."""
        queues = (*self._names.lanes, self._names.dead)
        problems = await self._link.declare(*map(Declaration, queues))
        for queue, problem in zip(queues, problems, strict=True):
            if problem:
                log.warning("queue_differs", f"queue {queue!r} is not as tq makes it: {problem}")
        self._tags = []
        return Feed(await self._link.channel(confirms=False))

    async def consume(self, feed: Feed) -> None:
        """Begin. Messages come before this returns. Raises BrokerUnavailable."""
        channel = feed.channel
        places: dict[str | None, tuple[int, str]] = {}
        Content(channel, partial(self._take, feed, places))
        try:
            for lane, queue in enumerate(self._names.lanes):
                for share in self._shares if queue == self._names.main else (sum(self._shares),):
                    await answered(channel.basic_qos(prefetch_count=share, timeout=RPC_SECONDS))
                    tag = f"{self._consumer_id}_{len(self._tags)}"
                    places[tag] = lane, queue
                    self._tags.append(tag)
                    await answered(
                        channel.basic_consume(queue, _unused, consumer_tag=tag, timeout=RPC_SECONDS)
                    )
        except LOST as error:
            await feed.close()
            await self._link.drop()
            raise BrokerUnavailable(f"RabbitMQ did not let the worker consume: {error}") from error

    async def stop(self, feed: Feed) -> None:
        """No more messages; those in hand may still be answered for."""
        await feed.stop(self._tags)

    async def close(self) -> None:
        await self._link.close()

    def _take(
        self,
        feed: Feed,
        places: dict[str | None, tuple[int, str]],
        delivered: spec.Basic.Deliver,
        header: ContentHeader,
        body: bytes,
    ) -> None:
        """places: consumer tag -> (lane, queue)."""
        tag = delivered.delivery_tag
        assert tag is not None
        feed.took(tag)
        is_redelivered = bool(delivered.redelivered) or REDELIVERED in (header.properties.headers or {})
        lane, queue = places[delivered.consumer_tag]
        self._receive(Delivery(feed, tag, lane, queue, body, is_redelivered))


async def _unused(_: DeliveredMessage) -> None:
    """`Content` takes the messages."""
