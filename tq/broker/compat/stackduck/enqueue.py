"""From an EnqueueJob to a task: what is refused, what is silently clamped, and what the numbers mean."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from tq.broker.compat.stackduck.names import QUEUE, task_type_of
from tq.broker.compat.stackduck.payloads import InvalidJson, normalise
from tq.errors import BadRequest
from tq.protocol.limits import TIME_MS_MAX
from tq.retry import EXPONENTIAL, RetryPolicy
from tq.task import TaskSpec

PRIORITY_OF = {1: 200, 2: 150, 3: 50}
"""StackDuck's 1 is its highest. The same tiers as tq's high, normal and low."""
DEFAULT_PRIORITY = 2
DEFAULT_DELAY_S, DELAY_S_MAX = 30, 3_600
DEFAULT_MAX_RETRIES, MAX_RETRIES_MAX = 2, 3
LEASE_MS = 1_800_000
"""StackDuck gives a running job half an hour, and never looks; here it is the time limit of an attempt."""
DELAY_KEY, SCHEDULED_KEY = "stackduck.delay", "stackduck.scheduled_at"
"""Where a task's metadata keep what a job shows and a task has no place for; in seconds."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_RFC_3339 = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d+))?(?:[Zz]|([+-])(\d\d):(\d\d))", re.ASCII
)


def task_of(
    job_id: bytes,
    *,
    job_type: str,
    payload: str,
    priority: int,
    delay: int,
    max_retries: int,
    scheduled_at: str,
) -> TaskSpec:
    """The task for a job. Raises BadRequest with StackDuck's own words for a bad payload or time, in that order."""
    try:
        text = normalise(payload)
    except InvalidJson as error:
        raise BadRequest(f"Invalid JSON payload: {error}") from None
    schedule_at_ms = moment_ms(scheduled_at) if scheduled_at.strip() else 0
    delay_s = delay if 1 <= delay <= DELAY_S_MAX else DEFAULT_DELAY_S
    metadata = {}
    if delay_s != DEFAULT_DELAY_S:
        metadata[DELAY_KEY] = str(delay_s)
    if schedule_at_ms:
        metadata[SCHEDULED_KEY] = str(schedule_at_ms // 1000)
    return TaskSpec(
        job_id,
        task_type_of(job_type),
        text.encode(),
        QUEUE,
        PRIORITY_OF.get(priority, PRIORITY_OF[DEFAULT_PRIORITY]),
        # The broker refuses times before 1970, and to a queue they are all the same: past.
        schedule_at_ms=min(max(schedule_at_ms, 1), TIME_MS_MAX) if schedule_at_ms else 0,
        timeout_ms=LEASE_MS,
        max_retries=max_retries if 0 <= max_retries <= MAX_RETRIES_MAX else DEFAULT_MAX_RETRIES,
        retry=_DEFAULT_RETRY if delay_s == DEFAULT_DELAY_S else retry_policy(delay_s),
        metadata=metadata,
    )


def retry_policy(delay_s: int) -> RetryPolicy:
    """delay * 2^n seconds, an hour at most, to the second: StackDuck spreads nothing."""
    return RetryPolicy(EXPONENTIAL, delay_s * 1000, 2_000, DELAY_S_MAX * 1000, jitter_permille=0)


_DEFAULT_RETRY = retry_policy(DEFAULT_DELAY_S)


def retry_delay_s(delay_s: int, retry_count: int) -> int:
    """Seconds until a job runs again that had been retried so often before."""
    return min(delay_s << min(retry_count, DELAY_S_MAX.bit_length()), DELAY_S_MAX)


def moment_ms(text: str) -> int:
    """RFC 3339 text, which has an offset, as milliseconds since 1970. Raises BadRequest."""
    found = _RFC_3339.fullmatch(text)
    if found is None:
        raise BadRequest(f"Invalid scheduled_at format: {text[:40]!r} is not RFC 3339 with an offset")
    year, month, day, hour, minute, second = (int(each) for each in found.groups()[:6])
    sign, hours, minutes = found[8], int(found[9] or 0), int(found[10] or 0)
    try:
        if hours > 23 or minutes > 59:
            raise ValueError("offset out of range")
        # A leap second is the first of the next minute to every clock that has none.
        leap, second = divmod(second, 60) if second == 60 else (0, second)
        when = datetime(year, month, day, hour, minute, second, tzinfo=UTC) - _EPOCH
    except ValueError as error:
        raise BadRequest(f"Invalid scheduled_at format: {error}") from None
    offset = timedelta(hours=hours, minutes=minutes) * (-1 if sign == "-" else 1)
    fraction_ms = int((found[7] or "")[:3].ljust(3, "0"))
    return (when - offset + timedelta(minutes=leap)) // timedelta(milliseconds=1) + fraction_ms
