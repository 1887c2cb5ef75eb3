"""Jobs that are due meet workers that have room.

Rules of the file:
- One round at a time. It begins when something may have become ready here, when another broker says so, and every POLL_S
  while a worker has room: what a StackDuck server enqueues nobody tells of.
- A job is leased in Redis, then marked in PostgreSQL, then handed out. With PostgreSQL away it is handed out all the same.
- With Redis away only jobs are handed out that came since: the others are in its queues, and other brokers will have them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from tq.broker.adapters.stackduck.endings import conclude
from tq.broker.adapters.stackduck.parts import Parts, moment
from tq.broker.adapters.stackduck.postgres_rows import Change
from tq.broker.adapters.stackduck.redis_queue import Finish, Taken, member_of
from tq.broker.adapters.stackduck.sessions import Held, Session, share_out
from tq.broker.adapters.stackduck.settling import Settling
from tq.broker.adapters.stackduck.stores import StoreAway
from tq.broker.compat.stackduck.enqueue import LEASE_MS
from tq.broker.compat.stackduck.stored import RUNNING, RUNNING_KEY, BadJob, StoredJob, read_job
from tq.logs import get_logger
from tq.task import Cause

_log = get_logger("stackduck")

POLL_S = 0.2
"""How late a job that a StackDuck server enqueued may be noticed."""
TAKE_MAX = 200
"""Jobs that are leased in one step: Redis does nothing else meanwhile."""


class Taking:
    def __init__(self, parts: Parts, settling: Settling) -> None:
        self._parts = parts
        self._settling = settling
        self._is_over = False
        self._token = 0

    async def run(self) -> None:
        """Until `stop`."""
        wake = self._parts.wake
        while not self._is_over:
            wants = bool(self._parts.sessions.wanting())
            try:
                async with asyncio.timeout(POLL_S if wants else None):
                    await wake.wait()
            except TimeoutError:
                pass
            wake.clear()
            await self._round()

    def stop(self) -> None:
        self._is_over = True
        self._parts.wake.set()

    async def _round(self) -> None:
        sessions = self._parts.sessions
        asked, self._parts.asked = self._parts.asked, []
        # Claims that do not wait are answered by the round that begins after they came.
        impatient = [each for each in sessions if each.claim is not None and each.claim.timer is None]
        for job_types, group in sessions.wanting().items():
            while (room := sum(session.room for session in group)) and not self._is_over:
                limit = min(room, TAKE_MAX)
                if await self._serve(job_types, group, limit) < limit:
                    break
        for session in impatient:
            if session.claim is not None and session.claim.timer is None:
                sessions.end_claim(session)
        for tell in asked:
            tell()

    async def _serve(self, job_types: tuple[str, ...], group: list[Session], limit: int) -> int:
        """Hand out up to `limit`; how many were found."""
        parts = self._parts
        now_ms = parts.clock.now_ms()
        try:
            moved, taken = await parts.redis.take(
                job_types, limit, now_ms=now_ms, deadline_ms=now_ms + LEASE_MS, now_text=moment(now_ms)
            )
        except StoreAway:
            return await self._serve_backlog(job_types, group, limit)
        parts.tally.set_aside += moved - len(taken)
        if taken:
            self._hand_out(await self._admitted(job_types, taken), group, now_ms)
        return moved

    # ------------------------------------------------------------ from Redis

    async def _admitted(
        self, job_types: Sequence[str], taken: Sequence[Taken]
    ) -> list[tuple[StoredJob, Taken]]:
        """Those that may run: jobs, of the types that were asked for, that have not ended."""
        found: list[tuple[StoredJob, Taken]] = []
        for each in taken:
            try:
                job = read_job(each.queued.decode())
            except (BadJob, UnicodeDecodeError) as error:
                await self._set_aside(each.queued, f"no job: {error}")
                continue
            if job.job_type in job_types:
                found.append((job, each))
            else:
                # It was in the queue of another type; it goes where it says it belongs.
                self._settling.finish_later(
                    Finish(job, each.token, member_of(job.job_id, each.queued), requeues=True)
                )
        try:
            unfit = await self._mark([job for job, _ in found], is_strict=False)
        except StoreAway:
            return found
        for job, each in found:
            if job.job_id in unfit:
                await self._set_aside(each.queued, unfit[job.job_id], job)
        return [(job, each) for job, each in found if job.job_id not in unfit]

    async def _mark(self, jobs: Sequence[StoredJob], *, is_strict: bool) -> dict[bytes, str]:
        """Those that must not run, and why. One without a row gets one."""
        parts = self._parts
        ids = [job.job_id for job in jobs]
        may = await parts.rows.mark_running(ids, at_us=parts.now_us, is_strict=is_strict)
        rest = [job for job in jobs if job.job_id not in may]
        if not rest:
            return {}
        known = await parts.rows.find(job.job_id for job in rest)
        unfit = dict.fromkeys(known, "duplicate: the job has ended")
        missing = [job for job in rest if job.job_id not in known]
        if missing:
            _log.warning("rows_missing", f"{len(missing)} jobs had no row in PostgreSQL", count=len(missing))
            unfit |= {
                job_id: error.text for job_id, error in (await parts.rows.insert_missing(missing)).items()
            }
        return unfit

    async def _set_aside(self, queued: bytes, reason: str, job: StoredJob | None = None) -> None:
        parts = self._parts
        parts.tally.set_aside += 1
        _log.warning("member_set_aside", f"a member of a queue was set aside: {reason[:200]}")
        try:
            if job is not None:
                member = member_of(job.job_id, queued)
            else:
                member = await self._running_member(queued)
            await parts.redis.set_aside(
                RUNNING_KEY, member, reason=reason, now_text=moment(parts.clock.now_ms())
            )
        except StoreAway:
            return  # it is in the running set, and the sweep finds it there

    async def _running_member(self, queued: bytes) -> bytes:
        """The member of the running set that ends with this text; its id may be anything."""
        async for member, _ in self._parts.redis.running():
            if member.endswith(b":" + queued):
                return bytes(member)
        return b""

    # ------------------------------------------------------------ from memory

    async def _serve_backlog(self, job_types: tuple[str, ...], group: list[Session], limit: int) -> int:
        parts = self._parts
        jobs = parts.backlog.take(job_types, limit, parts.now_us)
        if not jobs:
            return 0
        now_ms = parts.clock.now_ms()
        try:
            # Another broker may have found the row and put the job into Redis: whoever marks it first has it.
            unfit = await self._mark(jobs, is_strict=True)
        except StoreAway:
            parts.backlog.add(jobs, parts.now_us)
            return 0
        admitted = []
        for job in jobs:
            if job.job_id not in unfit:
                self._token = max(self._token + 1, now_ms * 1000)
                admitted.append((job, Taken(self._token, 0, b"")))
        self._hand_out(admitted, group, now_ms)
        return len(jobs)

    # ------------------------------------------------------------ to workers

    def _hand_out(
        self, admitted: Sequence[tuple[StoredJob, Taken]], group: list[Session], now_ms: int
    ) -> None:
        parts = self._parts
        connected = [each for each in group if parts.sessions.get(each.session_id) is each]
        turns = share_out(connected, len(admitted), lambda session: session.room)
        given: dict[bytes, list[Held]] = {}
        for (job, taken), session in zip(admitted, turns, strict=False):
            member = member_of(job.job_id, taken.queued) if taken.queued else b""
            held = Held(
                job, taken.token, member=member, session=session, now_ms=now_ms, deadline_ms=now_ms + LEASE_MS,
                lost=taken.lost,
            )  # fmt: skip
            parts.sessions.add(held)
            given.setdefault(session.session_id, []).append(held)
            parts.tally.waits.observe(max(now_ms - job.due_us // 1000, 0))
        for helds in given.values():
            session = helds[0].session
            parts.sessions.hand_out(session, helds)
            parts.announce(
                [held.job._replace(status=RUNNING) for held in helds], worker_id=session.said.worker_id
            )
        # A worker left while its job was on the way.
        for job, taken in admitted[len(turns) :]:
            if taken.queued:
                self._give_back(job, taken)
            else:
                parts.backlog.add([job], parts.now_us)
        shown = [
            job._replace(status=RUNNING, started_us=now_ms * 1000) for job, taken in admitted if taken.queued
        ]
        if shown:
            parts.spawn(self._show(shown))

    def _give_back(self, job: StoredJob, taken: Taken) -> None:
        back = conclude(job, cause=Cause.RELEASED, now_us=self._parts.now_us).job
        finish = Finish(back, taken.token, member_of(job.job_id, taken.queued), requeues=True)
        self._settling.end(Change(back), finish, lambda _: None)

    async def _show(self, jobs: list[StoredJob]) -> None:
        try:
            await self._parts.redis.picture(jobs)
        except StoreAway:
            return
