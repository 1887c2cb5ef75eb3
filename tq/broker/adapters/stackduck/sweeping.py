"""What nobody else looks after: dead workers' jobs, members that cannot be jobs, rows that no queue knows, scores.

Rules of the file:
- One broker of a deployment sweeps at a time.
- Nobody is judged dead before Redis has been there for longer than a broker may be silent: they all were silent with it.
- The record decides. A job in the running set whose row has ended is only taken out; one whose row says that it was
  retried is put back as the row says; of any other, its worker was lost.
"""

from __future__ import annotations

from collections.abc import Sequence

from tq.broker.adapters.stackduck.endings import conclude
from tq.broker.adapters.stackduck.intake import Intake
from tq.broker.adapters.stackduck.parts import Parts, moment
from tq.broker.adapters.stackduck.postgres_rows import Change
from tq.broker.adapters.stackduck.redis_queue import PAGE, Finish, Lease, RedisQueue, id_of
from tq.broker.adapters.stackduck.settling import Settling
from tq.broker.compat.stackduck.stored import (
    PRIORITY_OFFSET_S,
    QUEUE_PREFIX,
    QUEUED,
    READY_BELOW,
    RUNNING_KEY,
    BadJob,
    StoredJob,
    read_job,
    score_of,
    split_running,
)
from tq.logs import get_logger
from tq.task import Cause

_log = get_logger("stackduck")

WINDOW_S = 10
"""Scores are looked at so far behind the clock, for servers whose clocks are behind."""


class Sweeping:
    def __init__(self, parts: Parts, settling: Settling, intake: Intake) -> None:
        self._parts = parts
        self._settling = settling
        self._intake = intake
        self._orphans_ms = 0
        self._suspects: set[bytes] = set()
        self._scanned: dict[str, int] = {}
        self.job_types: list[str] = []
        """Every type that has a queue, as of the last look."""

    async def sweep(self) -> None:
        """Once around. Raises StoreAway."""
        parts = self._parts
        redis, pace = parts.redis, parts.pace
        self.job_types = await redis.job_types()
        if not await redis.be_sweeper(2 * pace.sweep_ms):
            return
        await self.return_overdue()
        if redis.store.up_for_ms > self._parts.pace.grace_ms:
            await self.return_left()
        now_ms = parts.clock.now_ms()
        if (
            min(redis.store.up_for_ms, parts.rows.store.up_for_ms) > pace.orphan_ms
            and now_ms > self._orphans_ms
        ):
            await self.requeue_orphans()
            # The second look at a suspect need not be as long in coming as the first at anything else.
            self._orphans_ms = now_ms + (0 if self._suspects else pace.orphans_every_ms)

    # ------------------------------------------------------------ dead workers

    async def return_overdue(self) -> None:
        """Those whose half hour is over, whoever had them; a StackDuck server's too."""
        parts = self._parts
        now_ms = parts.clock.now_ms()
        found = []
        for member in await parts.redis.overdue(now_ms // 1000):
            job = await self._read(member)
            if job is not None and job.job_id not in parts.sessions.held:
                found.append((job, member))
        await self._return(found, Cause.TIMEOUT, "its time was over, and nobody had ended it")

    async def return_left(self) -> None:
        """Those of brokers that are gone; and those of this one that it knows nothing of: an answer that was lost."""
        parts = self._parts
        left: dict[bytes, Lease] = {}
        owners: dict[str, list[Lease]] = {}
        async for lease in parts.redis.leases():
            owners.setdefault(lease.broker, []).append(lease)
        alive = await parts.redis.alive(list(owners)) if owners else set[str]()
        now_ms = parts.clock.now_ms()
        for broker, leases in owners.items():
            if broker == parts.redis.broker:
                fresh_ms = (now_ms - self._parts.pace.grace_ms) * 1000
                mine = [
                    one for one in leases if one.job_id not in parts.sessions.held and one.token < fresh_ms
                ]
                left.update((lease.job_id, lease) for lease in mine)
            elif broker not in alive:
                left.update((lease.job_id, lease) for lease in leases)
        if not left:
            return
        found = []
        async for member, _ in parts.redis.running():
            if id_of(member[:36]) in left and (job := await self._read(member)) is not None:
                found.append((job, member))
        await self._return(found, Cause.LEASE_LOST, "its broker was lost")

    async def _return(self, found: Sequence[tuple[StoredJob, bytes]], cause: int, error: str) -> None:
        parts = self._parts
        for start in range(0, len(found), PAGE):
            page = found[start : start + PAGE]
            ids = [job.job_id for job, _ in page]
            rows = await parts.rows.find(ids)
            leases = await parts.redis.lease_of(ids)
            for (job, member), lease in zip(page, leases, strict=True):
                lost = await parts.redis.lost_count(job.job_id)
                self._return_one(
                    job, rows.get(job.job_id), member, lease, cause=cause, error=error, lost=lost
                )
        if found:
            parts.tally.swept += len(found)
            _log.warning("jobs_swept", f"{len(found)} jobs came back: {error}", count=len(found))

    def _return_one(
        self,
        job: StoredJob,
        row: StoredJob | None,
        member: bytes,
        lease: Lease | None,
        *,
        cause: int,
        error: str,
        lost: int,
    ) -> None:
        token = lease.token if lease is not None else 0
        settling = self._settling
        if row is not None and row.has_ended:
            settling.finish_later(Finish(row, token, member, requeues=False))
        elif row is not None and row.retries > job.retries:
            # PostgreSQL was told that it failed, Redis was not.
            settling.finish_later(Finish(row._replace(status=QUEUED), token, member, requeues=True))
        elif row is not None and row.status.lower() == "queued" and lease is not None:
            # It was handed back, or never handed out: tq marks a row before that.
            settling.finish_later(Finish(job._replace(status=QUEUED), token, member, requeues=True))
        else:
            ending = conclude(job, cause=cause, now_us=self._parts.now_us, error=error, lost=lost)
            finish = Finish(ending.job, token, member, ending.requeues, ending.letter, ending.lost)
            settling.end(Change(ending.job), finish, lambda _: None)

    async def _read(self, member: bytes) -> StoredJob | None:
        """The job in a member of the running set; one that is none is set aside."""
        try:
            return read_job(split_running(member.decode()))
        except (BadJob, UnicodeDecodeError) as error:
            await set_aside(self._parts, RUNNING_KEY, member, f"no job: {error}")
            return None

    # ------------------------------------------------------------ rows

    async def requeue_orphans(self) -> int:
        """Rows that wait, or run, and that Redis does not know: put back once they were found twice in a row."""
        parts = self._parts
        before_us = (parts.clock.now_ms() - parts.pace.orphan_ms) * 1000
        lost = await orphans(parts, before_us)
        again = [job for job in lost if job.job_id in self._suspects]
        self._suspects = {job.job_id for job in lost}
        if again:
            self._intake.put([job._replace(status=QUEUED, started_us=None) for job in again])
            parts.tally.requeued += len(again)
            _log.warning("rows_requeued", f"{len(again)} jobs were in no queue", count=len(again))
        return len(again)

    # ------------------------------------------------------------ scores

    async def rescore(self) -> None:
        """Jobs that a StackDuck server enqueued and that are due go into the band of their priority.

        Its scores are shifted by priority, so what has just become due stands at now, now + 1000 or now + 2000. What was
        there before is looked through when its type is first seen.
        """
        parts = self._parts
        now_s = parts.clock.now_ms() // 1000
        for job_type in self.job_types:
            since = self._scanned.get(job_type)
            if since is None:
                await self._rescore_all(job_type, now_s + 2 * PRIORITY_OFFSET_S)
            else:
                for offset in (0, PRIORITY_OFFSET_S, 2 * PRIORITY_OFFSET_S):
                    low = READY_BELOW if not offset else since - WINDOW_S + offset
                    await self._rescore_between(job_type, low, now_s + offset)
            self._scanned[job_type] = now_s

    async def _rescore_all(self, job_type: str, high: float) -> None:
        offset = 0
        while members := await self._parts.redis.queue_page(job_type, READY_BELOW, high, offset):
            offset += len(members) - await self._rescore_members(job_type, members)

    async def _rescore_between(self, job_type: str, low: float, high: float) -> None:
        members = await self._parts.redis.queue_page(job_type, low, high)
        if members:
            await self._rescore_members(job_type, members)

    async def _rescore_members(self, job_type: str, members: Sequence[bytes]) -> int:
        """How many moved."""
        parts = self._parts
        scored: list[tuple[float, bytes]] = []
        moved = 0
        for member in members:
            try:
                job = read_job(member.decode())
            except (BadJob, UnicodeDecodeError) as error:
                moved += await set_aside(parts, QUEUE_PREFIX + job_type, member, f"no job: {error}")
                continue
            score = score_of(job, parts.now_us)
            if score < READY_BELOW:
                scored.append((score, member))
        if scored:
            await parts.redis.rescore(job_type, scored)
            parts.wake.set()
        return moved + len(scored)


async def set_aside(parts: Parts, key: str, member: bytes, reason: str) -> bool:
    parts.tally.set_aside += 1
    _log.warning("member_set_aside", f"a member of {key} was set aside: {reason[:200]}")
    return await parts.redis.set_aside(key, member, reason=reason, now_text=moment(parts.clock.now_ms()))


async def orphans(parts: Parts, before_us: int) -> list[StoredJob]:
    """Rows that wait or run, not touched since, in neither queue nor running set nor memory; up to PAGE."""
    rows = await parts.rows.list_jobs(
        "WHERE lower(status) IN ('queued', 'running') AND updated_at < $1 ORDER BY created_at LIMIT $2",
        before_us,
        PAGE * 20,
    )
    if not rows:
        return []
    known = await known_to_redis(parts.redis, sorted({row.job_type for row in rows}))
    held = parts.sessions.held
    return [row for row in rows if row.job_id not in known and row.job_id not in held][:PAGE]


async def known_to_redis(redis: RedisQueue, job_types: Sequence[str]) -> set[bytes]:
    """Ids of everything in these queues and in the running set."""
    known: set[bytes] = set()
    async for member, _ in redis.running():
        known.add(id_of(member[:36]))
    for job_type in job_types:
        async for member in redis.members(job_type):
            known.add(id_of(member[7:43]) if member.startswith(b'{"id":"') else _id_in(member))
    return known


def _id_in(member: bytes) -> bytes:
    """For one whose keys are in another order. Empty for what is no job."""
    try:
        return read_job(member.decode()).job_id
    except (BadJob, UnicodeDecodeError):
        return b""
