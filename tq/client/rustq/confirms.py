"""Messages on one channel with confirms: what is published in one turn of the loop leaves in one write.

`Channel.basic_publish` of the library takes a lock, two contexts with time-outs and a write for each message, which is two
thirds of what it costs to put one on a queue. Here its frames go straight into the library's queue of what is to be written;
numbers and confirms stay the library's. So nobody else may publish on the channel.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator, Mapping

from aiormq import exceptions, spec
from aiormq.abc import ChannelFrame
from aiormq.channel import Channel
from pamqp.body import ContentBody
from pamqp.frame import marshal
from pamqp.header import ContentHeader

from tq.client.rustq.amqp import on_closed

PERSISTENT = 2
CONTENT_TYPE = "application/json"


class Confirms:
    """Belongs to one channel and ends with it."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self._name = uuid.uuid4().hex
        self._waiting: list[bytes] = []
        """frames, marshalled"""
        self._writing: asyncio.Task[None] | None = None
        self._head: tuple[str, bytes] = ("", b"")
        """the frame before the last message, which the next one for the same queue has too"""
        on_closed(channel, self._lose)

    def send(
        self, body: bytes, *, queue: str, headers: Mapping[str, str | int] | None = None
    ) -> asyncio.Future[object]:
        """Done once RabbitMQ has the message on disk; fails with the library's PublishError (there is no such queue),
        DeliveryError (not taken), or when the channel is lost.

        Raises ChannelInvalidStateError when it is lost already.
        """
        channel = self.channel
        if channel.is_closed:
            raise exceptions.ChannelInvalidStateError("closed")
        tag = channel.delivery_tag + 1
        # The library finds by its id what is sent back, for there is no such queue.
        message_id = f"{self._name}-{tag}"
        frames = b"".join(self._frames(body, queue, headers, message_id))
        channel.delivery_tag = tag
        confirmed: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        channel.confirmations[tag] = confirmed
        channel.message_id_delivery_tag[message_id] = tag

        def over(_: asyncio.Future[object]) -> None:
            channel.message_id_delivery_tag.pop(message_id, None)
            if not confirmed.cancelled():
                confirmed.exception()  # whoever waited may have gone

        confirmed.add_done_callback(over)
        self._waiting.append(frames)
        if self._writing is None:
            self._writing = asyncio.get_running_loop().create_task(self._write())
        return confirmed

    def _frames(
        self, body: bytes, queue: str, headers: Mapping[str, str | int] | None, message_id: str
    ) -> Iterator[bytes]:
        number = self.channel.number
        if self._head[0] != queue:
            head = spec.Basic.Publish(exchange="", routing_key=queue, mandatory=True)
            self._head = queue, marshal(head, number)
        yield self._head[1]
        properties = spec.Basic.Properties(
            delivery_mode=PERSISTENT,
            content_type=CONTENT_TYPE,
            message_id=message_id,
            headers=dict(headers) if headers else None,
        )
        yield marshal(ContentHeader(properties=properties, body_size=len(body)), number)
        size = self.channel.max_content_size
        for start in range(0, len(body), size):
            yield marshal(ContentBody(body[start : start + size]), number)

    async def _write(self) -> None:
        """One at a time: the order of the messages is their numbers."""
        while self._waiting:
            frames, self._waiting = self._waiting, []
            await self.channel.write_queue.put(ChannelFrame(payload=b"".join(frames), should_close=False))
        self._writing = None

    def _lose(self, reason: str) -> None:
        if self._writing is not None:
            self._writing.cancel()
        for confirmed in self.channel.confirmations.values():
            if isinstance(confirmed, asyncio.Future) and not confirmed.done():
                confirmed.set_exception(exceptions.ChannelInvalidStateError(reason))
