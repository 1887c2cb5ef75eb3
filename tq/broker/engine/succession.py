"""What a node does when it begins to lead, and when it leads no more.

Nothing here trusts another node's clock: leases end by the entries' time, which a new leader goes on with from its own
wall clock, and that may be ahead. So what is left of each lease is given to it anew, before anything falls due.
"""

from __future__ import annotations

from tq.broker.engine.attendance import Attendance
from tq.broker.engine.deliveries import Deliveries
from tq.broker.engine.proposer import Proposer, ignore
from tq.broker.engine.roster import Roster, leads_no_more
from tq.broker.engine.waiters import Waiters
from tq.broker.machine.commands import ExtendLeases
from tq.broker.machine.state import State

REARM_MS = 500
"""A smaller jump of the entries' time is less than the slack that leases have."""
LEASES_MAX = 2_000
"""Leases in one command."""


def begin_to_lead(
    state: State, roster: Roster, attendance: Attendance, proposer: Proposer, *, now_ms: int
) -> None:
    """Give every session the grace to come back, and every lease the time it had left. now_ms: the entries' time."""
    if now_ms - state.clock_ms > REARM_MS:
        _rearm(state, proposer)
    for session_id in state.sessions:
        roster.expect(session_id)
        attendance.suspend(session_id)


def lead_no_more(roster: Roster, deliveries: Deliveries, waiters: Waiters) -> None:
    """Let workers go, and whoever waits for tasks to end: a node that was cut off would never tell them anything."""
    peers = dict.fromkeys((*roster.clear(), *waiters.peers()))
    deliveries.end_claims()
    for peer in peers:
        waiters.release(peer)
        peer.dismiss(leads_no_more())


def _rearm(state: State, proposer: Proposer) -> None:
    clock_ms = state.clock_ms
    for session_id, session in state.sessions.items():
        items = []
        for task_id, token in session.held.items():
            hold = state.heads[task_id].hold
            assert hold is not None, "a session holds what has a lease"
            items.append((task_id, token, max(1, hold.deadline_ms - clock_ms)))
        for start in range(0, len(items), LEASES_MAX):
            proposer.add(ExtendLeases(session_id, tuple(items[start : start + LEASES_MAX])), ignore)
