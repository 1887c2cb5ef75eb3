"""A worker's session that takes jobs one claim at a time, for a stream of jobs or for single dequeues.

StackDuck's clients have no slots: they take as many jobs as they can read, and end each by its id whenever they
like. So a session has no capacity, and each claim asks for so many leases beyond it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable

from tq.broker.compat.stackduck.enqueue import LEASE_MS
from tq.broker.compat.stackduck.names import QUEUE
from tq.broker.service import Caller, Service
from tq.errors import TqError
from tq.protocol.limits import HEARTBEAT_MS_MAX
from tq.protocol.validate import check_request
from tq.task import Cause
from tq.verbs import (
    Abort,
    Claim,
    Claimed,
    Deliver,
    Delivery,
    Deregister,
    Extend,
    Heartbeat,
    Push,
    Register,
    Registered,
    Reply,
    Settle,
    SettleItem,
)


class Taker:
    """The peer of one such session. caller: in whose name it asks, once it is registered.

    task_types: what it asks for. arrived: leased and not yet handed on. tokens: handed on and not yet settled.
    news: set when something arrived. claimed: how many jobs the last claim brought. error: why it brought none.
    """

    caller: Caller

    def __init__(self, service: Service, on_lost: Callable[[bytes, int], None]) -> None:
        """on_lost: told of each handed-on lease that was taken away."""
        self._service = service
        self._on_lost = on_lost
        self.task_types: tuple[str, ...] = ()
        self.arrived: deque[Delivery] = deque()
        self.tokens: dict[bytes, int] = {}
        self.news = asyncio.Event()
        self.grace_ms = 0
        self.is_claiming = False
        self.claimed: int | None = None
        self.error: TqError | None = None
        self._is_over = False
        self._is_gone = False

    # ------------------------------------------------------------ called by the backend

    def push(self, push: Push) -> None:
        if isinstance(push, Deliver):
            self._take(push.tasks)
        elif isinstance(push, Abort):
            self._let_go(push)

    def dismiss(self, error: TqError) -> None:
        """The session is to be opened again, where tasks are handed out now."""
        self.task_types = ()
        self.error = error
        self.news.set()

    # ------------------------------------------------------------ taking

    async def register(
        self, caller: Caller, *, session_id: bytes, worker: str, task_types: tuple[str, ...]
    ) -> None:
        """Open the session, or have it ask for these types from now on; what it holds it keeps.

        caller: its peer must be this taker. Raises BadRequest for names that no task can have, and what the service
        answers.
        """
        self.caller = caller
        holds = tuple(self.tokens.items())
        request = Register(session_id, worker, (QUEUE,), task_types, 0, holds, HEARTBEAT_MS_MAX)
        self.task_types = ()
        reply = await self._service.call(caller, check_request(request))
        assert isinstance(reply, Registered)
        self.task_types = task_types
        self.grace_ms = reply.grace_ms
        for task_id, token in reply.lost:
            self._on_lost(task_id, token)

    def claim(self, limit: int, wait_ms: int) -> None:
        """Ask for up to `limit` jobs; they turn up in `arrived`, or an error in `error`."""
        self.is_claiming = True

        def claimed(reply: Reply | TqError) -> None:
            self.is_claiming = False
            if isinstance(reply, Claimed):
                self.claimed = len(reply.tasks)
                self._take(reply.tasks)
            elif isinstance(reply, TqError):
                self.error = reply
            self.news.set()

        self._service.handle(self.caller, Claim(limit, wait_ms), claimed)

    def _take(self, tasks: tuple[Delivery, ...]) -> None:
        # What was asked for before the types changed may still come.
        wanted = () if self._is_over else self.task_types
        self.arrived.extend(each for each in tasks if each.task_type in wanted)
        self._release(each for each in tasks if each.task_type not in wanted)
        self.news.set()

    def _let_go(self, abort: Abort) -> None:
        """Leases that were taken away: cancelled, or out of time. Nobody can be told; their slots are free at once."""
        taken = {(task_id, token) for task_id, token, _ in abort.items}
        self.arrived = deque(each for each in self.arrived if (each.task_id, each.token) not in taken)
        for task_id, token in taken:
            self._on_lost(task_id, token)
        self._settle([SettleItem(task_id, token, Cause.CANCELLED) for task_id, token in taken])

    # ------------------------------------------------------------ keeping and ending

    def keep(self) -> None:
        """Say that the worker lives, and move the deadline of what it holds. For a stream, whose end is noticed."""
        self.beat()
        if self.tokens:
            items = tuple((task_id, token, LEASE_MS) for task_id, token in self.tokens.items())
            self._service.handle(self.caller, Extend(items), _ignore)

    def beat(self) -> None:
        """Say that the worker lives; its leases keep their deadlines."""
        self._service.handle(self.caller, Heartbeat(), _ignore)

    def stop_taking(self) -> None:
        """Hand back, uncharged, what was not handed on, and whatever may still come; and ask for nothing more."""
        self._is_over = True
        self.hand_back()
        if self.is_claiming:
            # A new claim ends the one that is open, and this one asks for nothing.
            self._service.handle(self.caller, Claim(0), _ignore)

    def hand_back(self) -> None:
        """Hand back, uncharged, what was not handed on."""
        waiting, self.arrived = self.arrived, deque()
        self._release(waiting)

    def give_up(self) -> None:
        """The client is gone for good: what it held goes back to others, counted as a worker that was lost."""
        text = "its consumer left without completing or failing it"
        held = [
            SettleItem(task_id, token, Cause.LEASE_LOST, b"", text) for task_id, token in self.tokens.items()
        ]
        for each in held:
            self._on_lost(each.task_id, each.token)
        self._settle(held)
        self.deregister()

    def deregister(self) -> None:
        """Close the session; what it holds goes back uncharged."""
        if self._is_gone:
            return
        self._is_gone = True
        for task_id, token in list(self.tokens.items()):
            self._on_lost(task_id, token)
        self._service.handle(self.caller, Deregister(), lambda _: self._service.disconnected(self))

    def _release(self, tasks: Iterable[Delivery]) -> None:
        self._settle([SettleItem(each.task_id, each.token, Cause.RELEASED) for each in tasks])

    def _settle(self, items: list[SettleItem]) -> None:
        if items:
            self._service.handle(self.caller, Settle(tuple(items)), _ignore)


def _ignore(_: Reply | TqError) -> None:
    """Nobody is left who could act on it; what was not done the session's grace does."""
