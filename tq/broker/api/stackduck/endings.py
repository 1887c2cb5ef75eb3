"""CompleteJob, FailJob and RetryJob: a job is ended by its id, by anybody, however often.

A job that a client of this broker holds is settled with the lease it was handed out by. Otherwise its client lost
it: the stream broke, half an hour passed, the broker restarted. StackDuck does not know of ownership and answers
yes all the same; what is done then is what comes closest and never runs a job that its worker says is done.
"""

from __future__ import annotations

from contextlib import suppress

from tq.broker.api.stackduck.holdings import Held, Holdings
from tq.broker.compat.stackduck.enqueue import retry_delay_s
from tq.broker.service import Caller, Service
from tq.errors import InvalidStatus
from tq.task import DEAD_LETTER, Cause, TaskView
from tq.verbs import SETTLED_OK, Cancel, GetTask, Retry, Settle, Settled, SettleItem


class Endings:
    """Each method is True when it was done; they raise TqError, TaskNotFound among others."""

    def __init__(self, service: Service, holdings: Holdings) -> None:
        self._service = service
        self._holdings = holdings

    async def complete(self, caller: Caller, job_id: bytes, error: str) -> bool:
        """The job is done. One that waits again is cancelled, where it cannot be ended by its id; one that has ended already
        stays as it is."""
        held = self._holdings.find(job_id)
        if held is not None and await self._settle(caller, held, SettleItem(job_id, held.token, Cause.DONE)):
            return True
        if await self._end_by_id(caller, SettleItem(job_id, 0, Cause.DONE)):
            return True
        view = await self._view(caller, job_id)
        # Ended by its id it has ended, though it may not show yet: its end is written down when PostgreSQL is back, and
        # a cancellation would come first.
        if not (view.has_ended or self._service.capabilities.ends_by_id):
            with suppress(InvalidStatus):  # it ended meanwhile
                await self._service.call(caller, Cancel(job_id, force=True))
        return True

    async def fail(self, caller: Caller, job_id: bytes, error: str) -> bool:
        """This attempt failed. A job that nobody holds waits to run again, or has ended, and stays as it is."""
        held = self._holdings.find(job_id)
        if held is not None and await self._settle(
            caller, held, SettleItem(job_id, held.token, Cause.ERROR, b"", error)
        ):
            return True
        if not await self._end_by_id(caller, SettleItem(job_id, 0, Cause.ERROR, b"", error)):
            await self._view(caller, job_id)
        return True

    async def retry(self, caller: Caller, job_id: bytes, error: str) -> bool:
        """Run it again after its delay, even if its retries are used up; a dead-lettered one is brought back."""
        held = self._holdings.find(job_id)
        if held is not None:
            item = SettleItem(job_id, held.token, Cause.ERROR, b"", error)
            if held.retry_count >= held.max_retries:
                # One more failure would bury it; what is handed back costs nothing.
                delay_ms = retry_delay_s(held.delay_s, held.retry_count) * 1000
                item = item._replace(cause=Cause.SNOOZED, delay_ms=delay_ms)
            if await self._settle(caller, held, item):
                return True
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

    async def _settle(self, caller: Caller, held: Held, item: SettleItem) -> bool:
        """False when the lease is not held any more."""
        reply = await self._service.call(caller._replace(peer=held.taker), Settle((item,)))
        assert isinstance(reply, Settled)
        self._holdings.drop(item.task_id, item.token)
        return reply.codes[0] == SETTLED_OK

    async def _view(self, caller: Caller, job_id: bytes) -> TaskView:
        reply = await self._service.call(caller, GetTask(job_id))
        assert isinstance(reply, TaskView)
        return reply
