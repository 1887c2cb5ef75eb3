"""Puts messages into RabbitMQ's queues so that they stay: persistent, confirmed, and not into queues that are not there."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
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
"""Messages that were sent one by one and are not confirmed yet."""
LOTS_MAX = 2
"""Lots of messages that are under way together: the second is sent while the first is written to disk."""
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
        self._lots = asyncio.Semaphore(LOTS_MAX)

    async def publish(self, message: Message, within_s: float) -> None:
        """Return once RabbitMQ has the message on disk; tries again over lost connections until the time is up.

        So it may be there twice. Raises BadRequest (rejected), BrokerUnavailable (it is not there), OutcomeUnknown.
        """
        async with self._slots:
            await self._until(within_s, lambda: self._publish(message))

    async def publish_all(
        self, messages: Sequence[Message], within_s: float
    ) -> Sequence[BaseException | None]:
        """The same for some hundred that leave together, in order; what each raised."""
        deadline = self._clock.monotonic_ms() + within_s * 1000
        async with self._lots:
            ends = await self._publish_lot(messages)
        again = [
            position for position, end in enumerate(ends) if isinstance(end, (LostLink, BrokerUnavailable))
        ]
        left_s = max(0.001, (deadline - self._clock.monotonic_ms()) / 1000)
        tries = [self._publish_again(messages[position], ends[position], left_s) for position in again]
        for position, end in zip(again, await asyncio.gather(*tries, return_exceptions=True), strict=True):
            ends[position] = end
        return ends

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

    async def _publish_again(self, message: Message, before: BaseException | None, within_s: float) -> None:
        lost = before if isinstance(before, LostLink) else None
        async with self._slots:
            await self._until(within_s, lambda: self._publish(message), lost)

    async def _until(self, within_s: float, attempt: _Try, lost: LostLink | None = None) -> None:
        """lost: a try before this one, of which nobody knows what became."""
        deadline = self._clock.monotonic_ms() + within_s * 1000
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
        (end,) = await self._publish_lot([message])
        if end is not None:
            raise end

    async def _publish_lot(self, messages: Sequence[Message]) -> list[BaseException | None]:
        """One try. What became of each: None, LostLink, BrokerUnavailable or BadRequest."""
        try:
            confirms = await self._open()
            targets = [await self._target_or_why(message) for message in messages]
        except (BrokerUnavailable, BadRequest) as error:
            return [error] * len(messages)
        sent = [self._send(confirms, *each) for each in zip(messages, targets, strict=True)]
        waiting = [each for each in sent if isinstance(each, asyncio.Future)]
        if waiting:
            await asyncio.wait(waiting, timeout=CONFIRM_SECONDS)
        ends = [
            self._end_of(each, message) if isinstance(each, asyncio.Future) else each
            for each, message in zip(sent, messages, strict=True)
        ]
        if any(isinstance(end, LostLink) for end in ends):
            await self._lose(confirms)
        return ends

    def _send(
        self, confirms: Confirms, message: Message, target: str | BadRequest
    ) -> asyncio.Future[object] | BaseException:
        if isinstance(target, BadRequest):
            return target
        try:
            return confirms.send(message.body, queue=target, headers=message.headers)
        except LOST as error:
            return BrokerUnavailable(
                f"RabbitMQ was lost before a message for {message.queue!r} was sent: {error}"
            )

    def _end_of(self, confirmed: asyncio.Future[object], message: Message) -> BaseException | None:
        if not confirmed.done() or confirmed.cancelled():
            return _lost(message, TimeoutError())
        error = confirmed.exception()
        if isinstance(error, exceptions.PublishError):
            # A queue was deleted after it was declared. Nothing took the message.
            self._declared.pop(message.queue, None)
            self._declared.pop(_delay_of(message).name, None)
            return BrokerUnavailable(f"a queue on the way to {message.queue!r} is gone")
        if isinstance(error, exceptions.DeliveryError):
            return BrokerUnavailable(f"RabbitMQ did not take the message for {message.queue!r}")
        return _lost(message, error) if isinstance(error, LOST) else error

    async def _target_or_why(self, message: Message) -> str | BadRequest:
        try:
            return await self._target(message)
        except BadRequest as error:
            return error

    async def _target(self, message: Message) -> str:
        """The queue the message goes into first, with whatever it needs on its way declared."""
        await self._declare(Declaration(message.queue))
        if not message.delay_ms:
            return message.queue
        delay = _delay_of(message)
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


def _delay_of(message: Message) -> Declaration:
    return delay_queue(message.queue, min(max(message.delay_ms, 1), DELAY_MS_LONGEST))


def _lost(message: Message, error: BaseException) -> LostLink:
    return LostLink(f"RabbitMQ did not confirm a message for {message.queue!r}: {type(error).__name__}")
