"""New jobs: into PostgreSQL, then onto the queue, then answered.

With Redis away they wait in memory; with PostgreSQL away they are refused, because nothing else keeps them for good.
"""

from __future__ import annotations

from collections.abc import Sequence

from tq.broker.adapters.stackduck.lane import Lane
from tq.broker.adapters.stackduck.parts import Parts
from tq.broker.adapters.stackduck.redis_queue import PAGE
from tq.broker.adapters.stackduck.stores import StoreAway
from tq.broker.backend import Answer, Peer
from tq.broker.compat.stackduck.stored import StoredJob
from tq.broker.compat.stackduck.tasks import check_payload, job_of_task, state_of
from tq.errors import TqError
from tq.verbs import Existing, Reply, Submit, Submitted


class Intake:
    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._pushes: Lane[StoredJob, bool] = Lane(self._push_batch, parts.on_fatal)
        self.under_way = 0
        """Tasks that were asked for and are not answered yet."""

    def submit(self, peer: Peer, request: Submit, answer: Answer) -> None:
        now_us = self._parts.now_us
        try:
            jobs = [job_of_task(spec, now_us) for spec in request.tasks]
            for job in jobs:
                check_payload(job)
        except TqError as error:
            answer(error)
            return
        # One after the other in the order they came: rows are listed by the time of their making.
        jobs = [_at(job, now_us + n) for n, job in enumerate(jobs)]
        self.under_way += len(jobs)

        def finished(reply: Reply | TqError) -> None:
            self.under_way -= len(jobs)
            answer(reply)

        def inserted(new: set[bytes] | TqError) -> None:
            if isinstance(new, TqError):
                finished(new)
            else:
                self._queue(jobs, new, finished_with=finished)

        self._parts.rows.inserts.add(jobs, inserted)

    def put(self, jobs: Sequence[StoredJob]) -> None:
        """Onto their queues, or into memory: jobs that have a row already."""
        for job in jobs:
            self._pushes.add(job, lambda _: None)

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

    def _queue(self, jobs: Sequence[StoredJob], new: set[bytes], *, finished_with: Answer) -> None:
        added = {job.job_id: job for job in jobs if job.job_id in new}
        left = len(added)

        def pushed(_: bool | TqError) -> None:
            nonlocal left
            left -= 1
            if not left:
                answer_now()

        def answer_now() -> None:
            self._parts.announce(added.values())
            if len(added) == len(jobs):
                finished_with(_submitted(jobs))
            else:
                self._parts.spawn(self._answer_existing(jobs, added, finished_with))

        for job in added.values():
            self._parts.tally.count("submitted", job.job_type)
            self._pushes.add(job, pushed)
        if not added:
            answer_now()

    async def _push_batch(self, jobs: Sequence[StoredJob]) -> list[bool | TqError]:
        parts = self._parts
        now_us = parts.now_us
        try:
            await parts.redis.push(jobs, now_us=now_us)
        except StoreAway:
            parts.backlog.add(jobs, now_us)
        parts.wake.set()
        return [True] * len(jobs)

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
