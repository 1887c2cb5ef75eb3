"""Jobs as StackDuck keeps them: the JSON of queue, cache and running set, its dead letters, and the scores.

The order of the keys matters: StackDuck finds a job by the prefix `{"id":"<uuid>"` in a queue and `<uuid>:` in the running
set. Times are microseconds since 1970, None = unset; StackDuck writes them as RFC 3339 text with `Z`.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, NamedTuple

from tq.broker.compat.stackduck.payloads import InvalidJson, read_value, write_value
from tq.errors import BadRequest
from tq.ids import from_text, to_text

QUEUED, RUNNING, COMPLETED, FAILED, CANCELLED = "Queued", "Running", "completed", "Failed", "Cancelled"
"""Status in Redis. PostgreSQL has `running` and `failed` instead; both are compared without case."""
ROW_STATUS = {RUNNING: "running", FAILED: "failed"}
ENDED = ("completed", "failed", "cancelled")
"""In lower case."""

QUEUE_PREFIX, CACHE_PREFIX, DLQ_PREFIX = "Stackduck:queue:", "Stackduck:job:", "Stackduck:dlq:"
RUNNING_KEY = "Stackduck:running"
CACHE_S, CACHE_RETRY_S = 3_600, 1_800
RUNNING_S = 1_800
"""How far ahead of the dequeue the score of a running job is."""
DEFAULT_PRIORITY, DEFAULT_DELAY_S, DEFAULT_MAX_RETRIES = 2, 30, 3
"""What stands for a field that is null."""

BAND_S = 400_000_000
TIME_DIVISOR = 8
READY_BELOW = 3 * BAND_S
"""Every score below is of a job that tq found ready; those of StackDuck itself are times of this century."""
PRIORITY_OFFSET_S = 1_000
"""StackDuck adds so much to the score for each step above the lowest priority, and so delays what should come first."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_I32_MIN, _I32_MAX = -(2**31), 2**31 - 1


class BadJob(ValueError):
    """The text is no job; the message says why."""


class StoredJob(NamedTuple):
    """payload: JSON text, normalised. status: as in Redis."""

    job_id: bytes
    job_type: str
    payload: str
    status: str
    priority: int | None
    retry_count: int | None
    max_retries: int | None
    error_message: str | None
    delay: int | None
    scheduled_us: int | None
    started_us: int | None
    completed_us: int | None
    created_us: int | None
    updated_us: int | None

    @property
    def due_us(self) -> int:
        """When it may run, by what it says itself. Scores do not tell: StackDuck's are shifted by priority."""
        return self.scheduled_us or self.created_us or 0

    @property
    def retries(self) -> int:
        return self.retry_count or 0

    @property
    def retries_max(self) -> int:
        return DEFAULT_MAX_RETRIES if self.max_retries is None else self.max_retries

    @property
    def delay_s(self) -> int:
        return DEFAULT_DELAY_S if self.delay is None else self.delay

    @property
    def rank(self) -> int:
        """1 to 3, 1 first."""
        return min(max(self.priority or DEFAULT_PRIORITY, 1), 3)

    @property
    def has_ended(self) -> bool:
        return self.status.lower() in ENDED

    @property
    def cache_s(self) -> int:
        """How long its picture in the cache lives."""
        return CACHE_S + self.retries * CACHE_RETRY_S


def write_job(job: StoredJob) -> str:
    """The JSON text, as serde writes it."""
    text = _text
    return (
        f'{{"id":"{to_text(job.job_id)}","job_type":{text(job.job_type)},"payload":{job.payload}'
        f',"status":{text(job.status)},"priority":{_null(job.priority)},"retry_count":{_null(job.retry_count)}'
        f',"max_retries":{_null(job.max_retries)},"error_message":{text(job.error_message)}'
        f',"delay":{_null(job.delay)},"scheduled_at":{_moment(job.scheduled_us)}'
        f',"started_at":{_moment(job.started_us)},"completed_at":{_moment(job.completed_us)}'
        f',"created_at":{_moment(job.created_us)},"updated_at":{_moment(job.updated_us)}}}'
    )


def read_job(text: str) -> StoredJob:
    """What the JSON text says. Raises BadJob."""
    try:
        found, has_floats = read_value(text)
    except InvalidJson as error:
        raise BadJob(f"not JSON: {error}") from error
    if not isinstance(found, dict):
        raise BadJob("not an object")
    for key in ("id", "job_type", "payload", "status"):
        if key not in found:
            raise BadJob(f"{key} is missing")
    try:
        job_id = from_text(_expect(found, "id", str))
    except BadRequest as error:
        raise BadJob("id is not a UUID") from error
    return StoredJob(
        job_id,
        _expect(found, "job_type", str),
        write_value(found["payload"], has_floats),
        _expect(found, "status", str),
        _integer(found, "priority"),
        _integer(found, "retry_count"),
        _integer(found, "max_retries"),
        _optional(found, "error_message", str),
        _integer(found, "delay"),
        _time(found, "scheduled_at"),
        _time(found, "started_at"),
        _time(found, "completed_at"),
        _time(found, "created_at"),
        _time(found, "updated_at"),
    )


def running_member(job_id: bytes, queued: str) -> str:
    """What stands in the running set for a job whose text in the queue was this."""
    return f"{to_text(job_id)}:{queued}"


def split_running(member: str) -> str:
    """The queued text in a member of the running set. Raises BadJob."""
    head, colon, text = member.partition(":")
    if not colon or len(head) != 36:
        raise BadJob("not <uuid>:<job>")
    return text


def score_of(job: StoredJob, now_us: int) -> float:
    """Where a job stands in its queue.

    A job that is due stands in the band of its priority, below any time of this century: StackDuck pops the lowest score
    first and takes any that is not in the future, so both pop in order of priority. A future one stands at its second.
    """
    due_us = job.due_us
    if due_us > now_us:
        return float(-(-due_us // 1_000_000))
    return (job.rank - 1) * BAND_S + max(due_us, 0) / (1_000_000 * TIME_DIVISOR)


def dead_letter(job: StoredJob, *, reason: str, failed_us: int) -> str:
    """The entry of the dead-letter list; its keys are in alphabetical order."""
    created = _rfc_3339(job.created_us, "+00:00")
    return (
        f'{{"delay":{job.delay_s},"failed_at":{_rfc_3339(failed_us, "+00:00")},"job_id":"{to_text(job.job_id)}"'
        f',"job_type":{_text(job.job_type)},"max_retries":{job.retries_max},"original_created_at":{created}'
        f',"payload":{job.payload},"reason":{_text(reason)},"retry_count":{job.retries}}}'
    )


def exhausted_reason(job: StoredJob, error: str) -> str:
    return f"Max retries ({job.retries_max}) exceeded with error: {error}"


def to_datetime(us: int | None) -> datetime | None:
    return None if us is None else _EPOCH + timedelta(microseconds=us)


def from_datetime(when: datetime | None) -> int | None:
    return None if when is None else (when - _EPOCH) // _MICROSECOND


def parse_time(text: str) -> int:
    """RFC 3339 text in microseconds. Raises ValueError."""
    when = datetime.fromisoformat(text)
    if when.tzinfo is None:
        raise ValueError("no offset")
    return (when - _EPOCH) // _MICROSECOND


def _text(value: str | None) -> str:
    return "null" if value is None else write_value(value, False)


def _null(value: int | None) -> str:
    return "null" if value is None else str(value)


def _moment(us: int | None) -> str:
    return _rfc_3339(us, "Z")


def _rfc_3339(us: int | None, offset: str) -> str:
    """Quoted; with 0, 3 or 6 digits of fraction, as few as tell it all."""
    if us is None:
        return "null"
    seconds, fraction = divmod(us, 1_000_000)
    text = _second(seconds)
    if fraction:
        text += f".{fraction // 1000:03d}" if fraction % 1000 == 0 else f".{fraction:06d}"
    return f'"{text}{offset}"'


@lru_cache(maxsize=1024)
def _second(seconds: int) -> str:
    """Most jobs of a moment are of the same few seconds."""
    return (_EPOCH + timedelta(seconds=seconds)).isoformat()[:19]


def _expect(found: dict[str, Any], key: str, kind: type[str]) -> str:
    value = found[key]
    if not isinstance(value, kind):
        raise BadJob(f"{key} is not a string")
    return value


def _optional(found: dict[str, Any], key: str, kind: type[str]) -> str | None:
    return None if found.get(key) is None else _expect(found, key, kind)


def _integer(found: dict[str, Any], key: str) -> int | None:
    value = found.get(key)
    if value is None:
        return None
    if type(value) is not int or not _I32_MIN <= value <= _I32_MAX:
        raise BadJob(f"{key} is not a 32-bit integer")
    return value


def _time(found: dict[str, Any], key: str) -> int | None:
    text = _optional(found, key, str)
    if text is None:
        return None
    try:
        return parse_time(text)
    except (ValueError, OverflowError) as error:
        raise BadJob(f"{key} is not a time: {error}") from error
