"""CompleteJob, FailJob and RetryJob: a job is ended by its id, by anybody, however often.

A job that a client of this broker holds is settled with the lease it was handed out by. Otherwise its client lost
it: the stream broke, half an hour passed, the broker restarted. StackDuck does not know of ownership and answers
yes all the same; what is done then is what comes closest and never runs a job that its worker says is done.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import partial
from typing import TypeAlias

from tq.broker.api.stackduck.holdings import Held, Holdings
from tq.broker.compat.stackduck.enqueue import retry_delay_s
from tq.broker.service import Caller, Service
from tq.errors import InvalidStatus, TqError
from tq.task import DEAD_LETTER, Cause, TaskView
from tq.verbs import SETTLED_OK, Cancel, GetTask, Reply, Retry, Settle, Settled, SettleItem

Done: TypeAlias = Callable[[bool | Exception], None]
"""True: it was done. Called once, at once or later, on the loop."""
Detour: TypeAlias = Callable[[], Coroutine[None, None, bool]]
"""What is done about a job that nobody holds here any more. Raises TqError, TaskNotFound among others."""


class Endings:
    """A job that is held is ended without a task of its own, as nearly all are; only the detours are coroutines."""

    def __init__(self, service: Service, holdings: Holdings) -> None:
        self._service = service
        self._holdings = holdings
        self._detours: set[asyncio.Task[bool]] = set()
        """As many as there are calls under way, at most."""

    def complete(self, caller: Caller, job_id: bytes, error: str, done: Done) -> None:
        """The job is done. One that waits again is cancelled, where it cannot be ended by its id; one that has ended already
        stays as it is."""

        def item(held: Held) -> SettleItem:
            return SettleItem(job_id, held.token, Cause.DONE)

        self._end(caller, job_id, item, done, otherwise=partial(self._complete_unheld, caller, job_id))

    def fail(self, caller: Caller, job_id: bytes, error: str, done: Done) -> None:
        """This attempt failed. A job that nobody holds waits to run again, or has ended, and stays as it is."""

        def item(held: Held) -> SettleItem:
            return SettleItem(job_id, held.token, Cause.ERROR, b"", error)

        self._end(caller, job_id, item, done, otherwise=partial(self._fail_unheld, caller, job_id, error))

    def retry(self, caller: Caller, job_id: bytes, error: str, done: Done) -> None:
        """Run it again after its delay, even if its retries are used up; a dead-lettered one is brought back."""

        def item(held: Held) -> SettleItem:
            if held.retry_count < held.max_retries:
                return SettleItem(job_id, held.token, Cause.ERROR, b"", error)
            # One more failure would bury it; what is handed back costs nothing.
            delay_ms = retry_delay_s(held.delay_s, held.retry_count) * 1000
            return SettleItem(job_id, held.token, Cause.SNOOZED, b"", error, delay_ms)

        self._end(caller, job_id, item, done, otherwise=partial(self._retry_unheld, caller, job_id, error))

    # ------------------------------------------------------------ with the lease

    def _end(
        self,
        caller: Caller,
        job_id: bytes,
        item_of: Callable[[Held], SettleItem],
        done: Done,
        *,
        otherwise: Detour,
    ) -> None:
        held = self._holdings.find(job_id)
        if held is None:
            self._go(otherwise, done)
            return
        item = item_of(held)

        def settled(reply: Reply | TqError) -> None:
            if isinstance(reply, TqError):
                done(reply)
                return
            assert isinstance(reply, Settled)
            self._holdings.drop(job_id, item.token)
            if reply.codes[0] == SETTLED_OK:
                done(True)
            else:
                self._go(otherwise, done)  # the lease is not held any more

        self._service.handle(caller._replace(peer=held.taker), Settle((item,)), settled)

    def _go(self, detour: Detour, done: Done) -> None:
        def ended(task: asyncio.Task[bool]) -> None:
            self._detours.discard(task)
            if not task.cancelled():
                error = task.exception()
                done(error if isinstance(error, Exception) else task.result())

        task = asyncio.get_running_loop().create_task(detour())
        self._detours.add(task)
        task.add_done_callback(ended)

    # ------------------------------------------------------------ without it

    async def _complete_unheld(self, caller: Caller, job_id: bytes) -> bool:
        if await self._end_by_id(caller, SettleItem(job_id, 0, Cause.DONE)):
            return True
        view = await self._view(caller, job_id)
        # Ended by its id it has ended, though it may not show yet: its end is written down when PostgreSQL is back, and
        # a cancellation would come first.
        if not (view.has_ended or self._service.capabilities.ends_by_id):
            with suppress(InvalidStatus):  # it ended meanwhile
                await self._service.call(caller, Cancel(job_id, force=True))
        return True

    async def _fail_unheld(self, caller: Caller, job_id: bytes, error: str) -> bool:
        if not await self._end_by_id(caller, SettleItem(job_id, 0, Cause.ERROR, b"", error)):
            await self._view(caller, job_id)
        return True

    async def _retry_unheld(self, caller: Caller, job_id: bytes, error: str) -> bool:
        # A snooze that names an error is a retry that no limit stops.
        if await self._end_by_id(caller, SettleItem(job_id, 0, Cause.SNOOZED, b"", error or "retried")):
            return True
        view = await self._view(caller, job_id)
        if view.state == DEAD_LETTER:
            await self._service.call(caller, Retry(job_id))
        return not view.has_ended or view.state == DEAD_LETTER

    async def _end_by_id(self, caller: Caller, item: SettleItem) -> bool:
        """For a backend that several brokers share: the job may be out at any of them. False when it was not running."""
        if not self._service.capabilities.ends_by_id:
            return False
        reply = await self._service.call(caller, Settle((item,)))
        assert isinstance(reply, Settled)
        self._holdings.forget(item.task_id)
        return reply.codes[0] == SETTLED_OK

    async def _view(self, caller: Caller, job_id: bytes) -> TaskView:
        reply = await self._service.call(caller, GetTask(job_id))
        assert isinstance(reply, TaskView)
        return reply
