"""Puts messages into RabbitMQ's queues so that they stay: persistent, confirmed, and not into queues that are not there."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple

from aiormq import exceptions

from tq.client.rustq.amqp import LOST, Link, LostLink, close_channel
from tq.client.rustq.confirms import Confirms
from tq.client.rustq.names import DELAY_MS_LONGEST, IDLE_MS, Declaration, delay_queue
from tq.clock import Clock
from tq.errors import BadRequest, BrokerUnavailable, OutcomeUnknown
from tq.logs import get_logger

log = get_logger("rustq")

CONFIRM_SECONDS = 20.0
"""RabbitMQ confirms when the message is on disk; one that takes longer is dead or stopped."""
IN_FLIGHT_MAX = 500
"""Messages sent and not confirmed yet."""
FRESH_MS = IDLE_MS // 4
"""How long a declaration is believed. A delay queue must be declared anew before it may delete itself."""

_Try = Callable[[], Awaitable[None]]


class Message(NamedTuple):
    """queue: where it is to be read, now or after delay_ms (0 = now). headers: rustq reads none."""

    queue: str
    body: bytes
    delay_ms: int = 0
    headers: Mapping[str, str | int] = {}


class Publisher:
    """One channel with confirms, opened when it is needed."""

    def __init__(self, link: Link, clock: Clock) -> None:
        self._link = link
        self._clock = clock
        self._confirms: Confirms | None = None
        self._opening = asyncio.Lock()
        self._declaring = asyncio.Lock()
        self._declared: dict[str, int] = {}
        self._slots = asyncio.Semaphore(IN_FLIGHT_MAX)

    async def publish(self, message: Message, within_s: float) -> None:
        """Return once RabbitMQ has the message on disk; tries again over lost connections until the time is up.

        So it may be there twice. Raises BadRequest (rejected), BrokerUnavailable (it is not there), OutcomeUnknown.
        """
        async with self._slots:
            await self._until(within_s, lambda: self._publish(message))

    async def declare(self, *declarations: Declaration, within_s: float) -> None:
        """Make sure that these queues are there. Raises BrokerUnavailable, BadRequest."""

        async def declared() -> None:
            for declaration in declarations:
                await self._declare(declaration)

        await self._until(within_s, declared)

    async def close(self) -> None:
        confirms, self._confirms = self._confirms, None
        if confirms is not None:
            await close_channel(confirms.channel)
        await self._link.close()

    # ------------------------------------------------------------ inside

    async def _until(self, within_s: float, attempt: _Try) -> None:
        deadline = self._clock.monotonic_ms() + within_s * 1000
        lost: LostLink | None = None
        while True:
            try:
                return await attempt()
            except LostLink as error:
                lost = error
                failure = str(error)
            except BrokerUnavailable as error:
                failure = error.text
            pause_s = self._link.pause_s()
            if self._clock.monotonic_ms() + pause_s * 1000 >= deadline:
                if lost is not None:
                    raise OutcomeUnknown(f"{lost}; no later try was confirmed in time ({failure})")
                raise BrokerUnavailable(failure)
            await asyncio.sleep(pause_s)

    async def _publish(self, message: Message) -> None:
        target = await self._target(message)
        try:
            await self._confirmed(target, message)
        except exceptions.PublishError:
            # The queue was deleted after it was declared. Nothing took the message.
            self._declared.pop(target, None)
            self._declared.pop(message.queue, None)
            raise BrokerUnavailable(f"queue {target!r} is gone") from None

    async def _target(self, message: Message) -> str:
        """The queue the message goes into first, with whatever it needs on its way declared."""
        await self._declare(Declaration(message.queue))
        if not message.delay_ms:
            return message.queue
        delay = delay_queue(message.queue, min(message.delay_ms, DELAY_MS_LONGEST))
        if await self._declare(delay):
            raise BadRequest(
                f"queue {delay.name!r} is there with other arguments; it would not delay. Delete it, and it is made anew"
            )
        return delay.name

    async def _declare(self, declaration: Declaration) -> str:
        """Why it is not as asked for; empty = it is. Believed for FRESH_MS."""
        if self._is_fresh(declaration):
            return ""
        async with self._declaring:
            if self._is_fresh(declaration):
                return ""
            now_ms = self._clock.monotonic_ms()
            (problem,) = await self._link.declare(declaration)
            if problem:
                log.warning("queue_differs", f"queue {declaration.name!r} is not as tq makes it: {problem}")
            if not (problem and declaration.arguments):
                self._declared[declaration.name] = now_ms
                return ""
            return problem

    def _is_fresh(self, declaration: Declaration) -> bool:
        declared_ms = self._declared.get(declaration.name)
        return declared_ms is not None and self._clock.monotonic_ms() - declared_ms < FRESH_MS

    async def _confirmed(self, target: str, message: Message) -> None:
        confirms = await self._open()
        try:
            async with asyncio.timeout(CONFIRM_SECONDS):
                await confirms.send(message.body, queue=target, headers=message.headers)
        except exceptions.PublishError:
            raise
        except exceptions.DeliveryError as error:
            raise BrokerUnavailable(f"RabbitMQ did not take the message for {target!r}") from error
        except LOST as error:
            await self._lose(confirms)
            raise LostLink(
                f"RabbitMQ did not confirm a message for {target!r}: {type(error).__name__}"
            ) from error

    async def _open(self) -> Confirms:
        confirms = self._confirms
        if confirms is not None and not confirms.channel.is_closed:
            return confirms
        async with self._opening:
            if self._confirms is None or self._confirms.channel.is_closed:
                self._declared.clear()  # another RabbitMQ may answer now, or one whose queues were deleted
                self._confirms = Confirms(await self._link.channel(confirms=True))
            return self._confirms

    async def _lose(self, confirms: Confirms) -> None:
        """The first of those who waited for it drops the connection; the others find a fresh one."""
        if self._confirms is confirms:
            self._confirms = None
            await self._link.drop()
