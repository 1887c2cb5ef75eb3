"""Messages out of the frames of one channel, without a task for each.

The library puts every frame into the channel's queue, reads it there in a task, and makes one more task for every message:
a fifth of what a worker spends on a job. What is delivered is put together here instead, where the connection hands its
frames over; all other frames go the library's way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

from aiormq import spec
from aiormq.channel import Channel
from pamqp.body import ContentBody
from pamqp.header import ContentHeader


class Content:
    """Stands in for a channel's queue of frames, from before it consumes."""

    def __init__(
        self, channel: Channel, take: Callable[[spec.Basic.Deliver, ContentHeader, bytes], None]
    ) -> None:
        """take: must not raise, and not wait."""
        self._frames = channel.frames
        self._take = take
        self._deliver: spec.Basic.Deliver | None = None
        self._header: ContentHeader | None = None
        self._parts: list[bytes] = []
        self._left = 0
        self.get, self.task_done = self._frames.get, self._frames.task_done
        channel.frames = cast("asyncio.Queue[Any]", self)

    async def put(self, item: tuple[int, object]) -> None:
        """As of a queue. item: a frame, behind its weight. Frames of a message come one after the other."""
        frame = item[1]
        if isinstance(frame, spec.Basic.Deliver):
            self._deliver = frame
        elif self._deliver is None:
            await self._frames.put(item)
        elif isinstance(frame, ContentHeader):
            self._header, self._parts, self._left = frame, [], frame.body_size
            self._look()
        elif isinstance(frame, ContentBody) and self._header is not None:
            self._parts.append(frame.value)
            self._left -= len(frame.value)
            self._look()
        else:
            # RabbitMQ closes the channel in the middle of a message.
            self._deliver = self._header = None
            await self._frames.put(item)

    def _look(self) -> None:
        """Hand the message on, if that was all of it."""
        if self._left > 0:
            return
        deliver, header = self._deliver, self._header
        self._deliver = self._header = None
        assert deliver is not None and header is not None
        self._take(deliver, header, b"".join(self._parts))
