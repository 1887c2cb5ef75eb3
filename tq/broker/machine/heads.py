"""The part of a task that stays in memory while it lives, and the records it is kept as.

A million of these must fit, so what many tasks share (queue, type, priority, limits) is one `Terms` object for all
of them, and what few tasks have (dependencies, expiry, unique key) hangs on an `Extras` that is None for the rest.
Payloads, results and attempt histories are never here: they go to the store as they come.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from tq.retry import DEFAULT_RETRY, RetryPolicy
from tq.task import IN_PROGRESS, NO_COUNTERS, PRIORITY_HIGH_MIN, PRIORITY_NORMAL_MIN, Counters

if TYPE_CHECKING:
    from tq.broker.machine.kinds import Kind


class Terms:
    """What a task was submitted under; shared by all that were submitted alike. Never changed.

    tier: 0, 1 or 2 for a low, normal or high priority.
    """

    __slots__ = ("kind", "max_retries", "priority", "retry", "tier", "timeout_ms")

    def __init__(
        self, kind: Kind, priority: int, timeout_ms: int, max_retries: int, retry: RetryPolicy | None
    ) -> None:
        self.kind = kind
        self.priority = priority
        self.tier = (priority >= PRIORITY_NORMAL_MIN) + (priority >= PRIORITY_HIGH_MIN)
        self.timeout_ms = timeout_ms
        self.max_retries = max_retries
        self.retry = retry

    @property
    def retry_policy(self) -> RetryPolicy:
        return self.retry or DEFAULT_RETRY


ExtrasRecord: TypeAlias = tuple[tuple[bytes, ...], int, str, int, bool]
"""(dependencies, expires_at_ms, unique_key, schedule_at_ms, has_metadata)"""


class Extras:
    """What few tasks have.

    missing: how many of the dependencies have not completed; worked out anew when a broker starts.
    has_metadata: there is a row of metadata in the store, to be read when it is delivered.
    """

    __slots__ = ("dependencies", "expires_at_ms", "has_metadata", "missing", "schedule_at_ms", "unique_key")

    def __init__(
        self,
        dependencies: tuple[bytes, ...] = (),
        expires_at_ms: int = 0,
        unique_key: str = "",
        schedule_at_ms: int = 0,
        has_metadata: bool = False,
    ) -> None:
        self.dependencies = dependencies
        self.expires_at_ms = expires_at_ms
        self.unique_key = unique_key
        self.schedule_at_ms = schedule_at_ms
        self.has_metadata = has_metadata
        self.missing = 0

    def record(self) -> ExtrasRecord:
        return (
            self.dependencies,
            self.expires_at_ms,
            self.unique_key,
            self.schedule_at_ms,
            self.has_metadata,
        )


class Hold(NamedTuple):
    """A session's lease on a task. deadline_ms: by the machine's clock; past it the broker ends the attempt."""

    session_id: bytes
    worker_id: str
    token: int
    started_ms: int
    deadline_ms: int


class Head:
    """One live task.

    seq: its number since the broker began; the key of its rows. order: its place among its equals; that of
    the moment it became ready, so that a task handed back returns to where it stood.
    due_ms: when a scheduled or retrying task becomes ready. attempts: leases so far.
    filed: the index class its row stands under in the store, 0 for none yet.
    """

    __slots__ = (
        "attempts",
        "counters",
        "created_ms",
        "due_ms",
        "extras",
        "filed",
        "hold",
        "order",
        "seq",
        "state",
        "task_id",
        "terms",
        "updated_ms",
    )

    def __init__(
        self, task_id: bytes, seq: int, terms: Terms, state: int, created_ms: int, extras: Extras | None
    ) -> None:
        self.task_id = task_id
        self.seq = seq
        self.terms = terms
        self.state = state
        self.order = seq
        self.created_ms = created_ms
        self.updated_ms = created_ms
        self.due_ms = 0
        self.attempts = 0
        self.counters: Counters = NO_COUNTERS
        self.extras = extras
        self.hold: Hold | None = None
        self.filed = 0

    def __lt__(self, other: Head) -> bool:
        """Two heads meet in a heap only if one is of a task that was brought back: same seq, and the old one is dead."""
        return False

    def record(self) -> tuple[object, ...]:
        """The row it is restored from; `restore.head_of` reads it back."""
        terms = self.terms
        return (
            self.task_id,
            terms.kind.number,
            terms.priority,
            terms.timeout_ms,
            terms.max_retries,
            terms.retry,
            self.state,
            self.order,
            self.created_ms,
            self.updated_ms,
            self.due_ms,
            self.attempts,
            None if self.counters is NO_COUNTERS else self.counters,
            None if self.extras is None else self.extras.record(),
            self.hold if self.state == IN_PROGRESS else None,
        )


class EndedRecord(NamedTuple):
    """What is kept of a task that has ended.

    reason: why it ended as it did, in words. worker_id, token, started_ms: of its last attempt.
    """

    seq: int
    kind: int
    priority: int
    timeout_ms: int
    max_retries: int
    retry: RetryPolicy | None
    state: int
    created_ms: int
    ended_ms: int
    attempts: int
    counters: Counters | None
    extras: ExtrasRecord | None
    reason: str = ""
    worker_id: str = ""
    token: int = 0
    started_ms: int = 0


def extras_of(record: ExtrasRecord | None) -> Extras | None:
    return None if record is None else Extras(tuple(record[0]), *record[1:])
