"""From a task to a job as StackDuck's consumers see it, and the words that come with it."""

from __future__ import annotations

from typing import NamedTuple

from tq.broker.compat.stackduck.enqueue import (
    DEFAULT_DELAY_S,
    DELAY_KEY,
    SCHEDULED_KEY,
    retry_delay_s,
)
from tq.broker.compat.stackduck.names import job_type_of
from tq.broker.compat.stackduck.payloads import normalise
from tq.ids import to_text
from tq.task import PRIORITY_HIGH_MIN, PRIORITY_NORMAL_MIN, Cause, TaskView
from tq.verbs import Delivery

EXISTING, NEW, RETRY = "ExistingJob", "NewJob", "RetryJob"
"""What a consumer is told of a job: it waited before the consumer came, it is new, or it is due (again)."""
STATUS = "Queued"
"""What a delivered job says: it is the picture of the job as it was queued."""
REFUSAL = "Job Error: Failed to insert job into Postgres: "
"""How the text of an enqueue that failed begins. Clients look for it, whatever keeps the jobs."""

UNCHECKED = "Failed to check existing jobs"
"""What a stream ends with, as INTERNAL, when the jobs that wait cannot be had."""


class Job(NamedTuple):
    """The fields of a GrpcJob, in their order. Times are seconds since 1970, 0 = unset."""

    id: str
    job_type: str
    payload: str
    status: str
    priority: int
    retry_count: int
    max_retries: int
    error_message: str
    delay: int
    scheduled_at: int
    started_at: int
    completed_at: int
    created_at: int
    updated_at: int


def job_of(task: Delivery) -> Job:
    """A job that is delivered for the first time. Raises InvalidJson, UnicodeDecodeError (a ValueError, both)."""
    created_at = task.created_ms // 1000
    return Job(
        to_text(task.task_id),
        job_type_of(task.task_type),
        normalise(task.payload.decode()),
        STATUS,
        priority_of(task.priority),
        0,
        task.max_retries,
        "",
        delay_of(task),
        _number(task.metadata.get(SCHEDULED_KEY)),
        0,
        0,
        created_at,
        created_at,
    )


def retried_job_of(task: Delivery, view: TaskView) -> Job:
    """The same for one that ran before: with its count, its last error, and when it was put back and due."""
    job = job_of(task)
    ended = [attempt for attempt in view.attempts if attempt.ended_ms]
    failed = [attempt for attempt in ended if attempt.error]
    last_ms = ended[-1].ended_ms if ended else 0
    scheduled_at = job.scheduled_at
    if view.retry_count and last_ms:
        scheduled_at = last_ms // 1000 + retry_delay_s(job.delay, view.retry_count - 1)
    return job._replace(
        retry_count=view.retry_count,
        error_message=failed[-1].error if failed else view.error,
        scheduled_at=scheduled_at,
        updated_at=last_ms // 1000 or job.created_at,
    )


def was_tried(view: TaskView) -> bool:
    """Whether an attempt before this one came to an end. One that was only handed back was none to StackDuck."""
    return any(attempt.ended_ms and attempt.cause != Cause.RELEASED for attempt in view.attempts)


def notification_of(task: Delivery, *, is_backlog: bool, was_tried: bool) -> str:
    """The word for a delivery. is_backlog: the consumer is still being given what waited when it came."""
    if is_backlog:
        return EXISTING
    return RETRY if was_tried or SCHEDULED_KEY in task.metadata else NEW


def priority_of(priority: int) -> int:
    if priority >= PRIORITY_HIGH_MIN:
        return 1
    return 2 if priority >= PRIORITY_NORMAL_MIN else 3


def delay_of(task: Delivery) -> int:
    """The base of its retry delay in seconds."""
    return _number(task.metadata.get(DELAY_KEY)) or DEFAULT_DELAY_S


def _number(text: str | None) -> int:
    """Metadata are text that anybody can write; what is no plain number counts as unset."""
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 12 else 0
