"""What operators ask for beside single tasks: how the last hour went, what fails, many tasks at once, draining a worker.

Requests first, each with its reply class at the end of its description, then the replies.
"""

from __future__ import annotations

from typing import NamedTuple

from tq.task import EndedTask
from tq.verbs.replies import QueueStats


class DrainWorker(NamedTuple):
    """Hand this worker nothing more; it finishes what it runs and goes, as after a SIGTERM. -> Drained

    worker: its id, or the id of one of its sessions as UUID text. All its sessions that are open now are drained; one
    that starts later is not. One whose connection is gone is told when it comes back.
    """

    worker: str


class GetSeries(NamedTuple):
    """The last hour, minute by minute. -> Series"""


class ListQueues(NamedTuple):
    """The queues, with their task types and who serves them. -> Queues"""


class ListFailures(NamedTuple):
    """The attempts that failed last. -> Failures

    limit: 1-100.
    """

    limit: int = 50


class GroupDeadLetters(NamedTuple):
    """Dead letters, grouped by kind and by what went wrong. -> DeadLetters"""

    task_type: str = ""
    queue: str = ""


class CancelMany(NamedTuple):
    """Cancel these tasks, or the next `limit` that the filter finds. -> Changed

    task_ids: up to 1,000; empty = by the filter: state (0 = all that live), task_type, queue.
    cursor: a Changed's next_cursor; 0 = from the newest. force: running ones too.
    """

    task_ids: tuple[bytes, ...] = ()
    state: int = 0
    task_type: str = ""
    queue: str = ""
    limit: int = 500
    cursor: int = 0
    force: bool = False


class RetryMany(NamedTuple):
    """Retry these tasks, or the next `limit` that the filter finds. -> Changed

    As CancelMany; state 0 = dead letters and cancelled tasks. fingerprint: dead letters of this group only.
    max_retries: -1 keeps each task's own.
    """

    task_ids: tuple[bytes, ...] = ()
    state: int = 0
    task_type: str = ""
    queue: str = ""
    limit: int = 500
    cursor: int = 0
    fingerprint: str = ""
    max_retries: int = -1


class ForgetMany(NamedTuple):
    """Forget these ended tasks, or the next `limit` that the filter finds. -> Changed

    As RetryMany; state 0 = all that have ended.
    """

    task_ids: tuple[bytes, ...] = ()
    state: int = 0
    task_type: str = ""
    queue: str = ""
    limit: int = 500
    cursor: int = 0
    fingerprint: str = ""


class Import(NamedTuple):
    """Keep these tasks, which ended elsewhere, as if they had ended here. -> Changed

    tasks: up to 1,000. One whose id a task has already is skipped, so that an import may be sent again. Nobody is told of
    their ends, and they are in no count of what happened; retention and retrying treat them as any other.
    """

    tasks: tuple[EndedTask, ...]


# ---------------------------------------------------------------- replies


class Drained(NamedTuple):
    """session_ids: those that are drained now."""

    session_ids: tuple[bytes, ...]


class Latency(NamedTuple):
    """Of what was leased, and what ended, within the window. -1 = nothing was.

    wait: ready to lease. run: lease to end. Upper bounds, as exact as the histograms' steps.
    """

    window_ms: int
    wait_p50_ms: int = -1
    wait_p99_ms: int = -1
    run_p50_ms: int = -1
    run_p99_ms: int = -1


class Series(NamedTuple):
    """One number a minute, oldest first; the last minute runs now. -1 = not known, as before the broker's start.

    now_ms, start_ms: by the broker's clock; start_ms: of the first minute. failed: attempts, dead letters included.
    high, normal, low: pending tasks of the tier at the minute's end.
    """

    now_ms: int
    start_ms: int
    submitted: tuple[int, ...]
    completed: tuple[int, ...]
    failed: tuple[int, ...]
    high: tuple[int, ...]
    normal: tuple[int, ...]
    low: tuple[int, ...]
    latency: Latency


class TypeStats(NamedTuple):
    """One task type of a queue. workers: the connected ones that serve it there."""

    task_type: str
    pending: int
    workers: int


class QueueView(NamedTuple):
    """task_types: those with the most pending tasks, at most 100."""

    stats: QueueStats
    task_types: tuple[TypeStats, ...]


class Queues(NamedTuple):
    queues: tuple[QueueView, ...]


class Failure(NamedTuple):
    """An attempt that failed, or a task that failed without one.

    state: the task's, right after. cause: a `tq.task.Cause`, -1 = a dependency did not complete. error: one line.
    """

    at_ms: int
    task_id: bytes
    task_type: str
    queue: str
    state: int
    attempt: int
    worker_id: str
    cause: int
    error: str


class Failures(NamedTuple):
    """Newest first."""

    failures: tuple[Failure, ...]


class DeadLetterGroup(NamedTuple):
    """Dead letters of one type and queue that say the same but for numbers, ids and quoted words.

    tasks: how many. error: what one of them says, in a line; task_id: which.
    """

    fingerprint: str
    task_type: str
    queue: str
    error: str
    tasks: int
    first_ms: int
    last_ms: int
    task_id: bytes


class DeadLetters(NamedTuple):
    """groups: largest first, at most 200. scanned: how many were looked at so far, the newest; total: how many there are."""

    groups: tuple[DeadLetterGroup, ...]
    total: int
    scanned: int


class Changed(NamedTuple):
    """skipped: their status did not allow it, or they are not there; of an import, those that are there already.

    next_cursor: 0 = that was all.
    """

    done: int
    skipped: int
    next_cursor: int
