"""ConsumeJobs: each stream is a worker that takes jobs for as long as they can be written.

Rules of the file:
- A job that was written is the consumer's until it ends it. Its lease is kept while the stream stands, however long
  the job takes; and for the grace of a session after it broke, because completing is a call of its own.
- A job that was claimed and not written goes back at once and uncharged when the stream ends.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NamedTuple

from tq.broker.api.grpc.calls import Calls, Context, parse
from tq.broker.api.stackduck.holdings import Held, Holdings
from tq.broker.api.stackduck.taker import Taker
from tq.broker.compat.stackduck.jobs import (
    UNCHECKED,
    Job,
    delay_of,
    job_of,
    notification_of,
    retried_job_of,
    was_tried,
)
from tq.broker.compat.stackduck.names import task_type_of, worker_name_of
from tq.broker.service import Caller, Service
from tq.errors import AuthenticationFailed, BadRequest, BrokerUnavailable, PermissionDenied, TqError
from tq.proto import stackduck_pb2 as pb
from tq.task import Cause, TaskView
from tq.verbs import Delivery, GetTask, Settle, SettleItem

CLAIM_JOBS = 200
"""Jobs asked for at a time: enough that a claim's commit is shared, few enough to hand back when a consumer leaves."""
CLAIM_AGAIN_AT = 50
"""So few jobs left to write and the next claim is made, so that its commit overlaps with the writing."""
CLAIM_WAIT_MS = 30_000


class Consumers:
    """Serves the streams."""

    def __init__(
        self,
        calls: Calls,
        holdings: Holdings,
        *,
        new_id: Callable[[], bytes],
    ) -> None:
        self._calls = calls
        self._holdings = holdings
        self._new_id = new_id
        self._open: set[Consumer] = set()
        self._leaving: dict[Taker, asyncio.TimerHandle] = {}

    async def consume(self, context: Context, data: bytes) -> None:
        """Write jobs until the client leaves."""
        asked = parse(pb.ConsumeJobsRequest, data, self._calls)
        taker = Taker(self._calls.service, self._holdings.drop)
        caller = await self._calls.caller(context, taker)
        if not asked.job_types:
            raise BadRequest("job_types cannot be empty")
        try:
            await taker.register(
                caller,
                session_id=self._new_id(),
                worker=worker_name_of(asked.worker_id),
                task_types=tuple(dict.fromkeys(map(task_type_of, asked.job_types))),
            )
        except BrokerUnavailable as error:
            raise TqError(UNCHECKED) from error
        consumer = Consumer(taker, caller, self._calls.service, self._holdings)
        self._open.add(consumer)
        try:
            self._calls.hold(consumer, caller)
            await consumer.run(context)
        finally:
            self._calls.release(consumer)
            self._open.discard(consumer)
            self._leave(taker)

    def keep(self) -> None:
        """Keep the leases of all that is in the hands of open streams. To be called every few minutes."""
        for consumer in self._open:
            consumer.taker.keep()

    def stop(self) -> None:
        """Give back everything at once, uncharged: the broker goes, not the consumers."""
        for consumer in self._open:
            consumer.taker.stop_taking()
            consumer.taker.deregister()
            consumer.end(BrokerUnavailable("the broker is stopping"))
        for taker, timer in self._leaving.items():
            timer.cancel()
            taker.deregister()
        self._leaving.clear()

    def _leave(self, taker: Taker) -> None:
        taker.stop_taking()
        if not taker.tokens:
            taker.deregister()
            return

        def give_up() -> None:
            del self._leaving[taker]
            taker.give_up()

        timer = asyncio.get_running_loop().call_later(taker.grace_ms / 1000, give_up)
        self._leaving[taker] = timer


class _Ready(NamedTuple):
    """A job that is to be written next."""

    task: Delivery
    held: Held
    data: bytes


class Consumer:
    """One stream."""

    def __init__(self, taker: Taker, caller: Caller, service: Service, holdings: Holdings) -> None:
        self.taker = taker
        self._caller = caller
        self._service = service
        self._holdings = holdings
        self._is_backlog = True
        self._backlog_left = 0
        self._next: _Ready | None = None

    def end(self, error: TqError) -> None:
        self.taker.error = error
        self.taker.news.set()

    async def run(self, context: Context) -> None:
        """Claim and write, one overlapping the other. Returns never; raises what ends the stream."""
        taker = self.taker
        try:
            while True:
                if taker.error is not None:
                    raise self._ending(taker.error)
                if not taker.is_claiming:
                    self._claim()
                if taker.arrived:
                    await self._prepare(context, taker.arrived.popleft())
                elif self._next is not None:
                    await self._write(context, self._next)
                else:
                    taker.news.clear()
                    if taker.is_claiming:
                        await taker.news.wait()
        finally:
            if self._next is not None:
                taker.arrived.appendleft(self._next.task)

    def _claim(self) -> None:
        """Ask for more once little is left. What waited when the consumer came is asked for without waiting."""
        taker = self.taker
        if self._is_backlog and taker.claimed == 0:
            # That was the end of it; what has arrived and is not written yet is still part of it.
            self._is_backlog, self._backlog_left = False, len(taker.arrived)
        if len(taker.arrived) <= CLAIM_AGAIN_AT:
            taker.claim(CLAIM_JOBS, 0 if self._is_backlog else CLAIM_WAIT_MS)

    async def _prepare(self, context: Context, task: Delivery) -> None:
        """Make its message, and write the one before: jobs that come together leave in few writes to the network."""
        is_backlog = self._is_backlog or self._backlog_left > 0
        self._backlog_left -= self._backlog_left > 0
        if self._next is not None and task.attempt > 1:
            # What it looks like has to be looked up, which may take a while.
            await self._write(context, self._next)
        shown = await picture(self._service, self._caller, task)
        if shown is None:
            return
        word = notification_of(task, is_backlog=is_backlog, was_tried=shown.was_tried)
        message = pb.JobMessage(job=message_of(shown.job), notification_type=word)
        before = self._next
        self._next = _Ready(task, held_by(self.taker, task, shown.job), message.SerializeToString())
        if before is not None:
            self._hand_on(before)
            await context.write(before.data, more_follows=True)

    async def _write(self, context: Context, ready: _Ready) -> None:
        self._next = None
        self._hand_on(ready)
        await context.write(ready.data)

    def _hand_on(self, ready: _Ready) -> None:
        """From here on it is the consumer's."""
        self._holdings.add(ready.task.task_id, ready.held)

    def _ending(self, error: TqError) -> TqError:
        if self._is_backlog and not isinstance(error, (AuthenticationFailed, PermissionDenied)):
            return TqError(UNCHECKED)
        return error


class Picture(NamedTuple):
    """was_tried: somebody had the job before, and did not just hand it back unseen."""

    job: Job
    was_tried: bool


async def picture(service: Service, caller: Caller, task: Delivery) -> Picture | None:
    """The job in this delivery; None for a task of another client whose payload no job can have, which is set aside."""
    try:
        if task.attempt == 1:
            return Picture(job_of(task), False)
        view = await service.call(caller, GetTask(task.task_id))
        assert isinstance(view, TaskView)
        return Picture(retried_job_of(task, view), was_tried(view))
    except TqError:
        # Its key may not read tasks, or the look-up failed: the job goes out with what the delivery says.
        retry_count = min(task.attempt - 1, task.max_retries)
        return Picture(job_of(task)._replace(retry_count=retry_count), True)
    except ValueError:
        text = "the payload is not JSON, and StackDuck's jobs have no other"
        service.handle(
            caller, Settle((SettleItem(task.task_id, task.token, Cause.FATAL, b"", text),)), lambda _: None
        )
        return None


def held_by(taker: Taker, task: Delivery, job: Job) -> Held:
    return Held(taker, task.token, job.retry_count, task.max_retries, delay_of(task))


def message_of(job: Job) -> pb.GrpcJob:
    return pb.GrpcJob(**job._asdict())
