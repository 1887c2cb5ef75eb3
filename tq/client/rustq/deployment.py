"""The engine of a rustq deployment: jobs travel through RabbitMQ, their documents stand in a store."""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

from tq.client.routing import back_off_s
from tq.client.rustq.amqp import Link
from tq.client.rustq.deployment_worker import DeploymentWorker
from tq.client.rustq.engine import EngineOptions, NewJob
from tq.client.rustq.handlers import Handlers
from tq.client.rustq.job import NO_ADDITIONS, Additions, Job, JobStatus, to_json
from tq.client.rustq.names import names_of, watch_ms
from tq.client.rustq.options import WorkerOptions
from tq.client.rustq.plugins import storage_of
from tq.client.rustq.publisher import Message, Publisher
from tq.client.rustq.storage import Entry, JobStorage
from tq.clock import SystemClock
from tq.errors import BrokerUnavailable, Outcome, TqError
from tq.task import DEFAULT_PRIORITY

ADDED_AT_ONCE_MAX = 500
"""Jobs of one `add` that are written, and queued, together."""


class _New(NamedTuple):
    entry: Entry
    message: Message


class DeploymentEngine:
    """See `Engine`."""

    def __init__(self, options: EngineOptions) -> None:
        """Connects to nothing. Raises BadRequest for addresses or a name that cannot be."""
        self._options = options
        self._names = names_of(options.name)
        self._clock = SystemClock()
        self._rng = random.Random()
        self._storage = options.storage or storage_of(options.redis_url)
        self._publisher = Publisher(self._link("queue"), self._clock)

    @property
    def storage(self) -> JobStorage:
        return self._storage

    async def add(self, jobs: Sequence[NewJob]) -> None:
        deadline_ms = self._clock.monotonic_ms() + round(self._options.timeout_s * 1000)
        before: asyncio.Task[None] | None = None
        try:
            for first in range(0, len(jobs), ADDED_AT_ONCE_MAX):
                part = jobs[first : first + ADDED_AT_ONCE_MAX]
                news = [self._new(job) for job in part]
                await self._store(news, deadline_ms)
                # While RabbitMQ writes these the next ones go into the record.
                if before is not None:
                    await before
                before = asyncio.ensure_future(self._publish(news, deadline_ms))
            if before is not None:
                await before
        except BaseException as error:
            if before is not None:
                if isinstance(error, asyncio.CancelledError):
                    before.cancel()
                await asyncio.gather(before, return_exceptions=True)
            raise

    async def get_job(self, job_id: str) -> Job | None:
        job = await self._storage.get_job(job_id)
        if job is None:
            return None
        # The word beside the document counts; the one inside stays what it was.
        return job._replace(status=await self._storage.get_job_status(job_id) or job.status)

    async def get_job_status(self, job_id: str) -> JobStatus | None:
        return await self._storage.get_job_status(job_id)

    def worker(self, handlers: Handlers, options: WorkerOptions) -> DeploymentWorker:
        return DeploymentWorker(
            names=self._names,
            link=self._link("worker"),
            storage=self._storage,
            publisher=self._publisher,
            handlers=handlers,
            options=options,
            worker_id=str(uuid.uuid4()),
            clock=self._clock,
            rng=self._rng,
        )

    async def close(self) -> None:
        await self._publisher.close()
        await self._storage.close()

    # ------------------------------------------------------------ inside

    def _link(self, role: str) -> Link:
        return Link(
            self._options.amqp_url, f"tq rustq {role} {self._names.main}", self._rng, self._options.tls
        )

    def _new(self, new: NewJob) -> _New:
        job, delay_ms = self._job(new), new.options.delay_ms
        document = to_json(job)
        queue = self._names.lane(job.additions.priority)
        return _New(Entry(job, document, watch_ms(delay_ms)), Message(queue, document, delay_ms))

    def _job(self, new: NewJob) -> Job:
        options = new.options
        now_ms = self._clock.now_ms()
        additions = Additions(
            self._names.main,
            options.priority_number,
            options.timeout_ms,
            now_ms + options.delay_ms if options.delay_ms else 0,
        )
        is_plain = not (additions.timeout_ms or additions.due_ms or additions.priority != DEFAULT_PRIORITY)
        return Job(
            new.job_id,
            new.job_type,
            new.payload,
            created_at=now_ms // 1000,
            updated_at=now_ms // 1000,
            max_retries=options.retries,
            backoff=options.backoff,
            additions=NO_ADDITIONS if is_plain else additions,
        )

    async def _store(self, news: Sequence[_New], deadline_ms: int) -> None:
        """The record first: a worker that finds no record of a message would have to make one up."""
        failures = 0
        while True:
            try:
                return await self._storage.store_jobs([new.entry for new in news], self._names.main)
            except BrokerUnavailable:
                pause_s = back_off_s(failures, self._rng)
                failures += 1
                if self._clock.monotonic_ms() + pause_s * 1000 >= deadline_ms:
                    raise
                await asyncio.sleep(pause_s)

    async def _publish(self, news: Sequence[_New], deadline_ms: int) -> None:
        """Raises the gravest of the errors; the records of what surely was not queued are dropped."""
        left_s = max(0.001, (deadline_ms - self._clock.monotonic_ms()) / 1000)
        ends = await self._publisher.publish_all([new.message for new in news], left_s)
        errors = [(new.entry.job.id, end) for new, end in zip(news, ends, strict=True) if end is not None]
        if not errors:
            return
        surely_not = [
            job_id
            for job_id, end in errors
            if isinstance(end, TqError) and end.outcome is not Outcome.UNKNOWN
        ]
        with suppress(BrokerUnavailable):
            await self._storage.forget_jobs(surely_not)
        unknown = [
            end for _, end in errors if not (isinstance(end, TqError) and end.outcome is not Outcome.UNKNOWN)
        ]
        raise unknown[0] if unknown else errors[0][1]
