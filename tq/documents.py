"""Replies as documents: the plain maps, with the REST names, that REST answers and `tq-admin` prints.

Times are ISO 8601 UTC with milliseconds, bytes are base64 text, ids are UUID text; what is not there is null.
"""

from __future__ import annotations

from base64 import b64encode
from datetime import datetime, timedelta
from functools import lru_cache
from typing import TypeAlias

from tq import ids
from tq.retry import STRATEGIES, RetryPolicy
from tq.task import STATUS_OF_STATE, Attempt, Cause, TaskView
from tq.verbs import (
    BackedUp,
    Changed,
    Cluster,
    DeadLetterGroup,
    DeadLetters,
    Drained,
    Failure,
    Failures,
    Health,
    Latency,
    Member,
    Purged,
    Queues,
    QueueStats,
    Series,
    Stats,
    TaskPage,
    Workers,
    WorkerView,
)

Document: TypeAlias = dict[str, object]

_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001  in UTC, which needs no saying here and takes time to say
MINUTES_KEPT = 2_048
"""Texts of minutes: what is shown together is mostly of the same day, and the date takes most of the time."""


def of_task(task: TaskView) -> Document:
    """Everything that is known of one task."""
    return {
        "task_id": ids.to_text(task.task_id),
        "task_type": task.task_type,
        "queue": task.queue,
        "status": task.status,
        "state_reason": task.state_reason,
        "priority": task.priority,
        "created_at": moment(task.created_ms),
        "updated_at": moment(task.updated_ms),
        "started_at": moment(task.started_ms),
        "ended_at": moment(task.ended_ms),
        "schedule_at": moment(task.schedule_at_ms),
        "expires_at": moment(task.expires_at_ms),
        "timeout_seconds": seconds(task.timeout_ms),
        "max_retries": task.max_retries,
        "retry_count": task.retry_count,
        "retry": of_retry(task.retry),
        "worker_id": task.worker_id or None,
        "result": base64(task.result),
        "error": task.error or None,
        "progress": None if task.progress is None else of_progress(task.progress),
        "attempts": [of_attempt(attempt) for attempt in task.attempts],
        "counters": task.counters._asdict(),
        "payload": base64(task.payload),
        "payload_bytes": _known(task.payload_bytes),
        "result_bytes": _known(task.result_bytes if task.result is None else len(task.result)),
        "dependencies": [ids.to_text(task_id) for task_id in task.dependencies],
        "unique_key": task.unique_key or None,
        "metadata": dict(task.metadata),
    }


def of_attempt(attempt: Attempt) -> Document:
    """One run. outcome: null while it runs, else the cause in lower case: `done`, `error`, `timeout`, ..."""
    return {
        "number": attempt.number,
        "worker_id": attempt.worker_id,
        "started_at": moment(attempt.started_ms),
        "ended_at": moment(attempt.ended_ms),
        "outcome": cause_word(attempt.cause) if attempt.ended_ms else None,
        "error": attempt.error or None,
        "fencing_token": attempt.token,
    }


def of_progress(progress: tuple[int, str]) -> Document:
    """What a handler told last: how far it is, and in words."""
    return {"fraction": progress[0] / 1000, "text": progress[1]}


def of_retry(policy: RetryPolicy) -> Document:
    """A retry policy in seconds and plain factors."""
    return {
        "strategy": STRATEGIES[policy.strategy],
        "base_seconds": seconds(policy.base_ms),
        "factor": policy.factor_permille / 1000,
        "cap_seconds": seconds(policy.cap_ms),
        "jitter": policy.jitter_permille / 1000,
        "delays_seconds": [seconds(ms) for ms in policy.delays_ms],
    }


def of_submitted(task_id: bytes, state: int, created_ms: int) -> Document:
    """The answer to a submit, and to anything else that names a task and its new status."""
    return {
        "task_id": ids.to_text(task_id),
        "status": STATUS_OF_STATE[state],
        "created_at": moment(created_ms),
    }


def of_page(page: TaskPage) -> Document:
    """A page of a list. next_cursor: text, opaque; null = no more."""
    return {
        "tasks": [of_task(task) for task in page.tasks],
        "total": page.total,
        "limit": page.limit,
        "offset": page.offset,
        "next_cursor": str(page.next_cursor) if page.next_cursor else None,
    }


def of_purged(purged: Purged) -> Document:
    return {"purged": purged.purged, "more": purged.more}


def of_stats(stats: Stats) -> Document:
    """Counts, ages and one entry a queue."""
    fields = stats._asdict()
    for tier in _tiers(stats):
        del fields[f"depth_{tier}"]
    return {
        **fields,
        "queue_depth_by_priority": _tiers(stats),
        "queues": [of_queue(queue) for queue in stats.queues],
    }


def of_depths(stats: Stats) -> Document:
    """Pending tasks by priority tier and by queue: the part of the stats that a depth is."""
    return {
        "pending_count": stats.pending_count,
        "oldest_pending_age_ms": stats.oldest_pending_age_ms,
        "queue_depth_by_priority": _tiers(stats),
        "queues": [
            {"queue": queue.queue, "pending": queue.pending, "paused": queue.paused} for queue in stats.queues
        ],
    }


def of_queue(queue: QueueStats) -> Document:
    return {
        **queue._asdict(),
        "unserved": list(queue.unserved),
        "in_per_minute": _known(queue.in_per_minute),
        "out_per_minute": _known(queue.out_per_minute),
    }


def of_queues(queues: Queues) -> Document:
    """Queues with their task types."""
    return {
        "queues": [
            {**of_queue(queue.stats), "task_types": [one._asdict() for one in queue.task_types]}
            for queue in queues.queues
        ]
    }


def of_series(series: Series) -> Document:
    """The last hour in arrays of numbers, oldest first; null = not known."""
    return {
        "now": moment(series.now_ms),
        "start": moment(series.start_ms),
        "step_seconds": 60,
        "submitted": [_known(number) for number in series.submitted],
        "completed": [_known(number) for number in series.completed],
        "failed": [_known(number) for number in series.failed],
        "depth": {tier: [_known(number) for number in getattr(series, tier)] for tier in _TIERS},
        "latency": _latency(series.latency),
    }


def of_latest(series: Series) -> Document:
    """The last minute of a series, as it goes with every stats event."""
    minutes = len(series.submitted)
    return {
        "minute": {
            "at": moment(series.start_ms + (minutes - 1) * 60_000),
            "submitted": _known(series.submitted[-1]),
            "completed": _known(series.completed[-1]),
            "failed": _known(series.failed[-1]),
            "depth": {tier: _known(getattr(series, tier)[-1]) for tier in _TIERS},
        },
        "latency": _latency(series.latency),
    }


def of_failures(failures: Failures) -> Document:
    return {"failures": [_failure(failure) for failure in failures.failures]}


def of_dead_letters(found: DeadLetters) -> Document:
    """Groups of dead letters. complete: all that there are were looked at."""
    return {
        "groups": [_group(group) for group in found.groups],
        "total": found.total,
        "scanned": found.scanned,
        "complete": found.scanned >= found.total,
    }


def of_changed(changed: Changed) -> Document:
    """A step of a change of many tasks. next_cursor: text, opaque; null = that was all."""
    return {
        "done": changed.done,
        "skipped": changed.skipped,
        "next_cursor": str(changed.next_cursor) if changed.next_cursor else None,
    }


def of_drained(worker: str, drained: Drained) -> Document:
    sessions = [ids.to_text(session_id) for session_id in drained.session_ids]
    return {"worker": worker, "sessions": sessions, "status": "draining"}


def of_workers(workers: Workers) -> Document:
    return {"workers": [of_worker(worker) for worker in workers.workers]}


def of_worker(worker: WorkerView) -> Document:
    return {
        "worker_id": worker.worker_id,
        "session_id": ids.to_text(worker.session_id),
        "host": worker.host,
        "pid": worker.pid,
        "version": worker.version,
        "status": worker.status,
        "capacity": worker.capacity,
        "queues": list(worker.queues),
        "task_types": list(worker.task_types),
        "tasks": [ids.to_text(task_id) for task_id in worker.task_ids],
        "cpu_percent": worker.cpu_percent,
        "memory_bytes": worker.memory_bytes,
        "last_heartbeat": moment(worker.last_heartbeat_ms),
        "connected_at": moment(worker.connected_ms),
    }


def of_cluster(cluster: Cluster) -> Document:
    return {"leader": cluster.leader or None, "members": [of_member(member) for member in cluster.members]}


def of_member(member: Member) -> Document:
    return {
        **member._asdict(),
        "snapshot_age_ms": member.snapshot_age_ms if member.snapshot_age_ms >= 0 else None,
    }


def of_health(health: Health) -> Document:
    return {**health._asdict(), "leader": health.leader or None, "problems": list(health.problems)}


def of_backup(backup: BackedUp) -> Document:
    return backup._asdict()


def moment(ms: int) -> str | None:
    """Milliseconds since 1970 as ISO 8601; 0 is never, and null. Years past 9999, which ISO cannot say, too."""
    if not ms:
        return None
    minutes, rest = divmod(ms, 60_000)
    try:
        return f"{_minute(minutes)}:{rest // 1000:02}.{rest % 1000:03}Z"
    except OverflowError:
        return None


def base64(data: bytes | None) -> str | None:
    """Bytes as text; None stays None."""
    return None if data is None else b64encode(data).decode()


def seconds(ms: int) -> int | float:
    """A whole number where it is one."""
    return ms // 1000 if ms % 1000 == 0 else ms / 1000


def cause_word(cause: int) -> str:
    """`timeout` for Cause.TIMEOUT; a newer broker's cause is its number."""
    try:
        return Cause(cause).name.lower()
    except ValueError:
        return str(cause)


@lru_cache(maxsize=MINUTES_KEPT)
def _minute(minutes: int) -> str:
    """Raises OverflowError for a year that ISO cannot say."""
    return (_EPOCH + timedelta(minutes=minutes)).isoformat(timespec="minutes")


def _failure(failure: Failure) -> Document:
    return {
        "at": moment(failure.at_ms),
        "task_id": ids.to_text(failure.task_id),
        "task_type": failure.task_type,
        "queue": failure.queue,
        "status": STATUS_OF_STATE[failure.state],
        "attempt": failure.attempt,
        "worker_id": failure.worker_id or None,
        "outcome": cause_word(failure.cause) if failure.cause >= 0 else "dependency",
        "error": failure.error or None,
    }


def _group(group: DeadLetterGroup) -> Document:
    return {
        "fingerprint": group.fingerprint,
        "task_type": group.task_type,
        "queue": group.queue,
        "error": group.error,
        "count": group.tasks,
        "first_seen": moment(group.first_ms),
        "last_seen": moment(group.last_ms),
        "sample_task_id": ids.to_text(group.task_id),
    }


def _latency(latency: Latency) -> Document:
    return {
        "window_seconds": seconds(latency.window_ms),
        "queue_wait_ms": {"p50": _known(latency.wait_p50_ms), "p99": _known(latency.wait_p99_ms)},
        "run_ms": {"p50": _known(latency.run_p50_ms), "p99": _known(latency.run_p99_ms)},
    }


def _known(number: int) -> int | None:
    return None if number < 0 else number


_TIERS = ("high", "normal", "low")


def _tiers(stats: Stats) -> Document:
    return {"high": stats.depth_high, "normal": stats.depth_normal, "low": stats.depth_low}
