"""What a task is: its states, what a client says of it, what everybody may see of it, and its bounds."""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

from tq.retry import DEFAULT_RETRY, RetryPolicy

PAYLOAD_BYTES_MAX = 10 * 1024 * 1024
"""Payload and result alike. Larger data belongs in an object store, with its address as the payload."""
NAME_CHARS_MAX = 255
PRIORITY_MAX = 255
PRIORITY_HIGH_MIN, PRIORITY_NORMAL_MIN = 200, 100
DEFAULT_QUEUE = "default"
DEFAULT_PRIORITY = 150
DEFAULT_TIMEOUT_MS = 300_000
TIMEOUT_MS_MAX = 30 * 24 * 3600 * 1000
DEFAULT_MAX_RETRIES = 3
RETRIES_MAX = 1000
DEPENDENCIES_MAX = 1000
METADATA_BYTES_MAX = 64 * 1024
UNIQUE_KEY_CHARS_MAX = 255
ERROR_CHARS_MAX = 16 * 1024
"""An error text or traceback longer than this is cut; what is cut is said."""
CRASH_LIMIT = 3
"""A task that took this many workers down with it goes to dead letter instead of to the next one."""
ATTEMPTS_SHOWN_MAX = 100


class Priority(IntEnum):
    """Names for three numbers. Any number from 0 to 255 is a priority; higher runs first."""

    LOW = 50
    NORMAL = 150
    HIGH = 200


class State(IntEnum):
    """Where a task stands. The first five are live, the last four are ends."""

    SCHEDULED = 1
    BLOCKED = 2
    PENDING = 3
    IN_PROGRESS = 4
    RETRYING = 5
    COMPLETED = 6
    DEAD_LETTER = 7
    CANCELLED = 8
    EXPIRED = 9


# The same as plain integers, for paths that run for every task: an enum member costs a look-up and a call.
SCHEDULED, BLOCKED, PENDING, IN_PROGRESS, RETRYING = 1, 2, 3, 4, 5
COMPLETED, DEAD_LETTER, CANCELLED, EXPIRED = 6, 7, 8, 9

LIVE_STATES = (SCHEDULED, BLOCKED, PENDING, IN_PROGRESS, RETRYING)
ENDED_STATES = (COMPLETED, DEAD_LETTER, CANCELLED, EXPIRED)

STATUS_OF_STATE: dict[int, str] = {
    SCHEDULED: "scheduled",
    BLOCKED: "blocked",
    PENDING: "pending",
    IN_PROGRESS: "in_progress",
    RETRYING: "failed",
    COMPLETED: "completed",
    DEAD_LETTER: "dead_letter",
    CANCELLED: "cancelled",
    EXPIRED: "expired",
}
"""The outside word for each state. `failed` says: an attempt failed and a retry is due."""
STATE_OF_STATUS: dict[str, int] = {word: state for state, word in STATUS_OF_STATE.items()} | {
    "retrying": RETRYING
}

LEGAL_TRANSITIONS: dict[int, frozenset[int]] = {
    SCHEDULED: frozenset({PENDING, BLOCKED, CANCELLED, EXPIRED, DEAD_LETTER}),
    BLOCKED: frozenset({PENDING, SCHEDULED, CANCELLED, EXPIRED, DEAD_LETTER}),
    PENDING: frozenset({IN_PROGRESS, CANCELLED, EXPIRED}),
    IN_PROGRESS: frozenset({PENDING, SCHEDULED, RETRYING, COMPLETED, DEAD_LETTER, CANCELLED}),
    RETRYING: frozenset({PENDING, CANCELLED, EXPIRED}),
    COMPLETED: frozenset(),
    DEAD_LETTER: frozenset({PENDING}),
    CANCELLED: frozenset({PENDING}),
    EXPIRED: frozenset(),
}
"""state -> states it may become. Back from an end only by an operator's retry."""


class TaskSpec(NamedTuple):
    """What a client says of a task. Also its form on the wire and in the log: an array in this order.

    task_id: 16 bytes, made by the client, so that sending again is safe.
    schedule_at_ms: wall time before which it is not handed out; 0 = at once.
    delay_ms: the same counted from the broker's clock at arrival; used when schedule_at_ms is 0.
    timeout_ms: longest run time of one attempt, 1 to TIMEOUT_MS_MAX.
    retry: None = DEFAULT_RETRY.
    dependencies: ids of tasks that exist already or stand earlier in the same batch.
    expires_at_ms: not started by then, it ends as expired; 0 = never.
    unique_key: while a task with this key lives, or unique_ttl_ms since it was submitted have not passed,
        submitting the key again gives that task. Empty = none.
    """

    task_id: bytes
    task_type: str
    payload: bytes = b""
    queue: str = DEFAULT_QUEUE
    priority: int = DEFAULT_PRIORITY
    schedule_at_ms: int = 0
    delay_ms: int = 0
    timeout_ms: int = DEFAULT_TIMEOUT_MS
    max_retries: int = DEFAULT_MAX_RETRIES
    retry: RetryPolicy | None = None
    dependencies: tuple[bytes, ...] = ()
    expires_at_ms: int = 0
    unique_key: str = ""
    unique_ttl_ms: int = 0
    metadata: dict[str, str] = {}  # noqa: RUF012  never written to; a shared empty map costs nothing per task

    @property
    def retry_policy(self) -> RetryPolicy:
        return self.retry or DEFAULT_RETRY


class EndedTask(NamedTuple):
    """A task that ended somewhere else, to be kept as history. On the wire and in the log an array in this order.

    state: one of ENDED_STATES. result: of a completed one. error: why it ended as it did, or failed last.
    failures: attempts that failed before it ended; a completed one was run once more than that.
    created_ms, started_ms, ended_ms: wall times; 0 = not known. What lies in the future counts as now.
    The rest is as in TaskSpec: it decides how the task runs if it is retried here.
    """

    task_id: bytes
    task_type: str
    state: int
    payload: bytes = b""
    result: bytes = b""
    error: str = ""
    queue: str = DEFAULT_QUEUE
    priority: int = DEFAULT_PRIORITY
    timeout_ms: int = DEFAULT_TIMEOUT_MS
    max_retries: int = DEFAULT_MAX_RETRIES
    retry: RetryPolicy | None = None
    failures: int = 0
    worker_id: str = ""
    created_ms: int = 0
    started_ms: int = 0
    ended_ms: int = 0
    metadata: dict[str, str] = {}  # noqa: RUF012  never written to


class Cause(IntEnum):
    """Why an attempt ended. Only ERROR and TIMEOUT spend max_retries."""

    DONE = 0
    ERROR = 1
    """The handler raised."""
    TIMEOUT = 2
    """It ran longer than the task's time limit."""
    CRASH = 3
    """The process that ran it died."""
    LEASE_LOST = 4
    """Its worker fell silent or disconnected for longer than the grace."""
    RELEASED = 5
    """Handed back by a worker that is draining; costs nothing."""
    CANCELLED = 6
    SNOOZED = 7
    """The handler asked to run again later; costs nothing."""
    FATAL = 8
    """The handler said that trying again is useless."""


class Counters(NamedTuple):
    """How often each cause struck this task."""

    errors: int = 0
    timeouts: int = 0
    crashes: int = 0
    leases_lost: int = 0
    releases: int = 0
    snoozes: int = 0


NO_COUNTERS = Counters()


class Attempt(NamedTuple):
    """One run of a task.

    number: 1 is the first. token: the fencing token of its lease. ended_ms: 0 while it runs.
    """

    number: int
    worker_id: str
    token: int
    started_ms: int
    ended_ms: int = 0
    cause: int = Cause.DONE
    error: str = ""


class TaskView(NamedTuple):
    """Everything that may be seen of one task from outside; an array in this order on the wire.

    state_reason: in words, why the task is not running, or why it ended as it did.
    retry_count: retries used so far, that is errors and timeouts that a retry follows. result, payload: None when not asked for or not there.
    progress: the latest the handler told, (permille, text), kept while it runs only.
    payload_bytes, result_bytes: how long they are, though they be not asked for; -1 = not looked at, as in lists, or there
    is none. metadata: empty in lists.
    """

    task_id: bytes
    task_type: str
    queue: str
    state: int
    state_reason: str
    priority: int
    created_ms: int
    updated_ms: int
    schedule_at_ms: int
    timeout_ms: int
    max_retries: int
    retry_count: int
    worker_id: str
    result: bytes | None = None
    error: str = ""
    attempts: tuple[Attempt, ...] = ()
    counters: Counters = NO_COUNTERS
    payload: bytes | None = None
    payload_bytes: int = -1
    started_ms: int = 0
    ended_ms: int = 0
    token: int = 0
    expires_at_ms: int = 0
    retry: RetryPolicy = DEFAULT_RETRY
    dependencies: tuple[bytes, ...] = ()
    unique_key: str = ""
    metadata: dict[str, str] = {}  # noqa: RUF012  never written to
    progress: tuple[int, str] | None = None
    result_bytes: int = -1

    @property
    def status(self) -> str:
        """The outside word for the state."""
        return STATUS_OF_STATE[self.state]

    @property
    def has_ended(self) -> bool:
        return self.state >= COMPLETED
