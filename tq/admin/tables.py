"""Replies laid out for people."""

from __future__ import annotations

from collections.abc import Sequence

from tq import ids
from tq.admin.layout import Cell, Facts, Grid, Lines, Part, View, Word
from tq.admin.words import age, bar, data, duration, number, size
from tq.documents import cause_word, moment
from tq.task import Attempt, TaskView
from tq.verbs import BackedUp, Cluster, Health, QueueStats, Stats, TaskPage, Workers

STYLES = {
    "pending": "cyan",
    "scheduled": "blue",
    "blocked": "blue",
    "in_progress": "yellow",
    "failed": "magenta",
    "completed": "green",
    "dead_letter": "red",
    "cancelled": "dim",
    "expired": "dim",
    "active": "green",
    "draining": "yellow",
    "disconnected": "red",
    "healthy": "green",
    "degraded": "red",
}
"""status word -> colour"""


def of_task(task: TaskView, now_ms: int) -> View:
    """One task in full: facts, attempts, error, payload and result."""
    parts: list[Part] = [Facts([*_identity(task), *_course(task, now_ms), *_terms(task)])]
    if task.attempts:
        parts.append(_attempts(task.attempts, now_ms))
    if task.error:
        parts.append(Lines(task.error, "error"))
    for name, content in (("payload", task.payload), ("result", task.result)):
        if content is not None:
            parts.append(Lines(data(content), f"{name}, {size(len(content))}"))
    return parts


def of_page(page: TaskPage, now_ms: int) -> View:
    """A list of tasks, one a line."""
    rows = [
        (
            ids.to_text(task.task_id),
            task.task_type,
            task.queue,
            status(task.status),
            str(task.priority),
            age(task.created_ms, now_ms),
            f"{task.retry_count}/{task.max_retries}",
            task.worker_id or task.state_reason,
        )
        for task in page.tasks
    ]
    heads = ("TASK", "TYPE", "QUEUE", "STATUS", ">PRIO", ">AGE", ">RETRIES", "WORKER OR REASON")
    more = f"; the next page: --cursor {page.next_cursor}" if page.next_cursor else ""
    summary = Word(f"{len(rows)} of {number(page.total)} tasks{more}", "dim")
    return [Grid(heads, rows), summary] if rows else [summary]


def of_workers(workers: Workers, now_ms: int) -> View:
    """Who works, on what, how hard."""
    rows = [
        (
            worker.worker_id,
            worker.host,
            str(worker.pid),
            status(worker.status),
            f"{len(worker.task_ids)}/{worker.capacity}",
            ", ".join(worker.queues),
            f"{worker.cpu_percent}%",
            size(worker.memory_bytes),
            age(worker.last_heartbeat_ms, now_ms),
            age(worker.connected_ms, now_ms),
        )
        for worker in workers.workers
    ]
    heads = (
        "WORKER",
        "HOST",
        ">PID",
        "STATUS",
        ">BUSY",
        "QUEUES",
        ">CPU",
        ">MEMORY",
        ">LAST BEAT",
        ">CONNECTED",
    )
    return [Grid(heads, rows)] if rows else [Word("no worker is connected")]


def of_stats(stats: Stats) -> View:
    """The whole in counts and ages, then queue by queue."""
    facts = Facts(
        [
            ("pending", number(stats.pending_count)),
            ("in progress", number(stats.in_progress_count)),
            ("scheduled", number(stats.scheduled_count)),
            ("blocked", number(stats.blocked_count)),
            ("retry due", number(stats.retrying_count)),
            (
                "completed",
                f"{number(stats.completed_count)} kept, {number(stats.completed_last_hour)} in the last hour",
            ),
            ("failed", f"{number(stats.failed_last_hour)} in the last hour"),
            ("dead letter", number(stats.dead_letter_count)),
            ("cancelled", number(stats.cancelled_count)),
            ("expired", number(stats.expired_count)),
            ("oldest pending", duration(stats.oldest_pending_age_ms) if stats.pending_count else "-"),
            ("mean run time", duration(stats.avg_processing_time_ms)),
            ("workers", number(stats.worker_count)),
            ("durability", stats.durability),
        ]
    )
    return [facts, _queues(stats.queues)] if stats.queues else [facts]


def of_depths(stats: Stats) -> View:
    """Bars: pending tasks by priority and by queue."""
    tiers = [("high", stats.depth_high), ("normal", stats.depth_normal), ("low", stats.depth_low)]
    queues = [(queue.queue, queue.pending) for queue in stats.queues]
    paused = {queue.queue: "paused" for queue in stats.queues if queue.paused}
    return [
        _bars("PRIORITY", tiers, {}),
        _bars("QUEUE", queues, paused) if queues else Word("no queue has tasks"),
    ]


def of_cluster(cluster: Cluster) -> View:
    """The members and who leads."""
    rows = [
        (
            f"{member.node_id}{' *' if member.is_self else ''}",
            member.address,
            status(f"{member.role}, joining" if member.is_joining else member.role),
            number(member.term),
            number(member.commit_index),
            number(member.applied_index),
            number(member.lag),
        )
        for member in cluster.members
    ]
    heads = ("NODE", "ADDRESS", "ROLE", ">TERM", ">COMMITTED", ">APPLIED", ">LAG")
    return [Grid(heads, rows), Word("* the node that answered", "dim")]


def of_health(health: Health) -> View:
    """Well or not, and what is wrong."""
    facts: list[tuple[str, Cell]] = [
        ("status", status(health.status)),
        ("leads", "yes" if health.is_leader else "no"),
        ("leader", health.leader),
        ("workers", number(health.connected_workers)),
        ("pending", number(health.pending_tasks)),
        ("durability", health.durability),
    ]
    return [Facts([*facts, *(("problem", problem) for problem in health.problems)])]


def of_backup(backup: BackedUp) -> View:
    """What was written where."""
    return [
        Facts(
            [
                ("directory", f"{backup.directory} (on the broker's disk)"),
                ("log index", number(backup.at_index)),
                ("files", number(backup.files)),
                ("size", size(backup.bytes)),
            ]
        )
    ]


def status(text: str) -> Word:
    """A status in its colour."""
    return Word(text, STYLES.get(text, ""))


def _identity(task: TaskView) -> list[tuple[str, Cell]]:
    return [
        ("task", ids.to_text(task.task_id)),
        ("type", task.task_type),
        ("queue", task.queue),
        ("status", status(task.status)),
        ("reason", task.state_reason),
        ("priority", str(task.priority)),
    ]


def _course(task: TaskView, now_ms: int) -> list[tuple[str, Cell]]:
    """When what happened."""
    ran_ms = task.ended_ms - task.started_ms if task.started_ms and task.ended_ms else 0
    return [
        ("created", _when(task.created_ms, now_ms)),
        ("not before", _when(task.schedule_at_ms, now_ms)),
        ("expires", _when(task.expires_at_ms, now_ms)),
        ("started", _when(task.started_ms, now_ms)),
        ("ended", _when(task.ended_ms, now_ms)),
        ("ran for", duration(ran_ms) if ran_ms else ""),
        ("worker", task.worker_id),
        ("progress", f"{task.progress[0] / 10:.0f}% {task.progress[1]}" if task.progress else ""),
    ]


def _terms(task: TaskView) -> list[tuple[str, Cell]]:
    return [
        ("time limit", duration(task.timeout_ms)),
        ("retries", f"{task.retry_count} of {task.max_retries}"),
        ("unique key", task.unique_key),
        ("after", ", ".join(ids.to_text(task_id) for task_id in task.dependencies)),
        ("metadata", ", ".join(f"{key}={value}" for key, value in sorted(task.metadata.items()))),
    ]


def _attempts(attempts: Sequence[Attempt], now_ms: int) -> Grid:
    rows = [
        (
            str(attempt.number),
            attempt.worker_id,
            moment(attempt.started_ms) or "-",
            duration((attempt.ended_ms or now_ms) - attempt.started_ms),
            cause_word(attempt.cause) if attempt.ended_ms else "runs",
            attempt.error.strip().splitlines()[-1] if attempt.error.strip() else "",
        )
        for attempt in attempts
    ]
    return Grid((">ATTEMPT", "WORKER", "STARTED", ">TOOK", "OUTCOME", "ERROR"), rows)


def _queues(queues: Sequence[QueueStats]) -> Grid:
    rows = [
        (
            queue.queue,
            number(queue.pending),
            number(queue.in_progress),
            number(queue.scheduled),
            number(queue.blocked),
            number(queue.retrying),
            number(queue.dead_letter),
            duration(queue.oldest_pending_age_ms) if queue.pending else "-",
            _note(queue),
        )
        for queue in queues
    ]
    counts = (">PENDING", ">RUNNING", ">SCHEDULED", ">BLOCKED", ">RETRY DUE", ">DEAD", ">OLDEST")
    return Grid(("QUEUE", *counts, "NOTE"), rows)


def _note(queue: QueueStats) -> str:
    notes = []
    if queue.paused:
        notes.append(f"paused: {queue.paused_reason}" if queue.paused_reason else "paused")
    if queue.unserved:
        notes.append(f"no worker serves {', '.join(queue.unserved)}")
    return "; ".join(notes)


def _bars(head: str, counts: Sequence[tuple[str, int]], notes: dict[str, str]) -> Grid:
    most = max((count for _, count in counts), default=0)
    rows = [
        (name, number(count), Word(bar(count, most), "cyan"), notes.get(name, "")) for name, count in counts
    ]
    return Grid((head, ">PENDING", "", ""), rows)


def _when(then_ms: int, now_ms: int) -> str:
    """`2026-01-02T03:04:05.678Z (3m 12s ago)`; empty for never."""
    if not then_ms:
        return ""
    ago = age(then_ms, now_ms)
    return f"{moment(then_ms)} ({ago if ago.startswith('in ') else f'{ago} ago'})"
