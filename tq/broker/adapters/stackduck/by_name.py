"""Jobs that are named by their id alone, wherever they are: ended by anybody, cancelled, brought back.

StackDuck's clients may end a job at another broker than the one that handed it out, or after a restart, or one that a
StackDuck server handed out. What the record says decides; Redis is cleared behind it.
"""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import NamedTuple

from tq.broker.adapters.stackduck.endings import conclude, revived
from tq.broker.adapters.stackduck.intake import Intake
from tq.broker.adapters.stackduck.parts import Parts
from tq.broker.adapters.stackduck.postgres_rows import Change
from tq.broker.adapters.stackduck.redis_queue import Finish
from tq.broker.adapters.stackduck.settling import Done, Settling
from tq.broker.adapters.stackduck.stores import StoreAway
from tq.broker.awaiting import awaited
from tq.broker.compat.stackduck.stored import BadJob, StoredJob, read_job
from tq.broker.compat.stackduck.tasks import state_of
from tq.errors import InvalidStatus, TaskNotFound, TqError
from tq.ids import to_text
from tq.task import CANCELLED, DEAD_LETTER, PENDING, STATUS_OF_STATE, Cause
from tq.verbs import SettleItem, TaskRef


class Place(NamedTuple):
    """Where Redis has a job. member: of the running set; both may be empty. token: of its lease, 0 = it has none."""

    member: bytes
    token: int
    is_queued: bool


class ByName:
    def __init__(self, parts: Parts, settling: Settling, intake: Intake) -> None:
        self._parts = parts
        self._settling = settling
        self._intake = intake

    async def find(self, job_id: bytes) -> StoredJob | None:
        """The job as the record has it, which is told first how the job ended while PostgreSQL was away; while it is, as the
        cache has it. Raises StoreAway."""
        with suppress(StoreAway):
            await self._settling.write_down(await self._parts.redis.owed_of(job_id))
        try:
            return (await self._parts.rows.find([job_id])).get(job_id)
        except StoreAway:
            text = await self._parts.redis.cached(job_id)
            if text is None:
                raise
            try:
                return read_job(text.decode())
            except (BadJob, UnicodeDecodeError):
                return None

    async def known(self, job_id: bytes) -> StoredJob:
        """The same. Raises TaskNotFound too."""
        job = await self.find(job_id)
        if job is None:
            raise TaskNotFound(f"no task {to_text(job_id)}; StackDuck's table has no such row")
        return job

    # ------------------------------------------------------------ ends

    def settle(self, item: SettleItem, done: Done) -> None:
        """End the run of a job that nobody holds here; True when that changed it."""
        self._parts.spawn(self._settle(item, done))

    async def _settle(self, item: SettleItem, done: Done) -> None:
        try:
            job = await self.find(item.task_id)
            if job is None or job.has_ended:
                done(False)
                return
            place = await self._place(job)
            # One that waits to run again has failed, and somebody else said so; but it may be done all the same.
            may = bool(place.member) or not place.is_queued or item.cause == Cause.DONE
            done(await self._end(job, place, item) if may else False)
        except TqError as error:
            done(error)

    async def _end(self, job: StoredJob, place: Place, item: SettleItem) -> bool:
        """Raises TqError."""
        ending = conclude(
            job, cause=item.cause, now_us=self._parts.now_us, error=item.error, delay_ms=item.delay_ms
        )
        finish = Finish(ending.job, place.token, place.member, ending.requeues, ending.letter, ending.lost)
        change = Change(ending.job, result=item.result)
        if place.is_queued:
            # Away, it is not missed: the record says that the job has ended, and whoever takes it sees that.
            with suppress(StoreAway):
                await self._parts.redis.withdraw(job.job_type, job.job_id)
        return await awaited(partial(self._settling.end, change, finish))

    async def _place(self, job: StoredJob) -> Place:
        redis = self._parts.redis
        if not redis.store.is_up:
            return Place(b"", 0, False)
        lease = (await redis.lease_of([job.job_id]))[0]
        member = await redis.running_member_of(job.job_id)
        is_queued = not member and await redis.is_queued(job.job_type, job.job_id)
        return Place(member, lease.token if lease else 0, is_queued)

    # ------------------------------------------------------------ by operators

    async def cancel(self, job_id: bytes, force: bool) -> TaskRef:
        """Raises TaskNotFound, InvalidStatus, StoreAway."""
        while True:
            job = await self.known(job_id)
            if job.has_ended:
                state = state_of(job, self._parts.now_us)
                raise InvalidStatus(f"the task has ended as {STATUS_OF_STATE[state]}")
            place = await self._place(job)
            held = self._parts.sessions.held.get(job_id)
            if held is None or not held.settling:
                break
            await self._settling.over(held)
        if (held is not None or place.member) and not force:
            raise InvalidStatus("the task is running; cancel it with force")
        item = SettleItem(job_id, 0, Cause.CANCELLED)
        if held is not None:
            self._parts.sessions.abort(held, "cancelled")
            done = await awaited(partial(self._settling.settle, held, item))
        else:
            done = await self._end(job, place, item)
        if not done:
            raise InvalidStatus("the task ended meanwhile")
        return TaskRef(job_id, CANCELLED)

    async def retry(self, job_id: bytes, max_retries: int) -> TaskRef:
        """Bring an ended job back. Raises TaskNotFound, InvalidStatus, StoreAway."""
        job = await self.known(job_id)
        state = state_of(job, self._parts.now_us)
        if state not in (DEAD_LETTER, CANCELLED):
            raise InvalidStatus(
                f"the task is {STATUS_OF_STATE[state]}; only dead letters and cancelled ones are retried"
            )
        again = revived(job, now_us=self._parts.now_us, max_retries=max_retries)
        if not await self._parts.rows.changes.ask(Change(again, revives=True)):
            raise InvalidStatus("the task was brought back by somebody else")
        self._intake.put([again])
        self._parts.announce([again])
        return TaskRef(job_id, PENDING)
