"""A job of a deployment as a task of a broker: what carries over, and what is noted beside it."""

from __future__ import annotations

import uuid

from tq import ids
from tq.client.rustq.backoff import NANOS_PER_MS, BackoffStrategy, Kind
from tq.client.rustq.job import Job, JobStatus
from tq.client.task import Task
from tq.errors import BadRequest
from tq.protocol.limits import TIME_MS_MAX
from tq.retry import DELAY_MS_MAX
from tq.task import CANCELLED, COMPLETED, DEAD_LETTER, RETRIES_MAX, TIMEOUT_MS_MAX, EndedTask

ID_SPACE = uuid.UUID("6f6b8a52-7c1d-5d1e-9a40-7471727573ff")
"""Names of jobs that are no UUIDs become ids in it, the same ones every time."""
NAME = "rustq_id"
"""Metadata of an adopted task: its id when that was no UUID."""
STATE_OF = {
    JobStatus.COMPLETED: COMPLETED,
    JobStatus.FAILED: DEAD_LETTER,
    JobStatus.CANCELLED: CANCELLED,
}
"""How a job ended -> how its task did."""


def task_of(job: Job, queue: str, delay_ms: int = 0) -> Task:
    """A job that waits, with the retries it has left. Raises BadRequest, PayloadTooLarge."""
    task_id, metadata = _named(job)
    return Task(
        job.job_type,
        job.payload,
        job.additions.priority,
        task_id=ids.to_text(task_id),
        queue=queue,
        delay=min(delay_ms, DELAY_MS_MAX) / 1000 if delay_ms else None,
        timeout=_timeout_ms(job) / 1000,
        max_retries=min(max(job.max_retries - job.retry_count, 0), RETRIES_MAX),
        retry=left_of(job.backoff, job.retry_count).policy(),
        metadata=metadata,
    )


def ended_of(job: Job, queue: str, status: JobStatus) -> EndedTask:
    """A job that has ended so. rustq keeps neither results nor who ran it, and says when in seconds."""
    task_id, metadata = _named(job)
    state = STATE_OF[status]
    return EndedTask(
        task_id,
        job.job_type,
        state,
        job.payload,
        error=job.last_error or "",
        queue=queue,
        priority=job.additions.priority,
        timeout_ms=_timeout_ms(job),
        max_retries=min(job.max_retries, RETRIES_MAX),
        retry=job.backoff.policy(),
        # Its last run failed as well, and no retry followed.
        failures=min(job.retry_count, RETRIES_MAX) + (state == DEAD_LETTER),
        created_ms=_ms(job.created_at),
        ended_ms=_ms(job.updated_at),
        metadata=metadata,
    )


def _named(job: Job) -> tuple[bytes, dict[str, str]]:
    """The id of its task, and the metadata that say so when it is another one."""
    try:
        return ids.from_text(job.id), {}
    except BadRequest:
        return uuid.uuid5(ID_SPACE, job.id).bytes, {NAME: job.id}


def _timeout_ms(job: Job) -> int:
    return min(job.additions.timeout_ms or TIMEOUT_MS_MAX, TIMEOUT_MS_MAX)


def _ms(seconds: int) -> int:
    return min(max(seconds, 0) * 1000, TIME_MS_MAX)


def left_of(backoff: BackoffStrategy, retries: int) -> BackoffStrategy:
    """What remains of a backoff after so many retries: a task begins to count anew."""
    if backoff.kind is Kind.EXPONENTIAL:
        return BackoffStrategy(backoff.kind, (backoff.delay_ms(retries) * NANOS_PER_MS,))
    if backoff.kind is Kind.CUSTOM:
        return BackoffStrategy(backoff.kind, backoff.nanos[retries:] or backoff.nanos[-1:])
    return backoff
