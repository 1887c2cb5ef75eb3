"""Moves one queue of a rustq deployment into a tq broker: its messages, and the jobs that only the store knows.

Every step may be done again: a job keeps its id, and submitting an id again gives the task that exists; a message is
acknowledged after its task is safe. What is not moved is counted and left where it is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from aiormq import exceptions, spec
from aiormq.channel import Channel

from tq.client.rustq.adopted import STATE_OF, ended_of, task_of
from tq.client.rustq.amqp import LOST, RPC_SECONDS, Link, answered, close_channel
from tq.client.rustq.job import BadJob, Job, JobStatus, from_json
from tq.client.rustq.names import QueueNames
from tq.client.rustq.recovery import Recovery
from tq.client.rustq.storage import JobStorage
from tq.client.task import Task
from tq.errors import BrokerUnavailable
from tq.task import EndedTask

BATCH_MAX = 500
Submit = Callable[[Sequence[Task]], Awaitable[int]]
"""Submits tasks; returns how many of them existed."""
Import = Callable[[Sequence[EndedTask]], Awaitable[int]]
"""Imports tasks that have ended; returns how many of them existed."""


class Count(NamedTuple):
    """One line of the report."""

    name: str
    meaning: str


COUNTS = (
    Count("messages", "messages read from the queues"),
    Count("moved", "jobs that are tasks now"),
    Count("already_there", "jobs that were tasks before"),
    Count("waiting", "of the moved: jobs without a message in the queue, with the delay that is left"),
    Count("failed", "of the moved: jobs that had failed; dead letters now, `tq-admin retry` runs them"),
    Count("completed", "of the moved: jobs that had completed"),
    Count("cancelled", "of the moved: jobs that had been cancelled"),
    Count("ended_messages", "of the messages: of jobs that the record says have ended; taken off the queue"),
    Count("unreadable", "messages that are no jobs; left in the queue"),
    Count("processing_left", "jobs that somebody still runs; left"),
    Count("broken_left", "documents that are no jobs; left"),
    Count("elsewhere_left", "jobs of other queues or types; left"),
)


@dataclass
class Adoption:
    """One run. submit, bring_in: how tasks get into the broker; neither is called when is_dry.

    job_types: of the documents that do not say their queue (rustq's never do) those of these types are taken; empty =
        all. on_step: told how many jobs each step dealt with.
    """

    names: QueueNames
    storage: JobStorage
    link: Link
    submit: Submit
    bring_in: Import
    now_ms: int
    job_types: Collection[str] = ()
    is_dry: bool = False
    on_step: Callable[[int], None] = lambda step: None
    counts: Counter[str] = field(default_factory=Counter)
    _unread: list[int] = field(default_factory=list)
    _seen: set[str] = field(default_factory=set)

    async def consumers(self) -> int:
        """Workers that are still connected to the queue."""
        channel = await self.link.channel(confirms=False)
        try:
            declared = await self._look(channel, self.names.main)
            return (declared.consumer_count or 0) if declared is not None else 0
        finally:
            await close_channel(channel)

    async def run(self) -> None:
        """Move everything. Raises BrokerUnavailable, OutcomeUnknown; running it again goes on."""
        for queue in self.names.lanes:
            await self._move_messages(queue)
        for status in JobStatus:
            async for job_ids in self.storage.ids(status):
                for first in range(0, len(job_ids), BATCH_MAX):
                    await self._move_documents(job_ids[first : first + BATCH_MAX], status)

    # ------------------------------------------------------------ messages

    async def _move_messages(self, queue: str) -> None:
        channel = await self.link.channel(confirms=False)
        try:
            if await self._look(channel, queue) is None:
                return
            self._unread = []
            while batch := await self._read(channel, queue):
                await self._move_waiting(await self._not_ended([job for _, job in batch]), are_due=True)
                if not self.is_dry:
                    for tag, _ in batch:
                        await answered(channel.basic_ack(tag))
                self.on_step(len(batch))
        except LOST as error:
            raise BrokerUnavailable(f"RabbitMQ was lost on the way: {error}; run it again") from error
        finally:
            # What was read and not acknowledged goes back to its place in the queue.
            await close_channel(channel)

    async def _look(self, channel: Channel, queue: str) -> spec.Queue.DeclareOk | None:
        """None = there is no such queue."""
        try:
            return await answered(channel.queue_declare(queue, passive=True, timeout=RPC_SECONDS))
        except exceptions.ChannelNotFoundEntity:
            return None

    async def _read(self, channel: Channel, queue: str) -> list[tuple[int, Job]]:
        """Up to BATCH_MAX jobs, held unacknowledged; empty at the end of the queue."""
        batch: list[tuple[int, Job]] = []
        while len(batch) < BATCH_MAX:
            message = await answered(channel.basic_get(queue, timeout=RPC_SECONDS))
            if not isinstance(message.delivery, spec.Basic.GetOk) or message.delivery.delivery_tag is None:
                break
            self.counts["messages"] += 1
            try:
                batch.append((message.delivery.delivery_tag, from_json(message.body)))
            except BadJob:
                self.counts["unreadable"] += 1
        return batch

    # ------------------------------------------------------------ documents

    async def _move_documents(self, job_ids: Sequence[str], status: JobStatus) -> None:
        moving: list[Job] = []
        for document, recorded in await self.storage.get_documents(job_ids):
            if document is None or recorded is not status:
                continue  # a set may keep an id that has moved on
            try:
                job = from_json(document)
            except BadJob:
                self.counts["broken_left"] += 1
                continue
            if not self._is_ours(job):
                self.counts["elsewhere_left"] += 1
            elif job.id not in self._seen:
                moving.append(job)
        if status is JobStatus.PROCESSING:
            self.counts["processing_left"] += len(moving)
        elif status is JobStatus.PENDING:
            self.counts["waiting"] += await self._move_waiting(moving, are_due=False)
        else:
            await self._move_ended(moving, status)
        self.on_step(len(job_ids))

    def _is_ours(self, job: Job) -> bool:
        if job.additions.queue:
            return job.additions.queue == self.names.main
        return not self.job_types or job.job_type in self.job_types

    # ------------------------------------------------------------ into the broker

    async def _not_ended(self, jobs: Sequence[Job]) -> list[Job]:
        """Those of the messages that are to run. The record of an end outlives a message that was not acknowledged."""
        documents = await self.storage.get_documents([job.id for job in jobs])
        left = [job for job, (_, status) in zip(jobs, documents, strict=True) if status not in STATE_OF]
        self.counts["ended_messages"] += len(jobs) - len(left)
        return left

    async def _move_waiting(self, jobs: Sequence[Job], *, are_due: bool) -> int:
        """How many were new. are_due: their messages have arrived; otherwise what is left of their delay counts."""
        self._seen.update(job.id for job in jobs)
        tasks = [task_of(job, self.names.main, 0 if are_due else self._left_ms(job)) for job in jobs]
        existing = await self.submit(tasks) if tasks and not self.is_dry else 0
        return self._count(len(tasks), existing)

    async def _move_ended(self, jobs: Sequence[Job], status: JobStatus) -> None:
        tasks = [ended_of(job, self.names.main, status) for job in jobs]
        existing = await self.bring_in(tasks) if tasks and not self.is_dry else 0
        self.counts[status.value.lower()] += self._count(len(tasks), existing)

    def _count(self, tasks: int, existing: int) -> int:
        self.counts["moved"] += tasks - existing
        self.counts["already_there"] += existing
        return tasks - existing

    def _left_ms(self, job: Job) -> int:
        return max(0, Recovery.due_ms(job) - self.now_ms)
