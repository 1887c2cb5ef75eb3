"""Any node takes any client: the backend of the doors whose clients do not follow the leader by themselves.

A request is answered here when it can be, and otherwise sent to the leader over a link of the node's own; the caller
was recognised, permitted and limited at this node's door. Ids are made before, so nothing is ever submitted twice.

    unavailable  did not happen: tried again, for as long as an election or two may take
    unknown      tried again where that changes nothing more (`REPEATABLE`), told honestly elsewhere

Workers that are connected here have a link each, so that their session, its deliveries and its disconnect are their
own (`sessions`). Who waits for tasks to end shares one, and is followed to the next leader (`watches`).
"""

from __future__ import annotations

from asyncio import AbstractEventLoop, TimerHandle
from collections.abc import Sequence
from functools import partial

from tq.broker.backend import Answer, Backend, Capabilities, Peer
from tq.broker.clustering.gate import HERE, level_of
from tq.broker.clustering.links import Links
from tq.broker.clustering.seat import Seat
from tq.broker.clustering.sessions import OF_SESSIONS, Sessions
from tq.broker.clustering.watches import Watches
from tq.errors import BrokerUnavailable, NotLeader, OutcomeUnknown, TooManyConnections, TqError
from tq.task import TaskSpec
from tq.verbs import (
    LOCAL,
    AddNode,
    DrainWorker,
    GetSeries,
    GetStats,
    GetTask,
    GroupDeadLetters,
    ListFailures,
    ListQueues,
    ListTasks,
    ListWorkers,
    PauseQueue,
    Register,
    Reply,
    Request,
    ResumeQueue,
    Submit,
    Watch,
)

REPEATABLE: frozenset[type[Request]] = frozenset(
    {
        *(GetTask, ListTasks, GetStats, ListWorkers, ListQueues, ListFailures, GroupDeadLetters, GetSeries),
        *(Submit, Watch, PauseQueue, ResumeQueue, Register, DrainWorker, AddNode),
    }
)
"""What may be sent again when nobody knows whether it happened: reads, and what has the same effect twice."""
RETRY_SECONDS = 0.05
"""How often what waits for a leader is tried again."""
LAST_WORDS_SECONDS = 1.0
"""How long a leader that was deposed has to answer what it was asked before."""
WAITING_MAX = 10_000
"""Requests that wait for a leader; more are refused at once."""


class Errand:
    """One request on its way to the leader. deadline: on the loop's clock; later it is not tried again."""

    __slots__ = ("answer", "deadline", "peer", "request")

    def __init__(self, peer: Peer, request: Request, answer: Answer, deadline: float) -> None:
        self.peer = peer
        self.request = request
        self.answer = answer
        self.deadline = deadline


class Forwarding:
    """Serves `Backend` in front of the node's own."""

    def __init__(
        self, own: Backend, seat: Seat, links: Links, loop: AbstractEventLoop, *, patience_s: float
    ) -> None:
        """own: the node's backend, which says NotLeader where it must. patience_s: how long a request may wait for a
        leader."""
        self._own = own
        self._seat = seat
        self._links = links
        self._loop = loop
        self._patience_s = patience_s
        self._waiting: list[Errand] = []
        self._timer: TimerHandle | None = None
        self._leader = ""
        self._dropping: TimerHandle | None = None
        self._is_stopped = False
        self._sessions = Sessions(own, seat, links)
        self._watches = Watches(send=self._watch)
        links.on_push = self._watches.pushed
        links.on_ended = lambda _: self._watches.follow()

    # ------------------------------------------------------------ the port

    @property
    def capabilities(self) -> Capabilities:
        return self._own.capabilities

    @property
    def depth(self) -> int:
        return self._own.depth

    def new_among(self, tasks: Sequence[TaskSpec]) -> int:
        return self._own.new_among(tasks)

    async def start(self) -> None:
        await self._own.start()

    def handle(self, peer: Peer, request: Request, answer: Answer) -> None:
        verb = type(request)
        if verb in HERE or level_of(request) == LOCAL:
            self._own.handle(peer, request, answer)
        elif isinstance(request, Watch):
            self._watches.watch(peer, request, answer)
        else:
            wait_s = request.wait_ms / 1000 if isinstance(request, GetTask) else 0.0
            deadline = self._loop.time() + self._patience_s + wait_s
            self._try(Errand(peer, request, answer, deadline))

    def disconnected(self, peer: Peer) -> None:
        self._watches.forget(peer)
        self._sessions.disconnected(peer)
        self._own.disconnected(peer)

    async def stop(self) -> None:
        """Calling it twice is allowed."""
        self._is_stopped = True
        self._watches.stop()
        for timer in (self._timer, self._dropping):
            if timer is not None:
                timer.cancel()
        self._links.close()
        self._sessions.close()
        waiting, self._waiting = self._waiting, []
        for errand in waiting:
            errand.answer(BrokerUnavailable("the broker is stopping; ask another node"))
        await self._own.stop()

    def leader_changed(self, leader: str) -> None:
        """Somebody leads, or nobody is known to (empty)."""
        is_new, self._leader = leader != self._leader, leader
        if leader and is_new and not self._is_stopped:
            self._watches.follow()
            # The one before says by itself what became of its requests, unless it hangs or is cut off.
            if self._dropping is not None:
                self._dropping.cancel()
            self._dropping = self._loop.call_later(LAST_WORDS_SECONDS, self._drop, leader)

    def _drop(self, but: str) -> None:
        self._links.drop(but)
        self._sessions.drop(but)

    # ------------------------------------------------------------ on the way

    def _try(self, errand: Errand) -> None:
        leader = self._seat.leader
        answered: Answer = partial(self._answered, errand)
        if type(errand.request) in OF_SESSIONS:
            self._sessions.send(errand.peer, errand.request, answered)
        elif self._seat.leads:
            self._own.handle(errand.peer, errand.request, answered)
        elif leader and leader != self._seat.node_id:
            self._links.request(leader, errand.request, answered)
        else:
            answered(self._seat.not_leader())

    def _answered(self, errand: Errand, reply: Reply | TqError) -> None:
        if isinstance(reply, TqError) and self._may_go_again(errand, reply):
            self._waiting.append(errand)
            if self._timer is None:
                self._timer = self._loop.call_later(RETRY_SECONDS, self._try_all)
        elif isinstance(reply, NotLeader):
            # Its client has nowhere else to go: this node would have gone there.
            errand.answer(BrokerUnavailable(reply.text, retry_after_ms=reply.retry_after_ms))
        else:
            errand.answer(reply)

    def _may_go_again(self, errand: Errand, error: TqError) -> bool:
        if self._is_stopped or len(self._waiting) >= WAITING_MAX or self._loop.time() >= errand.deadline:
            return False
        if isinstance(error, OutcomeUnknown):
            return type(errand.request) in REPEATABLE
        return isinstance(error, BrokerUnavailable) and not isinstance(error, TooManyConnections)

    def _try_all(self) -> None:
        self._timer = None
        waiting, self._waiting = self._waiting, []
        for errand in waiting:
            self._try(errand)

    def _watch(self, peer: Peer, request: Watch, answer: Answer) -> None:
        self._try(Errand(peer, request, answer, self._loop.time() + self._patience_s))
