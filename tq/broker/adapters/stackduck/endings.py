"""What becomes of a job whose run ended: pure, by StackDuck's rules where it has some."""

from __future__ import annotations

from typing import NamedTuple

from tq.broker.compat.stackduck.enqueue import retry_delay_s
from tq.broker.compat.stackduck.stored import (
    CANCELLED,
    COMPLETED,
    FAILED,
    QUEUED,
    StoredJob,
    dead_letter,
    exhausted_reason,
)
from tq.task import CRASH_LIMIT, Cause

KEEP, FORGET, ONCE_MORE = 0, -1, 1
"""What happens to the number of workers that a job lost."""


class Ending(NamedTuple):
    """job: as it is now. letter: its entry for the dead-letter list, or empty."""

    job: StoredJob
    letter: str = ""
    lost: int = KEEP

    @property
    def requeues(self) -> bool:
        return self.job.status == QUEUED


def conclude(
    job: StoredJob, *, cause: int, now_us: int, error: str = "", delay_ms: int = -1, lost: int = 0
) -> Ending:
    """job: as it was handed out. lost: how many workers it has lost before. delay_ms: as in `SettleItem`.

    Errors and time-outs spend retries. A lost worker spends none, and the third time dead-letters the job. What is
    handed back or snoozes costs nothing; a snooze that names an error is StackDuck's RetryJob, which counts and has no
    limit.
    """
    if cause == Cause.DONE:
        return Ending(job._replace(status=COMPLETED, completed_us=now_us, updated_us=now_us), lost=FORGET)
    if cause == Cause.CANCELLED:
        return Ending(job._replace(status=CANCELLED, completed_us=now_us, updated_us=now_us), lost=FORGET)
    if cause in (Cause.ERROR, Cause.TIMEOUT):
        if job.retries < job.retries_max:
            return Ending(_again(job, now_us, _delay_ms(job, delay_ms), error))
        return _bury(job, now_us, error, exhausted_reason(job, error))
    if cause in (Cause.CRASH, Cause.LEASE_LOST):
        if lost + 1 >= CRASH_LIMIT:
            reason = f"it crashed or lost its worker {CRASH_LIMIT} times; the last time: {error or 'no text'}"
            return _bury(job, now_us, reason, reason)
        return Ending(_back(job, now_us), lost=ONCE_MORE)
    if cause == Cause.SNOOZED:
        delay_ms = _delay_ms(job, delay_ms)
        if error:
            return Ending(_again(job, now_us, delay_ms, error))
        return Ending(_back(job, now_us)._replace(scheduled_us=now_us + delay_ms * 1000))
    if cause == Cause.RELEASED:
        later = now_us + delay_ms * 1000 if delay_ms > 0 else job.scheduled_us
        return Ending(_back(job, now_us)._replace(scheduled_us=later))
    return _bury(job, now_us, error, f"fatal: {error}")


def revived(job: StoredJob, *, now_us: int, max_retries: int) -> StoredJob:
    """One that has ended, to begin anew. max_retries: -1 keeps its own."""
    return job._replace(
        status=QUEUED,
        retry_count=0,
        max_retries=job.retries_max if max_retries < 0 else max_retries,
        error_message=None,
        scheduled_us=now_us,
        started_us=None,
        completed_us=None,
        updated_us=now_us,
    )


def _delay_ms(job: StoredJob, delay_ms: int) -> int:
    return delay_ms if delay_ms >= 0 else retry_delay_s(job.delay_s, job.retries) * 1000


def _again(job: StoredJob, now_us: int, delay_ms: int, error: str) -> StoredJob:
    return _back(job, now_us)._replace(
        retry_count=job.retries + 1, scheduled_us=now_us + delay_ms * 1000, error_message=error
    )


def _back(job: StoredJob, now_us: int) -> StoredJob:
    return job._replace(status=QUEUED, started_us=None, updated_us=now_us)


def _bury(job: StoredJob, now_us: int, error: str, reason: str) -> Ending:
    ended = job._replace(status=FAILED, error_message=error, completed_us=now_us, updated_us=now_us)
    return Ending(ended, dead_letter(job, reason=reason, failed_us=now_us), FORGET)
