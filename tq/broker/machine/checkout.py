"""Matching ready tasks to free slots, once at the end of every entry."""

from __future__ import annotations

from tq.broker.machine.commands import TICK_TASKS_MAX
from tq.broker.machine.effects import Lease
from tq.broker.machine.ending import end_task, expired_reason
from tq.broker.machine.heads import Head, Hold
from tq.broker.machine.sessions import Group, Session
from tq.broker.machine.state import State
from tq.task import EXPIRED, IN_PROGRESS

LEASE_SLACK_MS = 5_000
"""A worker ends an attempt at its time limit; the broker does so this much later, for a worker that does not."""


def checkout(state: State) -> None:
    """Lease the best ready task to the next free session of each group, until one of the two runs out.

    Between entries no group has both, so only those are looked at that gained one in this entry. Groups whose kinds
    overlap take turns at going first, and sessions of one group take turns at every task, so work spreads over
    idle workers.
    """
    leased: dict[bytes, list[Head]] = {}
    if state.missed:
        _deliver_again(state, leased)
    if state.woken:
        _serve_all(state, leased)
    for session_id, heads in leased.items():
        state.effects.append(Lease(session_id, tuple(heads)))


def _deliver_again(state: State, leased: dict[bytes, list[Head]]) -> None:
    """What a session held without knowing, and holds still at the end of the entry."""
    for session_id, task_ids in state.missed.items():
        session = state.sessions.get(session_id)
        heads = [state.heads[task_id] for task_id in task_ids if session and task_id in session.held]
        if heads:
            leased[session_id] = sorted(heads, key=_order)


def _serve_all(state: State, leased: dict[bytes, list[Head]]) -> None:
    groups = [group for group in state.woken if group.ready and group.free]
    for group in state.woken:
        group.is_awake = False
    state.woken.clear()
    if len(groups) > 1:
        groups.sort(key=_key)
        turn = _spread(state.index, len(groups))
        groups = groups[turn:] + groups[:turn]
    overdue_max = TICK_TASKS_MAX
    for group in groups:
        overdue_max -= _serve(state, group, leased, overdue_max)


def _serve(state: State, group: Group, leased: dict[bytes, list[Head]], overdue_max: int) -> int:
    """Serve one group; how many tasks were found expired instead. Above overdue_max the next entry goes on."""
    overdue = 0
    place = _spread(state.index, group.taken.bit_length()) - 1
    while group.ready and group.free:
        kind = group.best()
        head = kind.take()
        if head.extras is not None and _is_overdue(state, head):
            kind.put_back(head, head.terms.priority)
            if overdue == overdue_max:
                group.wake()
                break
            overdue += 1
            end_task(state, head, EXPIRED, reason=expired_reason())
            continue
        session = group.next_free(place)
        place = session.place
        _lease(state, head, session)
        if session.session_id in leased:
            leased[session.session_id].append(head)
        else:
            leased[session.session_id] = [head]
        if not session.has_room():
            group.free &= ~(1 << place)
    return overdue


def _lease(state: State, head: Head, session: Session) -> None:
    now_ms = state.clock_ms
    deadline_ms = now_ms + head.terms.timeout_ms + LEASE_SLACK_MS
    head.hold = Hold(session.session_id, session.worker_id, state.index, now_ms, deadline_ms)
    head.attempts += 1
    state.leased.append((head.terms.kind, now_ms - head.updated_ms))
    state.move(head, IN_PROGRESS)
    state.deadlines.add(head, deadline_ms)
    if not session.has_slot():
        session.credit -= 1
        state.changed_sessions[session.session_id] = session
    session.held[head.task_id] = state.index
    if head.extras is not None and head.extras.expires_at_ms:
        state.waits.call_off()


def _is_overdue(state: State, head: Head) -> bool:
    """Whether it expired before its first start and no tick has come by yet."""
    assert head.extras is not None
    return 0 < head.extras.expires_at_ms <= state.clock_ms and head.attempts == 0


def _spread(index: int, count: int) -> int:
    """Where to start in this entry, 0 to count - 1: every place as often, in no rhythm that a workload could fall into."""
    return (index * 0x9E3779B1 >> 15) % count


def _key(group: Group) -> tuple[tuple[str, ...], tuple[str, ...]]:
    return group.key


def _order(head: Head) -> int:
    return head.order
