"""Rebuilding the state from the rows it wrote, and hashing it."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2b
from typing import Any

from tq.broker.machine.attend import group_of
from tq.broker.machine.heads import Head, Hold, extras_of
from tq.broker.machine.sessions import Session
from tq.broker.machine.state import CLASS_OF_STATE, Minute, Pause, State, UniqueHold
from tq.broker.machine.submit import hang
from tq.broker.machine.timers import DUE, EXPIRY, UNIQUE, Wait
from tq.broker.tables import Table
from tq.retry import RetryPolicy
from tq.task import BLOCKED, COMPLETED, PENDING, RETRYING, SCHEDULED, Counters

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
            kind.paused = kind.paused or kind.queue == key
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
    worker_id, queues, task_types, capacity, host, pid, version, place, credit, zombies = record[:10]
    group = group_of(state, tuple(queues), tuple(task_types))
    session = state.sessions[session_id] = Session(session_id, group)
    session.worker_id, session.capacity, session.credit = worker_id, capacity, credit
    session.zombies = dict.fromkeys((task_id, token) for task_id, token in zombies)
    # Rows of releases that knew no draining are shorter.
    session.is_draining = len(record) > 10 and record[10]
    group.join(session, place)
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
            hang(state, head, extras)
    # Rows come in order of seq, which is nearly the order of readiness: sorting them is close to one pass.
    pending.sort(key=_order)
    for head in pending:
        head.terms.kind.append(head, head.terms.priority)
        state.tiers[head.terms.tier] += 1
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
    found = blake2b(digest_size=16)
    for part in _parts(state):
        found.update(repr(part).encode())
    return found.hexdigest()


def _parts(state: State) -> Iterator[object]:
    yield state.index, state.clock_ms, state.sequence
    for kind in state.kinds.values():
        yield kind.number, kind.queue, kind.task_type, kind.counts
    for head in sorted(state.heads.values(), key=_seq):
        yield head.record()
    for session in sorted(state.sessions.values(), key=_session_id):
        yield session.session_id, session.record()
    yield sorted(state.unique.items())
    yield sorted(state.pauses.items())
    yield sorted(state.meter.items())


def _seq(head: Head) -> int:
    return head.seq


def _session_id(session: Session) -> bytes:
    return session.session_id
