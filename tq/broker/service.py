"""The one way in: who is it, may they, how often, does it fit, then the backend. Every door comes through here.

`handle` is the hot path: no task, no future, no coroutine per request. `call` is the same for doors that await.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from functools import partial
from typing import NamedTuple, cast

from tq.broker.access import PERMISSION_OF, Access, Principal, Verdict, denial
from tq.broker.admission import Admission
from tq.broker.awaiting import awaited
from tq.broker.backend import Answer, Backend, Capabilities, Peer
from tq.broker.observe import Observer
from tq.broker.rates import Quota, Rates
from tq.errors import AuthenticationFailed, BrokerUnavailable, TqError
from tq.verbs import (
    Deregister,
    Extend,
    GetHealth,
    Heartbeat,
    Ping,
    Push,
    Reply,
    Request,
    SetCapacity,
    Settle,
    Submit,
)

STOPPING_RETRY_MS = 2_000
"""A restart takes about so long."""

_WHILE_DRAINING: frozenset[type[Request]] = frozenset(
    {Settle, Extend, Heartbeat, SetCapacity, Deregister, Ping, GetHealth}
)
"""What finishes work rather than begins it, and so is still taken while the broker drains."""


class Caller(NamedTuple):
    """One peer that has said who it is. A door makes one per connection, or per call.

    address: the peer's host without port, as the socket has it; empty = not known.
    """

    peer: Peer
    principal: Principal
    address: str = ""


class Silent:
    """The peer of a caller that cannot be pushed to, such as one HTTP call."""

    def push(self, push: Push) -> None:
        return

    def dismiss(self, error: TqError) -> None:
        return


class _Stage(Enum):
    OPEN = 1
    DRAINING = 2
    CLOSED = 3


class Service:
    """What doors talk to. Only the event loop's thread may call it."""

    def __init__(
        self,
        backend: Backend,
        access: Access,
        admission: Admission,
        observer: Observer,
        on_fatal: Callable[[BaseException], None],
        rates: Rates | None = None,
    ) -> None:
        """on_fatal: told when the backend breaks its promise to raise nothing; the process is expected to stop.

        rates: None = nobody is limited.
        """
        self._backend = backend
        self._access = access
        self._admission = admission
        self._observer = observer
        self._on_fatal = on_fatal
        self._rates = rates
        self._stage = _Stage.OPEN
        self._is_stopping = False
        self._is_guarded = not access.is_open or rates is not None

    @property
    def capabilities(self) -> Capabilities:
        return self._backend.capabilities

    @property
    def asks_for_keys(self) -> bool:
        return not self._access.is_open

    def authenticate(self, token: str, verdict: Verdict, address: str = "") -> None:
        """Find out who holds the token, empty = none; verdict is called once, at once or later.

        address: the caller's host, empty = not known. One host has only so many unknown keys checked at a time.
        """
        self._access.authenticate(token, verdict, address)

    def knows(self, caller: Caller) -> bool:
        """False once the caller's key was withdrawn or changed: its door lets it go. Its requests are refused anyway."""
        return self._access.knows(caller.principal)

    def quota(self, caller: Caller) -> Quota | None:
        """How the caller stands with its rate limit; None when it has none."""
        if self._rates is None:
            return None
        who = caller.principal
        return self._rates.quota(name=who.name, rate_per_s=who.rate_per_s, address=caller.address)

    def handle(self, caller: Caller, request: Request, answer: Answer) -> None:
        """Begin one request. `answer` is called exactly once, at once or later, with a reply or an error."""
        verb = type(request)
        self._observer.requests[verb] += 1
        refusal: TqError | None = None
        if verb not in caller.principal.verbs:
            refusal = denial(caller.principal, verb)
        elif self._is_guarded:
            refusal = self._guard(caller, request)
        if refusal is not None:
            answer(refusal)
            return
        try:
            if verb is Submit and (refusal := self._refuse_submit(cast("Submit", request))) is not None:
                answer(refusal)
                return
            self._backend.handle(caller.peer, request, answer)
        except Exception as error:  # noqa: BLE001  whatever it is, it has left the backend half changed
            self._on_fatal(error)

    def _refuse_submit(self, request: Submit) -> TqError | None:
        tasks, depth = request.tasks, self._backend.depth
        refusal = self._admission.refuse_submit(len(tasks), depth)
        if refusal is None:
            return None
        # Tasks that exist add nothing, and whoever sends them again must learn that they were accepted.
        return self._admission.refuse_submit(self._backend.new_among(tasks), depth)

    async def call(self, caller: Caller, request: Request) -> Reply:
        """The same for a door that awaits. Raises the TqError that `handle` would have answered.

        Cancelling the wait does not undo the request.
        """
        return await awaited(partial(self.handle, caller, request))

    def disconnected(self, peer: Peer) -> None:
        """The peer is gone. Said once, by its door; after `close` the backend is not told any more."""
        if self._stage is not _Stage.CLOSED:
            self._backend.disconnected(peer)

    def sweep(self) -> None:
        """What is looked at about once a second rather than per request."""
        if self._stage is _Stage.OPEN:
            self._observer.watch_depth(self._backend.depth)

    def drain(self) -> None:
        """From now on only what finishes work is taken; the rest is answered BrokerUnavailable."""
        if self._stage is _Stage.OPEN:
            self._stage = _Stage.DRAINING
            self._is_stopping = self._is_guarded = True

    def close(self) -> None:
        """From now on nothing reaches the backend."""
        self._stage = _Stage.CLOSED
        self._is_stopping = self._is_guarded = True

    def _guard(self, caller: Caller, request: Request) -> TqError | None:
        """What is looked at only while the broker stops, has keys, or limits rates: others do not pay for it."""
        verb, who = type(request), caller.principal
        if self._is_stopping and not self._takes_while_stopping(verb):
            return BrokerUnavailable(
                "the broker is stopping; go to another node or try again", retry_after_ms=STOPPING_RETRY_MS
            )
        if PERMISSION_OF[verb] is None:
            return None
        if not self._access.knows(who):
            return AuthenticationFailed(f"the key {who.name!r} was withdrawn or changed; authenticate again")
        if self._rates is None:
            return None
        return self._rates.refuse(request, name=who.name, rate_per_s=who.rate_per_s, address=caller.address)

    def _takes_while_stopping(self, verb: type[Request]) -> bool:
        return self._stage is _Stage.DRAINING and verb in _WHILE_DRAINING
