"""Numbers about the whole, read from the machine's state in time that grows with the kinds, not with the tasks."""

from __future__ import annotations

from collections.abc import Mapping

from tq.broker.engine.roster import Roster
from tq.broker.machine.ending import MINUTE_MS
from tq.broker.machine.kinds import Kind
from tq.broker.machine.sessions import Session
from tq.broker.machine.state import State
from tq.task import (
    BLOCKED,
    CANCELLED,
    COMPLETED,
    DEAD_LETTER,
    EXPIRED,
    IN_PROGRESS,
    PENDING,
    RETRYING,
    SCHEDULED,
)
from tq.verbs import Queues, QueueStats, QueueView, Stats, TypeStats, Workers, WorkerView

HOUR_MINUTES = 60


TYPES_SHOWN_MAX = 100
"""Task types of a queue that are told of."""
_UNKNOWN = (-1, -1)


def stats_of(
    state: State,
    *,
    now_ms: int,
    worker_count: int,
    durability: str,
    rates: Mapping[str, tuple[int, int]] = {},  # noqa: B006  never written to
) -> Stats:
    """now_ms: by the entries' clock. rates: queue -> (came, ended) in a minute."""
    by_queue: dict[str, list[Kind]] = {}
    for kind in state.kinds.values():
        by_queue.setdefault(kind.queue, []).append(kind)
    queues = tuple(
        _queue_stats(state, queue, by_queue.get(queue, []), now_ms, rates.get(queue, _UNKNOWN))
        for queue in sorted(by_queue.keys() | state.pauses.keys())
    )
    totals = state.totals
    since = now_ms // MINUTE_MS - HOUR_MINUTES
    minutes = [counts for minute, counts in state.meter.items() if minute > since]
    completed = sum(counts.completed for counts in minutes)
    low, normal, high = state.tiers
    return Stats(
        pending_count=totals[PENDING],
        in_progress_count=totals[IN_PROGRESS],
        scheduled_count=totals[SCHEDULED],
        blocked_count=totals[BLOCKED],
        retrying_count=totals[RETRYING],
        completed_count=totals[COMPLETED],
        dead_letter_count=totals[DEAD_LETTER],
        cancelled_count=totals[CANCELLED],
        expired_count=totals[EXPIRED],
        completed_last_hour=completed,
        failed_last_hour=sum(counts.failed for counts in minutes),
        worker_count=worker_count,
        avg_processing_time_ms=sum(counts.run_ms for counts in minutes) // completed if completed else 0,
        oldest_pending_age_ms=max((queue.oldest_pending_age_ms for queue in queues), default=0),
        depth_high=high,
        depth_normal=normal,
        depth_low=low,
        queues=queues,
        durability=durability,
    )


def _queue_stats(
    state: State, queue: str, kinds: list[Kind], now_ms: int, rates: tuple[int, int]
) -> QueueStats:
    counts = [sum(of_state) for of_state in zip(*[kind.counts for kind in kinds], strict=True)] or [0] * 10
    pause = state.pauses.get(queue)
    return QueueStats(
        queue=queue,
        pending=counts[PENDING],
        in_progress=counts[IN_PROGRESS],
        scheduled=counts[SCHEDULED],
        blocked=counts[BLOCKED],
        retrying=counts[RETRYING],
        dead_letter=counts[DEAD_LETTER],
        oldest_pending_age_ms=max((oldest_age_ms(kind, now_ms) for kind in kinds), default=0),
        paused=pause is not None,
        paused_reason=pause.reason if pause is not None else "",
        unserved=tuple(kind.task_type for kind in kinds if kind.counts[PENDING] and not kind.groups),
        in_per_minute=rates[0],
        out_per_minute=rates[1],
    )


def queues_of(state: State, stats: Stats) -> Queues:
    """Each queue with its task types and who serves them."""
    types: dict[str, list[TypeStats]] = {}
    for kind in state.kinds.values():
        workers = sum(len(group.members) for group in kind.groups)
        types.setdefault(kind.queue, []).append(TypeStats(kind.task_type, kind.counts[PENDING], workers))
    for found in types.values():
        found.sort(key=lambda one: (-one.pending, one.task_type))
    return Queues(
        tuple(QueueView(queue, tuple(types.get(queue.queue, ())[:TYPES_SHOWN_MAX])) for queue in stats.queues)
    )


def oldest_age_ms(kind: Kind, now_ms: int) -> int:
    """Since when the longest waiting of the next ones waits: each front is the oldest of its priority."""
    # A hundred kinds with tasks of every priority have 25,600 fronts, and are asked each second: no call for each.
    since = [bucket[0].updated_ms for bucket in kind.buckets.values() if bucket]
    since += [heap[0][1].updated_ms for heap in kind.returned.values()]
    return max(now_ms - min(since), 0) if since else 0


def workers_of(state: State, roster: Roster) -> Workers:
    return Workers(tuple(_worker_view(session, roster) for session in state.sessions.values()))


def _worker_view(session: Session, roster: Roster) -> WorkerView:
    presence = roster.presence(session.session_id)
    if presence is None or presence.peer is None:
        status = "disconnected"
    else:
        status = "active" if session.slots else "draining"
    return WorkerView(
        worker_id=session.worker_id,
        session_id=session.session_id,
        host=session.host,
        pid=session.pid,
        version=session.version,
        status=status,
        capacity=session.capacity,
        queues=session.queues,
        task_types=session.task_types,
        task_ids=tuple(session.held),
        cpu_percent=presence.beat.cpu_percent if presence else 0,
        memory_bytes=presence.beat.memory_bytes if presence else 0,
        last_heartbeat_ms=presence.beat_wall_ms if presence else 0,
        connected_ms=presence.connected_ms if presence else 0,
    )
