"""One job as rustq keeps it, in a message and in the store alike: JSON with the keys in rustq's order.

What tq adds stands in one more key, `tq`, which rustq's readers pass over and its writers drop. A job without it
is one of rustq's own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple

from tq.client.rustq.backoff import DEFAULT_BACKOFF, BackoffStrategy
from tq.errors import BadRequest
from tq.task import NAME_CHARS_MAX, PAYLOAD_BYTES_MAX

DOCUMENT_BYTES_MAX = 5 * PAYLOAD_BYTES_MAX
"""A payload byte takes up to four characters as a number with its comma; the rest is small."""
ERROR_CHARS_MAX = 4_000
COUNT_MAX = 2**32 - 1
SECONDS_MAX = 2**63 - 1


class JobStatus(StrEnum):
    """The words of the wire."""

    PENDING = "Pending"
    PROCESSING = "Processing"
    COMPLETED = "Completed"
    FAILED = "Failed"
    CANCELLED = "Cancelled"

    @classmethod
    def of(cls, text: str) -> JobStatus:
        """As rustq reads it: a word it does not know is Pending."""
        return cls(text) if text in _STATUSES else cls.PENDING


_STATUSES = frozenset(JobStatus)


_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode
"""One for all: to make it costs more than to use it."""


class BadJob(ValueError):
    """These bytes are not a job. The text says why, and quotes nothing of them."""


class Additions(NamedTuple):
    """What tq's options need beyond rustq's fields.

    queue: the one it was added to. priority: 0-255. timeout_ms: 0 = as long as it takes.
    due_ms: wall milliseconds before which it must not start; 0 = at once.
    """

    queue: str = ""
    priority: int = 150
    timeout_ms: int = 0
    due_ms: int = 0


NO_ADDITIONS = Additions()


class Job(NamedTuple):
    """One job. created_at, updated_at: Unix seconds. status: as in the document; the store's own word counts."""

    id: str
    job_type: str
    payload: bytes
    status: JobStatus = JobStatus.PENDING
    created_at: int = 0
    updated_at: int = 0
    retry_count: int = 0
    max_retries: int = 3
    last_error: str | None = None
    backoff: BackoffStrategy = DEFAULT_BACKOFF
    additions: Additions = NO_ADDITIONS

    @property
    def data(self) -> object:
        """The payload as the value it stands for. Raises ValueError when it is not JSON."""
        return json.loads(self.payload)

    @property
    def can_retry(self) -> bool:
        return self.retry_count < self.max_retries

    def failed_again(self, error: str, now_s: int) -> Job:
        """The job of the next attempt."""
        return self._replace(
            retry_count=self.retry_count + 1,
            last_error=cut(error),
            updated_at=now_s,
            status=JobStatus.PENDING,
        )

    def failed_for_good(self, error: str, now_s: int) -> Job:
        return self._replace(last_error=cut(error), updated_at=now_s)


def cut(error: str) -> str:
    """At most ERROR_CHARS_MAX characters, without what UTF-8 cannot carry."""
    return error[:ERROR_CHARS_MAX].encode("utf-8", "replace").decode()


def encode_data(data: object) -> bytes:
    """A job's payload. Raises BadRequest for what JSON cannot say, or too much of it."""
    try:
        payload = _encode(data).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise BadRequest(f"the data of a job must be JSON: {error}") from error
    if len(payload) > PAYLOAD_BYTES_MAX:
        raise BadRequest(
            f"the data has {len(payload)} bytes as JSON, at most {PAYLOAD_BYTES_MAX} are allowed"
        )
    return payload


# ---------------------------------------------------------------- to the wire

_BACKOFFS: Mapping[BackoffStrategy, str] = {
    DEFAULT_BACKOFF: json.dumps(DEFAULT_BACKOFF.to_wire(), separators=(",", ":"))
}


def to_json(job: Job) -> bytes:
    """The document. Byte for byte what rustq's serde would write of the same job, but for the key `tq`."""
    backoff = _BACKOFFS.get(job.backoff) or json.dumps(job.backoff.to_wire(), separators=(",", ":"))
    error = "null" if job.last_error is None else _text(job.last_error)
    payload = str(list(job.payload)).replace(" ", "")
    return (
        f'{{"id":{_text(job.id)},"job_type":{_text(job.job_type)},"payload":{payload},"status":"{job.status.value}",'
        f'"created_at":{job.created_at},"updated_at":{job.updated_at},"retry_count":{job.retry_count},'
        f'"max_retries":{job.max_retries},"last_error":{error},"backoff":{backoff}{_added(job.additions)}}}'
    ).encode()


def _added(additions: Additions) -> str:
    if additions == NO_ADDITIONS:
        return ""
    return (
        f',"tq":{{"queue":{_text(additions.queue)},"priority":{additions.priority},'
        f'"timeout_ms":{additions.timeout_ms},"due_ms":{additions.due_ms}}}'
    )


def _text(value: str) -> str:
    return _encode(value)


# ---------------------------------------------------------------- from the wire


def from_json(document: bytes) -> Job:
    """The job in a message or in the store. Raises BadJob saying which part is wrong."""
    if len(document) > DOCUMENT_BYTES_MAX:
        raise BadJob(f"{len(document)} bytes, at most {DOCUMENT_BYTES_MAX} are read")
    try:
        value = json.loads(document)
    except (ValueError, RecursionError) as error:
        raise BadJob(f"not JSON ({type(error).__name__})") from error
    if not isinstance(value, dict):
        raise BadJob(f"not a JSON object but {type(value).__name__}")
    return _job(value)


def _job(value: dict[str, object]) -> Job:
    try:
        backoff = BackoffStrategy.from_wire(_required(value, "backoff"))
    except BadJob:
        raise
    except ValueError as error:
        raise BadJob(str(error)) from error
    status = _string(value, "status")
    if status not in _STATUSES:
        raise BadJob("status is not one of rustq's")
    return Job(
        _name(value, "id"),
        _name(value, "job_type"),
        _payload(_required(value, "payload")),
        JobStatus(status),
        _number(value, "created_at", -SECONDS_MAX, SECONDS_MAX),
        _number(value, "updated_at", -SECONDS_MAX, SECONDS_MAX),
        _number(value, "retry_count", 0, COUNT_MAX),
        _number(value, "max_retries", 0, COUNT_MAX),
        _error(value.get("last_error")),
        backoff,
        _additions(value.get("tq")),
    )


def _required(value: dict[str, object], key: str) -> object:
    try:
        return value[key]
    except KeyError:
        raise BadJob(f"the key {key} is missing") from None


def _string(value: dict[str, object], key: str) -> str:
    found = _required(value, key)
    if not isinstance(found, str):
        raise BadJob(f"{key} is {type(found).__name__}, not a string")
    if not found.isascii():
        try:
            found.encode()
        except UnicodeEncodeError:
            raise BadJob(f"{key} has half a surrogate") from None
    return found


def _name(value: dict[str, object], key: str) -> str:
    found = _string(value, key)
    if not 1 <= len(found) <= NAME_CHARS_MAX:
        raise BadJob(f"{key} has {len(found)} characters; 1 to {NAME_CHARS_MAX} are allowed")
    return found


def _number(value: dict[str, object], key: str, low: int, high: int) -> int:
    found = _required(value, key)
    if type(found) is not int or not low <= found <= high:
        raise BadJob(f"{key} is not a whole number in its range")
    return found


def _payload(value: object) -> bytes:
    if not isinstance(value, list):
        raise BadJob(f"payload is {type(value).__name__}, not an array of byte numbers")
    try:
        return bytes(value)
    except (TypeError, ValueError):
        raise BadJob("payload is not an array of byte numbers") from None


def _error(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return None if value is None else cut(value)
    raise BadJob(f"last_error is {type(value).__name__}, neither a string nor null")


def _additions(value: object) -> Additions:
    """Somebody else's `tq` key, or one from a later release, is passed over part by part."""
    if not isinstance(value, dict):
        return NO_ADDITIONS
    queue = value.get("queue")

    def bounded(key: str, high: int, default: int) -> int:
        found = value.get(key)
        return found if type(found) is int and 0 <= found <= high else default

    return Additions(
        queue if isinstance(queue, str) else "",
        bounded("priority", 255, NO_ADDITIONS.priority),
        bounded("timeout_ms", SECONDS_MAX, 0),
        bounded("due_ms", SECONDS_MAX, 0),
    )
