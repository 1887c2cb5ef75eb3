"""The port to wherever job documents are kept. Redis is one driver; others plug in by entry point (`plugins`).

Everything that is done for every job takes many at once. A driver raises BrokerUnavailable when its store cannot be
reached (nothing may be assumed of what was asked), and never for one job's sake: what is wrong with one is its verdict.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from enum import IntEnum
from typing import NamedTuple, Protocol

from tq.client.rustq.job import Job, JobStatus

LEASE_MS = 15_000
"""How long a worker's word that it runs a job holds. It is given again while the job runs."""
RENEW_SECONDS = 5.0
CRASHES_MAX = 3
"""The third time a job's worker dies with it, the job is set aside: it may be what kills them."""


class Entry(NamedTuple):
    """A new job. document: what is kept of it. watch_ms: how long it may take to be begun; 0 = however long."""

    job: Job
    document: bytes
    watch_ms: int = 0


class Claim(NamedTuple):
    """A worker has this job in hand and asks whether to run it.

    queue: the one it serves. document: the job as it came, stored when the store does not know the job.
    is_redelivered: somebody had it in hand before and did not answer for it.
    """

    job: Job
    document: bytes
    is_redelivered: bool
    queue: str = ""


class Verdict(IntEnum):
    """What to do with a claimed job."""

    RUN = 0
    """It is Processing now, and leased to the one who asked."""
    ENDED = 1
    """The record says that it has ended, or is cancelled: this message is a copy."""
    STALE = 2
    """A later attempt of it has been published: so is this one."""
    BUSY = 3
    """Another worker says that it runs it."""
    POISONED = 4
    """Its workers died with it CRASHES_MAX times."""
    BROKEN = 5
    """Its keys in the store hold something else."""


class End(NamedTuple):
    """How an attempt ended.

    status: COMPLETED, FAILED, or PENDING when it will run again. document: replaces the stored one; empty = stays.
    next_retry: the retry_count of the message that has been published for the next attempt; -1 = none.
    queue, watch_ms: that message should be read on this queue within so long; see `take_overdue`.
    """

    job_id: str
    status: JobStatus
    document: bytes = b""
    next_retry: int = -1
    queue: str = ""
    watch_ms: int = 0


class JobStorage(Protocol):
    """Documents and statuses of jobs."""

    async def store_jobs(self, entries: Sequence[Entry], queue: str) -> None:
        """Keep new jobs of a queue as Pending. One whose id is known already stays as it is, so doing it again is safe."""
        ...

    async def get_job(self, job_id: str) -> Job | None:
        """The document. Raises BadJob when something else is kept there."""
        ...

    async def get_job_status(self, job_id: str) -> JobStatus | None:
        """The status that counts; None = no such job."""
        ...

    async def begin_jobs(self, claims: Sequence[Claim], worker_id: str) -> Sequence[Verdict]:
        """Decide on each, one after the other, as one step that no other worker's comes between."""
        ...

    async def renew_leases(self, job_ids: Sequence[str], worker_id: str) -> None:
        """These still run."""
        ...

    async def end_jobs(self, ends: Sequence[End], worker_id: str) -> Sequence[bool]:
        """Write how attempts ended, and give up their leases.

        False: the record said Completed or Cancelled already, and was left so.
        """
        ...

    async def forget_jobs(self, job_ids: Sequence[str]) -> None:
        """Drop jobs that were stored and then could not be queued."""
        ...

    async def take_overdue(self, queue: str, again_ms: int, limit: int) -> Sequence[str]:
        """Jobs of the queue that were to be begun by now, and that nobody runs; each is told again after again_ms.

        Only what takes a delay is watched: RabbitMQ moves a message from one queue to the next without making sure, and
        dying then may lose it. Times are counted on the store's own clock.
        """
        ...

    def ids(self, status: JobStatus) -> AsyncIterator[Sequence[str]]:
        """The ids in a status, in batches, each at least once; what comes or goes meanwhile may be in them or not."""
        ...

    async def get_documents(self, job_ids: Sequence[str]) -> Sequence[tuple[bytes | None, JobStatus | None]]:
        """Documents as they are kept and statuses, in the order of the ids."""
        ...

    async def get_job_types(self) -> set[str]:
        """Every type that was ever stored."""
        ...

    async def get_job_count_by_status(self, status: JobStatus) -> int: ...

    async def health_check(self) -> Sequence[str]:
        """What is wrong with the store that does not stop it, in words. Raises BrokerUnavailable when it is away."""
        ...

    async def close(self) -> None: ...
