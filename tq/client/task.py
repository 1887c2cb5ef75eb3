"""What a caller says of a task, in friendly words, checked at once and turned into the TaskSpec of the wire."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, TypeAlias

from tq import ids
from tq.client.durations import Duration, Moment, duration_ms, moment_ms
from tq.errors import BadRequest, PayloadTooLarge
from tq.retry import CUSTOM, CUSTOM_DELAYS_MAX, DELAY_MS_MAX, RetryPolicy
from tq.task import (
    DEFAULT_MAX_RETRIES,
    DEFAULT_PRIORITY,
    DEFAULT_QUEUE,
    DEFAULT_TIMEOUT_MS,
    DEPENDENCIES_MAX,
    METADATA_BYTES_MAX,
    NAME_CHARS_MAX,
    PAYLOAD_BYTES_MAX,
    PRIORITY_MAX,
    RETRIES_MAX,
    TIMEOUT_MS_MAX,
    UNIQUE_KEY_CHARS_MAX,
    Priority,
    TaskSpec,
)


class HasPolicy(Protocol):
    """Something that can say its retry policy, such as `tq.Retry`."""

    def policy(self) -> RetryPolicy: ...


PriorityLike: TypeAlias = int | str
"""0-255 (so a `Priority` too), or "high", "normal", "low"."""
RetryLike: TypeAlias = RetryPolicy | HasPolicy | Sequence[Duration]
"""A policy, something that has one, or the delays one by one."""

_NO_METADATA: Mapping[str, str] = {}
_NO_ID = b""
_NORMAL = Priority.NORMAL
"""DEFAULT_PRIORITY, as most callers say it: by saying nothing."""


class Task:
    """One task to submit. Immutable, checked when made; the same object may be submitted any number of times,
    and makes a new task each time unless it carries a task_id."""

    __slots__ = ("_spec",)

    def __init__(
        self,
        task_type: str,
        payload: bytes = b"",
        priority: PriorityLike = Priority.NORMAL,
        *,
        task_id: str | None = None,
        queue: str = DEFAULT_QUEUE,
        schedule_at: Moment | None = None,
        delay: Duration | None = None,
        timeout: Duration | None = None,
        max_retries: int = DEFAULT_MAX_RETRIES,
        retry: RetryLike | None = None,
        dependencies: Sequence[str] = (),
        expires_at: Moment | None = None,
        unique_key: str = "",
        unique_ttl: Duration | None = None,
        metadata: Mapping[str, str] = _NO_METADATA,
    ) -> None:
        """As `AsyncClient.submit_task`. Raises BadRequest naming the field, PayloadTooLarge."""
        self._spec = task_spec(
            task_type,
            payload,
            priority,
            task_id=ids.from_text(task_id) if task_id is not None else _NO_ID,
            queue=queue,
            schedule_at=schedule_at,
            delay=delay,
            timeout=timeout,
            max_retries=max_retries,
            retry=retry,
            dependencies=dependencies,
            expires_at=expires_at,
            unique_key=unique_key,
            unique_ttl=unique_ttl,
            metadata=metadata,
        )

    @property
    def task_id(self) -> str | None:
        """The id it was given; None = a new one each time it is submitted."""
        return ids.to_text(self._spec.task_id) if self._spec.task_id else None

    @property
    def task_type(self) -> str:
        return self._spec.task_type

    @property
    def payload(self) -> bytes:
        return self._spec.payload

    def spec_with(self, fresh_id: bytes) -> TaskSpec:
        """The form of the wire, with the id the task was given, or else this one."""
        spec = self._spec
        return spec if spec.task_id else TaskSpec._make((fresh_id, *spec[1:]))

    def __eq__(self, other: object) -> bool:
        return self._spec == other._spec if isinstance(other, Task) else NotImplemented

    def __hash__(self) -> int:
        return hash((self._spec.task_id, self._spec.task_type, self._spec.payload))

    def __repr__(self) -> str:
        known = f", task_id={self.task_id!r}" if self._spec.task_id else ""
        return f"Task({self.task_type!r}, <{len(self.payload)} bytes>, {self._spec.priority}{known})"


def task_spec(
    task_type: str,
    payload: bytes,
    priority: PriorityLike,
    *,
    task_id: bytes,
    queue: str,
    schedule_at: Moment | None,
    delay: Duration | None,
    timeout: Duration | None,
    max_retries: int,
    retry: RetryLike | None,
    dependencies: Sequence[str],
    expires_at: Moment | None,
    unique_key: str,
    unique_ttl: Duration | None,
    metadata: Mapping[str, str],
) -> TaskSpec:
    """Check every field and give the form of the wire. Raises BadRequest naming the field, PayloadTooLarge."""
    _check_name(task_type, "task_type")
    if queue is not DEFAULT_QUEUE:
        _check_name(queue, "queue")
    if type(payload) is not bytes:
        payload = _bytes(payload)
    if len(payload) > PAYLOAD_BYTES_MAX:
        raise PayloadTooLarge(
            f"the payload has {len(payload)} bytes, at most {PAYLOAD_BYTES_MAX} are allowed; "
            "keep large data elsewhere and send its address"
        )
    if type(max_retries) is not int or not 0 <= max_retries <= RETRIES_MAX:
        raise BadRequest(f"max_retries is {max_retries!r}; it is a number from 0 to {RETRIES_MAX}")
    if schedule_at is not None and delay is not None:
        raise BadRequest("schedule_at and delay are both given; one of them says when")
    if unique_ttl is not None and not unique_key:
        raise BadRequest("unique_ttl is given without a unique_key")
    return TaskSpec(
        task_id,
        task_type,
        payload,
        queue,
        DEFAULT_PRIORITY if priority is _NORMAL else priority_number(priority),
        0 if schedule_at is None else moment_ms(schedule_at, "schedule_at"),
        0 if delay is None else _bounded_ms(delay, "delay", 0, DELAY_MS_MAX),
        DEFAULT_TIMEOUT_MS if timeout is None else _bounded_ms(timeout, "timeout", 1, TIMEOUT_MS_MAX),
        max_retries,
        None if retry is None else _policy(retry),
        _dependencies(dependencies) if dependencies else (),
        0 if expires_at is None else moment_ms(expires_at, "expires_at"),
        _unique_key(unique_key) if unique_key else "",
        0 if unique_ttl is None else _bounded_ms(unique_ttl, "unique_ttl", 1, DELAY_MS_MAX),
        _metadata(metadata) if metadata else {},
    )


def priority_number(priority: PriorityLike) -> int:
    """0-255 from a number or a name in either case. Raises BadRequest."""
    if isinstance(priority, str):
        member = Priority.__members__.get(priority.upper())
        if member is not None:
            return int(member)
    elif isinstance(priority, int) and not isinstance(priority, bool) and 0 <= priority <= PRIORITY_MAX:
        return int(priority)
    raise BadRequest(
        f'priority is {priority!r}; it is a number from 0 to {PRIORITY_MAX}, "high", "normal" or "low"'
    )


def _check_name(name: str, field: str) -> None:
    if not isinstance(name, str) or not 1 <= len(name) <= NAME_CHARS_MAX:
        raise BadRequest(f"{field} is {name!r:.80}; it is a text of 1 to {NAME_CHARS_MAX} characters")


def _bytes(payload: object) -> bytes:
    if isinstance(payload, (bytes, bytearray, memoryview)):
        return bytes(payload)
    raise BadRequest(f"payload is a {type(payload).__name__}; it is bytes (encode text first)")


def _bounded_ms(value: Duration, field: str, low_ms: int, high_ms: int) -> int:
    ms = duration_ms(value, field)
    if not low_ms <= ms <= high_ms:
        raise BadRequest(f"{field} is {value!r}; it is from {low_ms} ms to {high_ms // 86_400_000} days")
    return ms


def _policy(retry: RetryLike) -> RetryPolicy:
    if isinstance(retry, RetryPolicy):
        return retry
    if isinstance(retry, (list, tuple)):
        if not 1 <= len(retry) <= CUSTOM_DELAYS_MAX:
            raise BadRequest(f"retry has {len(retry)} delays; it takes 1 to {CUSTOM_DELAYS_MAX}")
        delays = tuple(_bounded_ms(delay, "retry", 0, DELAY_MS_MAX) for delay in retry)
        return RetryPolicy(CUSTOM, base_ms=delays[0], cap_ms=max(delays), jitter_permille=0, delays_ms=delays)
    make = getattr(retry, "policy", None)
    policy = make() if callable(make) else None
    if not isinstance(policy, RetryPolicy):
        raise BadRequest(f"retry is {retry!r}; it is a retry policy or a list of delays")
    return policy


def _dependencies(task_ids: Sequence[str]) -> tuple[bytes, ...]:
    if isinstance(task_ids, str):
        raise BadRequest("dependencies is a text; it is a list of task ids")
    if len(task_ids) > DEPENDENCIES_MAX:
        raise BadRequest(f"dependencies names {len(task_ids)} tasks, at most {DEPENDENCIES_MAX} are allowed")
    return tuple(ids.from_text(task_id) for task_id in task_ids)


def _unique_key(key: str) -> str:
    if not isinstance(key, str) or len(key) > UNIQUE_KEY_CHARS_MAX:
        raise BadRequest(
            f"unique_key is {key!r:.80}; it is a text of at most {UNIQUE_KEY_CHARS_MAX} characters"
        )
    return key


def _metadata(metadata: Mapping[str, str]) -> dict[str, str]:
    copy = dict(metadata)
    if not all(isinstance(name, str) and isinstance(value, str) for name, value in copy.items()):
        raise BadRequest("metadata is a map of texts to texts")
    size = sum(len(name.encode()) + len(value.encode()) for name, value in copy.items())
    if size > METADATA_BYTES_MAX:
        raise BadRequest(f"metadata has {size} bytes, at most {METADATA_BYTES_MAX} are allowed")
    return copy
