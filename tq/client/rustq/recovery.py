"""What RabbitMQ lost is queued again from the record: jobs of a deleted queue, and delayed ones that never arrived.

RabbitMQ moves a message from a delay queue to its target without making sure; killed at that moment it has neither.
"""

from __future__ import annotations

from collections.abc import Collection

from tq.client.rustq.amqp import Link
from tq.client.rustq.job import BadJob, Job, JobStatus, from_json
from tq.client.rustq.names import QueueNames
from tq.client.rustq.publisher import Message, Publisher
from tq.client.rustq.storage import LEASE_MS, JobStorage
from tq.client.rustq.subscription import REDELIVERED
from tq.clock import Clock

PUBLISH_SECONDS = 30.0
AGAIN_MS = 10_000
"""How long after one look at an overdue job the next one follows."""
OVERDUE_MAX = 200
OVERDUE_LONG_MS = 600_000


class Recovery:
    """Of one queue. A job that is queued twice by it runs once: the record tells the second that the first was there."""

    def __init__(
        self, names: QueueNames, storage: JobStorage, publisher: Publisher, link: Link, clock: Clock
    ) -> None:
        self._names = names
        self._link = link
        self._storage = storage
        self._publisher = publisher
        self._clock = clock

    async def find_overdue(self) -> int:
        """Queue delayed jobs again that should have been begun by now; returns how many.

        While messages wait in its queue a job is taken to be among them, for OVERDUE_LONG_MS.
        Raises BrokerUnavailable, OutcomeUnknown.
        """
        ids = await self._storage.take_overdue(self._names.main, AGAIN_MS, OVERDUE_MAX)
        if not ids:
            return 0
        found = 0
        waiting = {queue: await self._link.ready(queue) for queue in self._names.lanes}
        for document, status in await self._storage.get_documents(ids):
            job = self._readable(document)
            if document is None or job is None:
                continue
            late_ms = self._clock.now_ms() - self.due_ms(job)
            if not waiting[self._names.lane(job.additions.priority)] or late_ms > OVERDUE_LONG_MS:
                headers = {REDELIVERED: 1} if status is JobStatus.PROCESSING else {}
                await self._publisher.publish(
                    Message(self._names.lane(job.additions.priority), document, headers=headers),
                    PUBLISH_SECONDS,
                )
                found += 1
        return found

    async def requeue(self, job_types: Collection[str]) -> int:
        """Queue what the record says is Pending or Processing; returns how many.

        A document names its queue only when tq added it with options; of the others those of job_types are taken.
        What runs is queued with a delay: it is left alone if it still runs then.
        Raises BrokerUnavailable, OutcomeUnknown; calling again is safe.
        """
        requeued = 0
        for status in (JobStatus.PENDING, JobStatus.PROCESSING):
            async for ids in self._storage.ids(status):
                documents = await self._storage.get_documents(ids)
                for document, recorded in documents:
                    job = self._lost(document, job_types) if recorded is status else None
                    if document is not None and job is not None:
                        await self._queue(job, document, is_running=status is JobStatus.PROCESSING)
                        requeued += 1
        return requeued

    def _lost(self, document: bytes | None, job_types: Collection[str]) -> Job | None:
        """The job, if it was in this queue as far as one can know, and does not wait in a delay queue, which is there."""
        job = self._readable(document)
        if job is None:
            return None
        is_ours = job.additions.queue == self._names.main or (
            not job.additions.queue and job.job_type in job_types
        )
        return job if is_ours and self.due_ms(job) <= self._clock.now_ms() else None

    @staticmethod
    def _readable(document: bytes | None) -> Job | None:
        try:
            return from_json(document) if document is not None else None
        except BadJob:
            return None

    @staticmethod
    def due_ms(job: Job) -> int:
        """When a Pending job is to run, as far as its document says; wall milliseconds."""
        if not job.retry_count:
            return job.additions.due_ms
        return job.updated_at * 1000 + job.backoff.delay_ms(job.retry_count - 1)

    async def _queue(self, job: Job, document: bytes, *, is_running: bool) -> None:
        queue = self._names.lane(job.additions.priority)
        message = Message(queue, document)
        if is_running:
            message = Message(queue, document, 2 * LEASE_MS, {REDELIVERED: 1})
        await self._publisher.publish(message, PUBLISH_SECONDS)
