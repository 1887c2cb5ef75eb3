"""Matching ready tasks to free slots, once at the end of every entry."""

from __future__ import annotations

from tq.broker.machine.effects import Lease
from tq.broker.machine.heads import Head, Hold
from tq.broker.machine.sessions import Group, Session
from tq.broker.machine.state import State
from tq.task import IN_PROGRESS

LEASE_SLACK_MS = 5_000
"""A worker ends an attempt at its time limit; the broker does so this much later, for a worker that does not."""


def checkout(state: State) -> None:
    """Lease the best ready task to the next free session of each group, until one of the two runs out.

    Groups whose kinds overlap take turns at going first, and sessions of one group take turns at every task, so
    work spreads over idle workers.
    """
    groups = [group for group in state.groups.values() if group.ready and group.free]
    if not groups:
        return
    leased: dict[bytes, list[Head]] = {}
    turn = state.index % len(groups)
    for group in groups[turn:] + groups[:turn]:
        _serve(state, group, leased)
    for session_id, heads in leased.items():
        state.effects.append(Lease(session_id, tuple(heads)))


def _serve(state: State, group: Group, leased: dict[bytes, list[Head]]) -> None:
    free = group.free
    ready = group.ready
    while ready and free:
        session = next(iter(free.values()))
        head = _take_best(group)
        _lease(state, head, session)
        session_id = session.session_id
        if session_id in leased:
            leased[session_id].append(head)
        else:
            leased[session_id] = [head]
        if len(free) > 1 or not session.has_room():
            del free[session_id]
            if session.has_room():
                free[session_id] = session


def _take_best(group: Group) -> Head:
    """The ready task of the highest priority, the earliest of them, among all kinds the group serves."""
    ready = group.ready
    kinds = iter(ready.values())
    best = next(kinds)
    if len(ready) == 1:
        return best.take()
    first = best.first()
    priority, order = first.terms.priority, first.order
    for kind in kinds:
        first = kind.first()
        if first.terms.priority > priority or (first.terms.priority == priority and first.order < order):
            best, priority, order = kind, first.terms.priority, first.order
    return best.take()


def _lease(state: State, head: Head, session: Session) -> None:
    now_ms = state.clock_ms
    deadline_ms = now_ms + head.terms.timeout_ms + LEASE_SLACK_MS
    head.hold = Hold(session.session_id, session.worker_id, state.index, now_ms, deadline_ms)
    head.attempts += 1
    state.move(head, IN_PROGRESS)
    state.deadlines.add(head, deadline_ms)
    if session.capacity <= len(session.held):
        session.credit -= 1
    session.held[head.task_id] = state.index
