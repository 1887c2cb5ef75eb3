"""New jobs: into PostgreSQL, then onto the queue, then answered.

With Redis away they wait in memory; with PostgreSQL away they are refused, because nothing else keeps them for good.
"""

from __future__ import annotations

from collections.abc import Sequence

from tq.broker.adapters.stackduck.lane import Lane
from tq.broker.adapters.stackduck.parts import Parts
from tq.broker.adapters.stackduck.redis_queue import PAGE
from tq.broker.adapters.stackduck.stores import StoreAway, StoreCut, outward
from tq.broker.backend import Answer, Peer
from tq.broker.compat.stackduck.stored import StoredJob
from tq.broker.compat.stackduck.tasks import check_payload, is_rounded, job_of_task, state_of
from tq.errors import TqError
from tq.logs import get_logger
from tq.verbs import Existing, Reply, Submit, Submitted

_log = get_logger("stackduck")

DOUBTFUL_MAX = 20_000
"""Jobs whose insert was cut off, to be looked for when PostgreSQL is back. Beyond that the sweep finds them, later."""


class Intake:
    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._pushes: Lane[Sequence[StoredJob], bool] = Lane(self._push_batch, parts.on_fatal, weigh=len)
        self.under_way = 0
        """Tasks that were asked for and are not answered yet."""
        self._doubtful: list[StoredJob] = []

    def submit(self, peer: Peer, request: Submit, answer: Answer) -> None:
        now_us = self._parts.now_us
        try:
            jobs = [job_of_task(spec, now_us) for spec in request.tasks]
            for job in jobs:
                check_payload(job)
        except TqError as error:
            answer(error)
            return
        self._count_rounded(sum(map(is_rounded, request.tasks)))
        # One after the other in the order they came: rows are listed by the time of their making.
        jobs = [_at(job, now_us + n) for n, job in enumerate(jobs)]
        self.under_way += len(jobs)

        def finished(reply: Reply | TqError) -> None:
            self.under_way -= len(jobs)
            answer(reply)

        def inserted(new: set[bytes] | TqError) -> None:
            if isinstance(new, TqError):
                if isinstance(new, StoreCut):
                    self._doubt(jobs)
                finished(outward(new))
            else:
                self._queue(jobs, new, finished_with=finished)

        self._parts.rows.inserts.add(jobs, inserted)

    def put(self, jobs: Sequence[StoredJob]) -> None:
        """Onto their queues, or into memory: jobs that have a row already."""
        self._pushes.add(jobs, lambda _: None)

    async def settle_doubts(self) -> None:
        """PostgreSQL is back: queue what it has of the jobs whose inserts were cut off. Raises StoreAway."""
        while doubtful := self._doubtful[:PAGE]:
            rows = await self._parts.rows.find(job.job_id for job in doubtful)
            del self._doubtful[: len(doubtful)]
            # By way of memory: from there a job gets into Redis only if Redis does not know it.
            self._parts.backlog.add(
                [row for row in rows.values() if row.status.lower() == "queued"], self._parts.now_us
            )
            if self._parts.redis.store.is_up:
                await self.put_back()
            self._parts.wake.set()

    async def stop(self) -> None:
        await self._pushes.stop()

    async def put_back(self) -> None:
        """Redis is back: give it what waited in memory, but for what it has already. Raises StoreAway."""
        parts = self._parts
        while jobs := parts.backlog.drain(PAGE):
            try:
                await parts.redis.push(jobs, now_us=parts.now_us, only_unknown=True)
            except StoreAway:
                parts.backlog.add(jobs, parts.now_us)
                raise

    # ------------------------------------------------------------ inside

    def _count_rounded(self, rounded: int) -> None:
        """Said once in the log, counted for the metrics; a task shows what it got."""
        if rounded and not self._parts.tally.rounded:
            _log.warning(
                "rounded", "priorities are kept as their tier, and jitter is left out: StackDuck has neither"
            )
        self._parts.tally.rounded += rounded

    def _doubt(self, jobs: Sequence[StoredJob]) -> None:
        """Their rows may be there; nothing has queued them."""
        self._doubtful += jobs[: max(DOUBTFUL_MAX - len(self._doubtful), 0)]

    def _queue(self, jobs: Sequence[StoredJob], new: set[bytes], *, finished_with: Answer) -> None:
        added = {job.job_id: job for job in jobs if job.job_id in new}
        if self._doubtful:
            # Asked for again, and this time it is known that they are new.
            self._doubtful = [job for job in self._doubtful if job.job_id not in added]
        for job in added.values():
            self._parts.tally.count("submitted", job.job_type)

        def pushed(_: bool | TqError) -> None:
            self._parts.announce(added.values())
            if len(added) == len(jobs):
                finished_with(_submitted(jobs))
            else:
                self._parts.spawn(self._answer_existing(jobs, added, finished_with))

        if added:
            self._pushes.add(list(added.values()), pushed)
        else:
            pushed(True)

    async def _push_batch(self, verbs: Sequence[Sequence[StoredJob]]) -> list[bool | TqError]:
        parts = self._parts
        jobs = [job for verb in verbs for job in verb]
        for start in range(0, len(jobs), PAGE):
            await self._push_page(jobs[start : start + PAGE])
        parts.wake.set()
        return [True] * len(verbs)

    async def _push_page(self, jobs: Sequence[StoredJob]) -> None:
        parts = self._parts
        now_us = parts.now_us
        try:
            await parts.redis.push(jobs, now_us=now_us)
        except StoreAway:
            parts.backlog.add(jobs, now_us)

    async def _answer_existing(
        self, jobs: Sequence[StoredJob], added: dict[bytes, StoredJob], answer: Answer
    ) -> None:
        """Some were there already: say which, and what they are now."""
        try:
            known = await self._parts.rows.find(job.job_id for job in jobs if job.job_id not in added)
        except TqError as error:
            answer(error)
            return
        now_us = self._parts.now_us
        merged = [known.get(job.job_id, job) for job in jobs]
        existing = tuple(
            Existing(position, job.job_id, (known[job.job_id].created_us or 0) // 1000)
            for position, job in enumerate(jobs)
            if job.job_id in known
        )
        states = bytes(state_of(job, now_us) for job in merged)
        answer(Submitted((jobs[0].created_us or 0) // 1000, states, existing))


def _at(job: StoredJob, us: int) -> StoredJob:
    return job._replace(created_us=us, updated_us=us)


def _submitted(jobs: Sequence[StoredJob]) -> Submitted:
    created_us = jobs[0].created_us or 0
    return Submitted(created_us // 1000, bytes(state_of(job, created_us + len(jobs)) for job in jobs))
