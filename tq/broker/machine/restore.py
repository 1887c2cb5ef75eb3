"""Rebuilding the state from the rows it wrote, and hashing it."""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

from tq.broker.machine.attend import group_of
from tq.broker.machine.heads import Head, Hold, extras_of
from tq.broker.machine.sessions import Session
from tq.broker.machine.state import CLASS_OF_STATE, Minute, Pause, State, UniqueHold
from tq.broker.machine.timers import DUE, EXPIRY, UNIQUE, Wait
from tq.broker.tables import Table
from tq.retry import RetryPolicy
from tq.task import BLOCKED, COMPLETED, IN_PROGRESS, PENDING, RETRYING, SCHEDULED, Counters

RESTORE_ORDER = (
    Table.META,
    Table.KIND,
    Table.QUEUE,
    Table.UNIQUE,
    Table.METER,
    Table.COUNT,
    Table.SESSION,
    Table.LIVE,
)
"""The tables that make up the state, in the order they must come back. The others are read from the store."""


def restore_row(state: State, table: Table, key: Any, record: Any) -> None:
    if table is Table.LIVE:
        _restore_head(state, key, record)
    elif table is Table.META:
        state.index, state.clock_ms, state.sequence = record
    elif table is Table.KIND:
        state.add_kind(key, record[0], record[1])
    elif table is Table.QUEUE:
        state.pauses[key] = Pause(*record)
        for kind in state.kinds.values():
            kind.paused = kind.queue in state.pauses
    elif table is Table.UNIQUE:
        state.unique[key] = UniqueHold(*record)
    elif table is Table.METER:
        state.meter[key] = Minute(*record)
    elif table is Table.COUNT:
        _restore_counts(state, key, record)
    else:
        assert table is Table.SESSION, f"{table} is not part of the state"
        _restore_session(state, key, record)


def _restore_head(state: State, seq: int, record: Any) -> None:
    task_id, kind, priority, timeout_ms, max_retries, retry = record[:6]
    policy = None if retry is None else RetryPolicy._make((*retry[:5], tuple(retry[5])))
    terms = state.terms_of(state.kinds_by_number[kind], priority, timeout_ms, max_retries, policy)
    task_state, order, created_ms, updated_ms, due_ms, attempts, counters, extras, hold = record[6:15]
    head = Head(task_id, seq, terms, task_state, created_ms, extras_of(extras))
    head.order = order
    head.updated_ms = created_ms if updated_ms == created_ms else updated_ms
    head.due_ms = due_ms
    head.attempts = attempts
    if counters is not None:
        head.counters = Counters(*counters)
    head.filed = CLASS_OF_STATE[task_state]
    if hold is not None:
        head.hold = Hold(*hold)
        state.deadlines.add(head, head.hold.deadline_ms)
        # Closing a session hands back all it holds in the same entry, so the session is there.
        state.sessions[head.hold.session_id].held[task_id] = head.hold.token
    state.heads[task_id] = head
    terms.kind.counts[task_state] += 1
    state.totals[task_state] += 1


def _restore_counts(state: State, number: int, record: Any) -> None:
    counts = state.kinds_by_number[number].counts
    for offset, count in enumerate(record):
        counts[COMPLETED + offset] = count
        state.totals[COMPLETED + offset] += count


def _restore_session(state: State, session_id: bytes, record: Any) -> None:
    worker_id, queues, task_types, capacity, host, pid, version = record[:7]
    group = group_of(state, tuple(queues), tuple(task_types))
    session = state.sessions[session_id] = group.sessions[session_id] = Session(session_id, group)
    session.worker_id, session.capacity = worker_id, capacity
    session.queues, session.task_types = tuple(queues), tuple(task_types)
    session.host, session.pid, session.version = host, pid, version


def restored(state: State) -> None:
    waits: list[Wait] = []
    pending: list[Head] = []
    for head in state.heads.values():
        if head.state == PENDING:
            pending.append(head)
        elif head.state in (SCHEDULED, RETRYING):
            waits.append((head.due_ms, head.seq, DUE, head))
        extras = head.extras
        if extras is None:
            continue
        if extras.expires_at_ms and not head.attempts:
            waits.append((extras.expires_at_ms, head.seq, EXPIRY, head))
        if head.state == BLOCKED:
            for dependency in dict.fromkeys(extras.dependencies):
                if dependency in state.heads:
                    extras.missing += 1
                    state.dependents.setdefault(dependency, []).append(head)
    # Rows come in order of seq, which is nearly the order of readiness: sorting them is close to one pass.
    pending.sort(key=_order)
    for head in pending:
        priority = head.terms.priority
        head.terms.kind.append(head, priority)
        state.tiers[(priority >= 100) + (priority >= 200)] += 1
    for key, held in state.unique.items():
        if held.task_id not in state.heads:
            waits.append((held.until_ms, 0, UNIQUE, key))
    state.waits.load(waits)
    for session in state.sessions.values():
        session.mark()


def _order(head: Head) -> int:
    return head.order


def digest(state: State) -> str:
    """Over everything that decides what later commands do; derived indexes are left out."""
    parts = (
        (state.index, state.clock_ms, state.sequence),
        [(kind.number, kind.queue, kind.task_type, kind.counts) for kind in state.kinds.values()],
        [head.record() for head in sorted(state.heads.values(), key=_seq)],
        [
            (session.session_id, session.record(), session.credit, sorted(_real_holds(state, session)))
            for session in sorted(state.sessions.values(), key=_session_id)
        ],
        sorted(state.unique.items()),
        sorted(state.pauses.items()),
        sorted(state.meter.items()),
    )
    return blake2b(repr(parts).encode(), digest_size=16).hexdigest()


def _seq(head: Head) -> int:
    return head.seq


def _session_id(session: Session) -> bytes:
    return session.session_id


def _real_holds(state: State, session: Session) -> list[tuple[bytes, int]]:
    """What it holds a lease on; a slot kept by a task that was taken from it is not restored after a restart."""
    found = []
    for task_id, token in session.held.items():
        head = state.heads.get(task_id)
        if head is not None and head.state == IN_PROGRESS and head.hold and head.hold.token == token:
            found.append((task_id, token))
    return found
