"""Tasks on StackDuck's stores: which ones fit, the job that one becomes, and the task that a job is.

StackDuck's record has no place for dependencies, unique keys, metadata, time limits of their own or other retry policies
than its own; a task that asks for them is refused. Payloads are JSON there: other bytes are wrapped, as
`{"tq:bytes":"<base64>"}`, and unwrapped for tq's own workers.
"""

from __future__ import annotations

import base64
import binascii
import json

from tq.broker.compat.stackduck.enqueue import (
    DEFAULT_DELAY_S,
    DELAY_KEY,
    DELAY_S_MAX,
    LEASE_MS,
    PRIORITY_OF,
    SCHEDULED_KEY,
    retry_delay_s,
    retry_policy,
)
from tq.broker.compat.stackduck.jobs import priority_of
from tq.broker.compat.stackduck.names import QUEUE, job_type_of, task_type_of
from tq.broker.compat.stackduck.payloads import InvalidJson, normalise
from tq.broker.compat.stackduck.stored import QUEUED, StoredJob
from tq.errors import BadRequest, Unsupported
from tq.retry import DEFAULT_RETRY, EXPONENTIAL, RetryPolicy
from tq.task import (
    CANCELLED,
    COMPLETED,
    DEAD_LETTER,
    DEFAULT_QUEUE,
    DEFAULT_TIMEOUT_MS,
    IN_PROGRESS,
    PENDING,
    RETRYING,
    SCHEDULED,
    Attempt,
    Cause,
    TaskSpec,
    TaskView,
)
from tq.verbs import Delivery

QUEUES = (QUEUE, DEFAULT_QUEUE)
"""StackDuck knows no queues beside its job types: these two names mean all of it."""
_KEPT_PRIORITIES = frozenset(PRIORITY_OF.values())
_WRAP = "tq:bytes"
_WRAP_START = '{"tq:bytes":"'
STATE_OF = {"completed": COMPLETED, "failed": DEAD_LETTER, "cancelled": CANCELLED, "running": IN_PROGRESS}
"""lower-case status -> state; what is not here waits."""


def job_of_task(spec: TaskSpec, now_us: int) -> StoredJob:
    """The job for a task. Raises Unsupported for what a job cannot be."""
    _refuse(spec)
    delay_s = _delay_s(spec)
    scheduled_us: int | None = None
    if spec.schedule_at_ms or spec.delay_ms:
        scheduled_us = spec.schedule_at_ms * 1000 or now_us + spec.delay_ms * 1000
    return StoredJob(
        spec.task_id,
        job_type_of(spec.task_type),
        payload_text(spec.payload),
        QUEUED,
        priority_of(spec.priority),
        0,
        spec.max_retries,
        None,
        delay_s,
        scheduled_us,
        None,
        None,
        now_us,
        now_us,
    )


def is_rounded(spec: TaskSpec) -> bool:
    """Whether the job runs a little otherwise than the task says: StackDuck has three priorities and no jitter.

    The jitter of the policy that a task has without asking does not count.
    """
    return spec.priority not in _KEPT_PRIORITIES or (
        spec.retry is not None and spec.retry.jitter_permille > 0
    )


def _refuse(spec: TaskSpec) -> None:
    wrong = ""
    if spec.queue not in QUEUES:
        wrong = f"queues other than {QUEUE!r} (or {DEFAULT_QUEUE!r}, the same)"
    elif spec.dependencies:
        wrong = "dependencies"
    elif spec.unique_key:
        wrong = "unique_key"
    elif spec.expires_at_ms:
        wrong = "expires_at"
    elif spec.timeout_ms not in (DEFAULT_TIMEOUT_MS, LEASE_MS):
        wrong = "timeout_seconds: every attempt has half an hour"
    elif spec.metadata and not spec.metadata.keys() <= {DELAY_KEY, SCHEDULED_KEY}:
        wrong = "metadata"
    if wrong:
        raise Unsupported(f"StackDuck's stores have no place for {wrong}")


def _delay_s(spec: TaskSpec) -> int:
    """The base of the retry delay. The default policy's jitter is left out: StackDuck spreads nothing."""
    policy = spec.retry or DEFAULT_RETRY
    base_s, rest = divmod(policy.base_ms, 1000)
    fits = (
        policy.strategy == EXPONENTIAL
        and policy.factor_permille == 2_000
        and policy.cap_ms == DELAY_S_MAX * 1000
        and not rest
        and 1 <= base_s <= DELAY_S_MAX
    )
    if not fits:
        raise Unsupported(
            "StackDuck retries after base * 2^n seconds, an hour at most; retry: another policy has no place in its stores"
        )
    return base_s


def payload_text(payload: bytes) -> str:
    """The payload as a job has it."""
    try:
        return normalise(payload.decode())
    except (InvalidJson, UnicodeDecodeError):
        return f'{_WRAP_START}{base64.b64encode(payload).decode()}"}}'


def payload_bytes(text: str) -> bytes:
    """The payload as tq's workers get it."""
    if text.startswith(_WRAP_START):
        try:
            found = json.loads(text)
            if len(found) == 1:
                return base64.b64decode(found[_WRAP], validate=True)
        except (ValueError, binascii.Error):
            pass
    return text.encode()


def check_payload(job: StoredJob) -> None:
    """Raises BadRequest for what PostgreSQL's JSON does not take."""
    if "\\u0000" in job.payload:
        raise BadRequest("payload: PostgreSQL keeps no \\u0000 in JSON")


def delivery_of(job: StoredJob, *, token: int, timeout_ms: int) -> Delivery:
    """A job that is handed to a worker."""
    metadata: dict[str, str] = {}
    if job.delay_s != DEFAULT_DELAY_S:
        metadata[DELAY_KEY] = str(job.delay_s)
    if job.scheduled_us is not None and job.scheduled_us > 0:
        metadata[SCHEDULED_KEY] = str(job.scheduled_us // 1_000_000)
    return Delivery(
        job.job_id,
        token,
        task_type_of(job.job_type),
        payload_bytes(job.payload),
        job.retries + 1,
        timeout_ms,
        QUEUE,
        PRIORITY_OF[job.rank],
        (job.created_us or 0) // 1000,
        job.retries_max,
        metadata,
    )


def state_of(job: StoredJob, now_us: int) -> int:
    state = STATE_OF.get(job.status.lower())
    if state is not None:
        return state
    if job.due_us > now_us:
        return RETRYING if job.retries else SCHEDULED
    return PENDING


def view_of(job: StoredJob, now_us: int, *, worker_id: str = "", token: int = 0) -> TaskView:
    """A job as tq shows it. It remembers no more than its last failure."""
    state = state_of(job, now_us)
    created_ms, updated_ms = _ms(job.created_us), _ms(job.updated_us)
    error = job.error_message or ""
    attempts: tuple[Attempt, ...] = ()
    if job.retries and error:
        ended_ms = updated_ms
        if job.scheduled_us is not None:
            ended_ms = _ms(job.scheduled_us) - retry_delay_s(job.delay_s, job.retries - 1) * 1000
        attempts = (Attempt(job.retries, "", 0, ended_ms, max(ended_ms, 1), Cause.ERROR, error),)
    payload = payload_bytes(job.payload)
    return TaskView(
        job.job_id,
        task_type_of(job.job_type),
        QUEUE,
        state,
        _reason(job, state),
        PRIORITY_OF[job.rank],
        created_ms,
        updated_ms or created_ms,
        _ms(job.scheduled_us),
        LEASE_MS,
        job.retries_max,
        job.retries,
        worker_id,
        error=error,
        attempts=attempts,
        payload=payload,
        payload_bytes=len(payload),
        started_ms=_ms(job.started_us),
        ended_ms=_ms(job.completed_us),
        token=token,
        retry=_policy(job),
    )


def _policy(job: StoredJob) -> RetryPolicy:
    return retry_policy(max(job.delay_s, 1))


def _reason(job: StoredJob, state: int) -> str:
    if state == DEAD_LETTER:
        return job.error_message or "StackDuck gave it up"
    return {
        PENDING: "waits for a worker",
        SCHEDULED: "waits until its time",
        RETRYING: "failed, and waits for its retry",
        IN_PROGRESS: "a worker has it",
        CANCELLED: "cancelled",
    }.get(state, "")


def _ms(us: int | None) -> int:
    return 0 if us is None else max(us // 1000, 0)
