"""What workers ask of the backend: registering, beating, claiming, settling, leaving.

Everything but the registration goes by the session of the peer that asks: a peer that has none, or whose session was
closed meanwhile, is told to register again.
"""

from __future__ import annotations

from asyncio import AbstractEventLoop
from collections import Counter
from collections.abc import Callable, Sequence

from tq.broker.backend import Answer, Peer
from tq.broker.engine.announcer import CAPACITY, DISCONNECTED, DRAINING, GONE, LOST, REGISTERED, Announcer
from tq.broker.engine.deliveries import Deliveries
from tq.broker.engine.proposer import Proposer, ignore
from tq.broker.engine.roster import Roster, leads_no_more, not_registered
from tq.broker.engine.waiters import Waiters
from tq.broker.machine.commands import (
    ChangeCapacity,
    ClaimTasks,
    CloseSession,
    Command,
    DrainSessions,
    ExtendLeases,
    OpenSession,
    SettleTasks,
)
from tq.broker.machine.state import State
from tq.errors import TqError
from tq.task import BLOCKED, PENDING, Cause
from tq.verbs import (
    Claim,
    Deregister,
    Done,
    Drained,
    DrainWorker,
    Extend,
    Heartbeat,
    Register,
    Registered,
    Reply,
    SetCapacity,
    Settle,
    SettleItem,
)


class Attendance:
    def __init__(
        self,
        loop: AbstractEventLoop,
        proposer: Proposer,
        roster: Roster,
        deliveries: Deliveries,
        announcer: Announcer,
        waiters: Waiters,
        state: State,
        *,
        leads: Callable[[], bool],
        grace_ms: int,
    ) -> None:
        """leads: whether this node does, so that the roster is its own to keep."""
        self._loop = loop
        self._proposer = proposer
        self._roster = roster
        self._deliveries = deliveries
        self._announcer = announcer
        self._waiters = waiters
        self._state = state
        self._leads = leads
        self._grace_ms = grace_ms
        # Sessions that are being opened, at how many peers: what was decided about them before does not hold any more.
        self._registering: Counter[bytes] = Counter()

    def register(self, peer: Peer, request: Register, answer: Answer) -> None:
        self._registering[request.session_id] += 1

        def registered(reply: Reply | TqError) -> None:
            self._registering -= Counter((request.session_id,))
            if isinstance(reply, Registered) and not self._leads():
                # The next leader committed it, and has the session with nobody at it: the worker must come there.
                reply = leads_no_more()
            if isinstance(reply, Registered):
                self._roster.attach(request.session_id, peer, request.heartbeat_ms)
                self._announcer.worker(request.session_id, REGISTERED)
                reply = reply._replace(grace_ms=self._grace_ms)
            answer(reply)

        command = OpenSession(
            request.session_id,
            request.worker_id,
            request.queues,
            request.task_types,
            request.capacity,
            request.holds,
            request.host,
            request.pid,
            request.version,
        )
        self._proposer.add(command, registered)

    def heartbeat(self, peer: Peer, request: Heartbeat, answer: Answer) -> None:
        answer(Done() if self._roster.beat(peer, request) else not_registered())

    def settle(self, peer: Peer, request: Settle, answer: Answer) -> None:
        session_id = self._session_of(peer, answer)
        if session_id is not None:
            command = SettleTasks(session_id, request.items)
            is_patient = not self._is_urgent(request.items)
            self._proposer.add(command, answer, tasks=len(request.items), is_patient=is_patient)

    def _is_urgent(self, items: Sequence[SettleItem]) -> bool:
        """Whether anybody is worse off when these end a few milliseconds later: tasks that wait for a slot or for
        another task, people who wait for a result."""
        totals, waiters = self._state.totals, self._waiters
        if totals[PENDING] or totals[BLOCKED]:
            return True
        return waiters.any() and any(waiters.is_awaited(item.task_id) for item in items)

    def extend(self, peer: Peer, request: Extend, answer: Answer) -> None:
        session_id = self._session_of(peer, answer)
        if session_id is not None:
            self._propose(ExtendLeases(session_id, request.items), answer)

    def set_capacity(self, peer: Peer, request: SetCapacity, answer: Answer) -> None:
        session_id = self._session_of(peer, answer)
        if session_id is None:
            return

        def changed(reply: Reply | TqError) -> None:
            if not isinstance(reply, TqError):
                self._announcer.worker(session_id, CAPACITY if request.capacity else DRAINING)
            answer(reply)

        self._propose(ChangeCapacity(session_id, request.capacity), changed)

    def drain(self, peer: Peer, request: DrainWorker, answer: Answer) -> None:
        def drained(reply: Reply | TqError) -> None:
            if isinstance(reply, Drained):
                for session_id in reply.session_ids:
                    self._announcer.worker(session_id, DRAINING)
            answer(reply)

        self._propose(DrainSessions(request.worker), drained)

    def claim(self, peer: Peer, request: Claim, answer: Answer) -> None:
        session_id = self._session_of(peer, answer)
        if session_id is None:
            return
        self._deliveries.open_claim(session_id, answer, request.wait_ms)

        def credited(reply: Reply | TqError) -> None:
            # A lease of this very entry is handed out after the replies; only then is an empty answer due.
            if isinstance(reply, TqError) or not request.wait_ms:
                self._loop.call_soon(self._deliveries.end_claim, session_id)

        self._propose(ClaimTasks(session_id, request.limit), credited)

    def deregister(self, peer: Peer, request: Deregister, answer: Answer) -> None:
        session_id = self._session_of(peer, answer)
        if session_id is not None:
            self._deliveries.end_claim(session_id)
            self._announcer.worker(session_id, GONE)
            self._close(session_id, Cause.RELEASED, answer)

    def close_lost(self, session_id: bytes) -> None:
        """Its worker is given up: its tasks go back. Unless it is just coming back."""
        if session_id in self._registering:
            self._roster.keep(session_id)
            return
        self._announcer.worker(session_id, LOST)
        self._close(session_id, Cause.LEASE_LOST, ignore)

    def disconnected(self, peer: Peer) -> None:
        """The peer is gone; if it was a worker, its grace begins."""
        session_id = self._roster.session_of(peer)
        self._roster.release(peer)
        if session_id is not None:
            self._announcer.worker(session_id, DISCONNECTED)
            self._deliveries.end_claim(session_id)
            self.suspend(session_id)

    def suspend(self, session_id: bytes) -> None:
        """Lease nothing more to a session whose worker is away; when it registers again it says how many slots it has.

        Without this a task submitted during the grace could be leased to nobody and wait until the grace is over.
        Nothing happens when the worker is back already, by a registration that waits for its entry: what was decided
        after that would be applied after it, and the worker would sit there without slots for good.
        """
        if session_id not in self._registering:
            self._propose(ChangeCapacity(session_id, 0), ignore)

    def _close(self, session_id: bytes, cause: Cause, answer: Answer) -> None:
        def closed(reply: Reply | TqError) -> None:
            if isinstance(reply, TqError):
                self._roster.keep(session_id)
            else:
                self._roster.forget(session_id)
            answer(reply)

        self._propose(CloseSession(session_id, int(cause)), closed)

    def _propose(self, command: Command, answer: Answer) -> None:
        self._proposer.add(command, answer)

    def _session_of(self, peer: Peer, answer: Answer) -> bytes | None:
        session_id = self._roster.session_of(peer)
        if session_id is None:
            answer(not_registered())
        return session_id
