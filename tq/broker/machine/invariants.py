"""What must hold between any two entries. Checked after every command in tests."""

from __future__ import annotations

from tq.broker.machine.heads import Head
from tq.broker.machine.kinds import Kind
from tq.broker.machine.state import State
from tq.task import BLOCKED, COMPLETED, IN_PROGRESS, LIVE_STATES, PENDING, RETRYING, SCHEDULED


def check(state: State) -> None:
    """Raise AssertionError naming the first invariant that does not hold."""
    _check_counts(state)
    for head in state.heads.values():
        _check_head(state, head)
    for kind in state.kinds.values():
        _check_ready(kind)
    _check_sessions(state)
    _check_unique(state)
    _check_no_idle_slot(state)


def _check_counts(state: State) -> None:
    totals = [0] * 10
    for kind in state.kinds.values():
        live = [0] * 10
        for head in state.heads.values():
            if head.terms.kind is kind:
                live[head.state] += 1
        assert kind.counts[:COMPLETED] == live[:COMPLETED], f"counts of {kind.queue}/{kind.task_type}"
        assert min(kind.counts) >= 0, f"a count of {kind.queue}/{kind.task_type} is negative"
        totals = [left + right for left, right in zip(totals, kind.counts, strict=True)]
    assert state.totals == totals, "totals are the sum over kinds"
    tiers = [0, 0, 0]
    for head in state.heads.values():
        if head.state == PENDING:
            tiers[(head.terms.priority >= 100) + (head.terms.priority >= 200)] += 1
    assert state.tiers == tiers, "tiers count the pending tasks"


def _check_head(state: State, head: Head) -> None:
    name = head.task_id.hex()
    assert head.state in LIVE_STATES, f"{name} has ended and is in memory"
    assert (head.hold is not None) == (head.state == IN_PROGRESS), f"{name}: a lease and running go together"
    assert (head.due_ms > 0) == (head.state in (SCHEDULED, RETRYING)), (
        f"{name}: due goes with waiting for time"
    )
    if head.hold is not None:
        session = state.sessions.get(head.hold.session_id)
        assert session is not None, f"{name} is leased to a session that is not open"
        assert session.held.get(head.task_id) == head.hold.token, (
            f"{name}: its session does not hold its token"
        )
    if head.state == BLOCKED:
        assert head.extras is not None and head.extras.missing > 0, f"{name} is blocked by nothing"
        for dependency in head.extras.dependencies:
            if dependency in state.heads:
                assert head in state.dependents[dependency], f"{name} would not be woken"
    if head.state in (SCHEDULED, RETRYING):
        assert any(wait[0] == head.due_ms and wait[3] is head for wait in state.waits.heap), (
            f"{name}: no timer"
        )


def _check_ready(kind: Kind) -> None:
    seen = 0
    for priority, bucket in kind.buckets.items():
        assert kind.mask >> priority & 1 and bucket, "a bucket is in the mask exactly when it holds something"
        assert bucket[0].state == PENDING, "the front of a bucket is valid"
        ready = [head for head in bucket if head.state == PENDING]
        assert len({id(head) for head in ready}) == len(ready), "a task stands in its bucket once"
        assert all(head.terms.priority == priority for head in ready), "priority and bucket agree"
        orders = [head.order for head in ready]
        assert orders == sorted(orders), "first in, first out"
        seen += len(ready)
    assert seen == kind.counts[PENDING], "every pending task is in a bucket"
    assert bin(kind.mask).count("1") == len(kind.buckets), "mask and buckets agree"
    for group in kind.groups:
        shown = bool(kind.mask) and not kind.paused
        assert (kind.number in group.ready) == shown, "groups see exactly what can be taken"


def _check_sessions(state: State) -> None:
    for session in state.sessions.values():
        group = session.group
        assert group.sessions.get(session.session_id) is session, "a session is in its group"
        assert (session.session_id in group.free) == session.has_room(), "free goes with having room"
        assert session.credit >= 0, "credit is not negative"
    for group in state.groups.values():
        assert group.sessions, "a group has sessions"
        for kind in state.kinds.values():
            assert (group in kind.groups) == group.serves(kind), "kinds know the groups that serve them"


def _check_unique(state: State) -> None:
    for key, held in state.unique.items():
        alive = held.task_id in state.heads
        assert alive or held.until_ms > 0, f"unique key {key!r} is held by nobody"
    for head in state.heads.values():
        if head.extras is not None and head.extras.unique_key:
            assert state.unique[head.extras.unique_key].task_id == head.task_id, "a live task holds its key"


def _check_no_idle_slot(state: State) -> None:
    for group in state.groups.values():
        assert not (group.ready and group.free), "a ready task waits beside a free slot that could run it"
