"""A job of a deployment as a task of a broker: what carries over, and what is noted beside it."""

from __future__ import annotations

import uuid

from tq import ids
from tq.client.rustq.backoff import NANOS_PER_MS, BackoffStrategy, Kind
from tq.client.rustq.job import Job
from tq.client.task import Task
from tq.errors import BadRequest
from tq.retry import DELAY_MS_MAX
from tq.task import METADATA_BYTES_MAX, RETRIES_MAX, TIMEOUT_MS_MAX

ID_SPACE = uuid.UUID("6f6b8a52-7c1d-5d1e-9a40-7471727573ff")
"""Names of jobs that are no UUIDs become ids in it, the same ones every time."""
STATUS, ERROR, NAME = "rustq_status", "rustq_error", "rustq_id"
"""Metadata of an adopted task: how it had ended, with which error, and its id when that was no UUID."""


def task_of(job: Job, queue: str, delay_ms: int = 0, metadata: dict[str, str] | None = None) -> Task:
    """The job as a task with the retries it has left. Raises BadRequest, PayloadTooLarge."""
    metadata = {name: _fitting(value) for name, value in (metadata or {}).items()}
    try:
        task_id = ids.to_text(ids.from_text(job.id))
    except BadRequest:
        task_id = str(uuid.uuid5(ID_SPACE, job.id))
        metadata[NAME] = job.id
    timeout_ms = job.additions.timeout_ms or TIMEOUT_MS_MAX
    return Task(
        job.job_type,
        job.payload,
        job.additions.priority,
        task_id=task_id,
        queue=queue,
        delay=min(delay_ms, DELAY_MS_MAX) / 1000 if delay_ms else None,
        timeout=min(timeout_ms, TIMEOUT_MS_MAX) / 1000,
        max_retries=min(max(job.max_retries - job.retry_count, 0), RETRIES_MAX),
        retry=left_of(job.backoff, job.retry_count).policy(),
        metadata=metadata,
    )


def left_of(backoff: BackoffStrategy, retries: int) -> BackoffStrategy:
    """What remains of a backoff after so many retries: a task begins to count anew."""
    if backoff.kind is Kind.EXPONENTIAL:
        return BackoffStrategy(backoff.kind, (backoff.delay_ms(retries) * NANOS_PER_MS,))
    if backoff.kind is Kind.CUSTOM:
        return BackoffStrategy(backoff.kind, backoff.nanos[retries:] or backoff.nanos[-1:])
    return backoff


def _fitting(value: str) -> str:
    return value.encode()[: METADATA_BYTES_MAX // 2].decode(errors="ignore")
