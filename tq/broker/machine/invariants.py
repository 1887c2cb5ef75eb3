"""What must hold between any two entries. Checked after every command in tests."""

from __future__ import annotations

from tq.broker.machine.heads import Head
from tq.broker.machine.kinds import Kind
from tq.broker.machine.sessions import Group, Session
from tq.broker.machine.state import State
from tq.broker.machine.timers import DUE, EXPIRY, UNIQUE, Wait, is_live
from tq.task import BLOCKED, COMPLETED, IN_PROGRESS, LIVE_STATES, PENDING, RETRYING, SCHEDULED


def check(state: State) -> None:
    """Raise AssertionError naming the first invariant that does not hold."""
    _check_counts(state)
    for head in state.heads.values():
        _check_head(state, head)
    for kind in state.kinds.values():
        _check_ready(kind)
    for session in state.sessions.values():
        _check_session(state, session)
    for group in state.groups.values():
        _check_group(state, group)
    _check_dependents(state)
    _check_timers(state)
    _check_unique(state)


def _check_counts(state: State) -> None:
    live = {number: [0] * COMPLETED for number in state.kinds_by_number}
    tiers = [0, 0, 0]
    for head in state.heads.values():
        live[head.terms.kind.number][head.state] += 1
        if head.state == PENDING:
            tiers[head.terms.tier] += 1
    assert state.tiers == tiers, "tiers count the pending tasks"
    totals = [0] * 10
    for kind in state.kinds.values():
        name = f"{kind.queue}/{kind.task_type}"
        assert state.kinds_by_number[kind.number] is kind, f"{name} stands under its number"
        assert kind.counts[:COMPLETED] == live[kind.number], f"counts of {name}"
        assert min(kind.counts) >= 0, f"a count of {name} is negative"
        totals = [left + right for left, right in zip(totals, kind.counts, strict=True)]
    assert state.totals == totals, "totals are the sum over kinds"


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
        assert head.extras is not None, f"{name} is blocked by nothing"
        hung = [one for one in state.dependents.values() if one.get(head.task_id) is head]
        assert len(hung) == head.extras.missing > 0, f"{name}: missing counts what it waits for"


def _check_ready(kind: Kind) -> None:
    ready: list[Head] = []
    for priority, bucket in kind.buckets.items():
        assert kind.mask >> priority & 1, "a bucket is in the mask"
        heap = kind.returned.get(priority, [])
        assert bucket or heap, "a bucket that is in the mask holds something"
        assert not bucket or bucket[0].state == PENDING, "the front of a bucket is valid"
        assert not heap or heap[0][1].state == PENDING, "the front of what was handed back is valid"
        waiting = [head for head in bucket if head.state == PENDING]
        assert waiting == sorted(waiting, key=_order), "first in, first out"
        waiting += [head for _, head in heap if head.state == PENDING]
        assert all(head.terms.priority == priority for head in waiting), "priority and bucket agree"
        stale = len(bucket) + len(heap) - len(waiting)
        assert stale <= kind.stale, "stale entries are counted"
        ready += waiting
    assert len({id(head) for head in ready}) == len(ready), "a task stands in its bucket once"
    assert len(ready) == kind.counts[PENDING], "every pending task is in a bucket"
    assert bin(kind.mask).count("1") == len(kind.buckets), "mask and buckets agree"
    assert kind.returned.keys() <= kind.buckets.keys(), "what was handed back stands beside a bucket"
    if ready:
        assert kind.first() is min(ready, key=_rank), "highest priority first, then first in, first out"


def _check_session(state: State, session: Session) -> None:
    group = session.group
    assert group.members.get(session.place) is session, "a session is in its group"
    assert (group.free >> session.place & 1) == session.has_room(), "free goes with having room"
    assert session.credit >= 0, "credit is not negative"
    for task_id, token in session.held.items():
        head = state.heads.get(task_id)
        assert head is not None and head.hold is not None, "a session holds running tasks only"
        assert (head.hold.session_id, head.hold.token) == (session.session_id, token), (
            "a lease has one holder"
        )
        assert (task_id, token) not in session.zombies, "a lease is not a zombie"


def _check_group(state: State, group: Group) -> None:
    assert group.members, "a group has sessions"
    assert sum(1 << place for place in group.members) == group.taken, "places taken are those of the members"
    assert sum(session.slots for session in group.members.values()) == group.slots, (
        "slots are those of the members"
    )
    assert group.free & ~group.taken == 0, "who is free is a member"
    for kind in state.kinds.values():
        assert (group in kind.groups) == group.serves(kind), "kinds know the groups that serve them"
        shown = bool(kind.mask) and not kind.paused and group.serves(kind)
        assert (kind.number in group.ready) == shown, "groups see exactly what can be taken"
    if group.ready:
        best = group.best()
        assert best.rank() == min(kind.rank() for kind in group.ready.values()), (
            "a group takes the best it sees"
        )
        assert not group.free or group.is_awake, "a ready task waits beside a free slot that could run it"


def _check_dependents(state: State) -> None:
    for task_id, dependents in state.dependents.items():
        assert task_id in state.heads and dependents, "what others wait for lives"
        for head in dependents.values():
            assert state.heads.get(head.task_id) is head and head.state == BLOCKED, (
                "who waits for others is blocked"
            )
            assert head.seq > state.heads[task_id].seq, "a task depends on earlier ones only"


def _check_timers(state: State) -> None:
    needed: list[Wait] = []
    leases = 0
    for head in state.heads.values():
        if head.state in (SCHEDULED, RETRYING):
            needed.append((head.due_ms, head.seq, DUE, head))
        if head.extras is not None and head.extras.expires_at_ms and not head.attempts:
            needed.append((head.extras.expires_at_ms, head.seq, EXPIRY, head))
        leases += head.hold is not None
    for key, held in state.unique.items():
        if held.task_id not in state.heads:
            needed.append((held.until_ms, 0, UNIQUE, key))
    standing = {
        wait[:3] + (id(wait[3]),)
        for wait in state.waits.heap
        if not isinstance(wait[3], str) and is_live(wait)
    }
    keys = {wait[:3] + (wait[3],) for wait in state.waits.heap if isinstance(wait[3], str)}
    for wait in needed:
        if isinstance(wait[3], str):
            assert wait in keys, f"no timer frees unique key {wait[3]!r}"
        else:
            assert wait[:3] + (id(wait[3]),) in standing, f"no timer for {wait[3].task_id.hex()}"
    assert len(state.deadlines) == leases, "every lease has one deadline"


def _check_unique(state: State) -> None:
    for key, held in state.unique.items():
        alive = held.task_id in state.heads
        assert alive or held.until_ms > 0, f"unique key {key!r} is held by nobody"
    for head in state.heads.values():
        if head.extras is not None and head.extras.unique_key:
            assert state.unique[head.extras.unique_key].task_id == head.task_id, "a live task holds its key"


def _rank(head: Head) -> tuple[int, int]:
    return -head.terms.priority, head.order


def _order(head: Head) -> int:
    return head.order
