"""From an HTTP call to the service and back: who calls, every wait bounded, and how the caller stands with its limit."""

from __future__ import annotations

import asyncio
from typing import TypeVar, cast

from starlette.requests import HTTPConnection

from tq.broker.access import denial
from tq.broker.api.recognition import bearer_of, recognise
from tq.broker.api.rest.errors import would_be_unknown
from tq.broker.backend import Peer
from tq.broker.service import Caller, Service, Silent
from tq.errors import AuthenticationFailed, BrokerUnavailable, TqError
from tq.verbs import (
    Cancel,
    CancelMany,
    DrainWorker,
    ForgetMany,
    PauseQueue,
    Purge,
    Reply,
    Request,
    ResumeQueue,
    Retry,
    RetryMany,
    Submit,
)

CALL_S_MAX = 30.0
"""Longest wait for the service's answer. Only a disk that hangs or a cluster without a majority takes so long."""
CALLER = "tq.caller"
"""Where the caller of a request is found in its scope once it is known: the rate limit's headers are made from it."""
SILENT = Silent()

_WRITES: frozenset[type[Request]] = frozenset(
    {Submit, Cancel, CancelMany, Retry, RetryMany, ForgetMany, PauseQueue, ResumeQueue, Purge, DrainWorker}
)

R = TypeVar("R", bound=Reply)


class Gate:
    """What handlers call. Raises TqError; handlers let it pass."""

    def __init__(self, service: Service, *, call_s_max: float) -> None:
        self._service = service
        self._call_s_max = call_s_max
        self._loop = asyncio.get_running_loop()

    async def ask(self, request: HTTPConnection, verb: Request, kind: type[R]) -> R:
        """Find out who calls and send one verb for them; `kind` is the reply class that belongs to it."""
        return await self.send(await self.caller(request), verb, kind)

    async def send(self, caller: Caller, verb: Request, kind: type[R]) -> R:
        """The reply. Raises OutcomeUnknown for a write, BrokerUnavailable for a read, that gets none in time."""
        waiter: asyncio.Future[Reply | TqError] = self._loop.create_future()

        def answer(reply: Reply | TqError) -> None:
            if not waiter.done():
                waiter.set_result(reply)

        self._service.handle(caller, verb, answer)
        timer = self._loop.call_later(self._call_s_max, lambda: answer(self._overdue(verb)))
        try:
            reply = await waiter
        finally:
            timer.cancel()
        if isinstance(reply, TqError):
            raise reply
        assert isinstance(reply, kind), f"{type(verb).__name__} was answered with {type(reply).__name__}"
        return reply

    def _overdue(self, verb: Request) -> TqError:
        if type(verb) in _WRITES:
            return would_be_unknown(self._call_s_max)
        return BrokerUnavailable(f"no answer within {self._call_s_max:g} s; ask again")

    async def caller(
        self, request: HTTPConnection, *, peer: Peer = SILENT, token: str | None = None
    ) -> Caller:
        """Whoever holds the key of `Authorization: Bearer KEY`; nobody in particular while keys are off.

        token: the key, when it came another way. Raises AuthenticationFailed.
        """
        address = request.client.host if request.client else ""
        if token is None:
            token = token_of(request.headers.getlist("authorization"))
        who = await recognise(self._service, token, address, wait_s_max=self._call_s_max)
        caller = request.scope[CALLER] = Caller(peer, who, address)
        return caller

    async def permit(
        self, request: HTTPConnection, verb: type[Request], *, token: str | None = None
    ) -> Caller:
        """The caller, once they may send this verb: for what is answered from elsewhere than the service.

        Raises AuthenticationFailed, PermissionDenied.
        """
        caller = await self.caller(request, token=token)
        if verb not in caller.principal.verbs:
            raise denial(caller.principal, verb)
        return caller

    @property
    def asks_for_keys(self) -> bool:
        return self._service.asks_for_keys

    def knows(self, caller: Caller) -> bool:
        """False once the key has been withdrawn: a stream that was opened with it ends."""
        return self._service.knows(caller)

    def forget(self, peer: Peer) -> None:
        """A peer that watched tasks is done."""
        self._service.disconnected(peer)


def token_of(authorization: list[str]) -> str:
    """The key in the Authorization headers of a request, empty when there is none. Raises AuthenticationFailed."""
    if len(authorization) > 1:
        raise AuthenticationFailed("send one header `Authorization: Bearer KEY`")
    return bearer_of(authorization[0] if authorization else "")


def rate_headers(service: Service, scope: object) -> list[tuple[bytes, bytes]]:
    """X-RateLimit-Limit, -Remaining and -Reset (seconds until all of it is there again); none without a limit."""
    caller = cast("dict[str, object]", scope).get(CALLER)
    quota = service.quota(caller) if isinstance(caller, Caller) else None
    if quota is None:
        return []
    return [
        (b"x-ratelimit-limit", f"{quota.limit:g}".encode()),
        (b"x-ratelimit-remaining", str(quota.remaining).encode()),
        (b"x-ratelimit-reset", str(-(-quota.reset_ms // 1000)).encode()),
    ]
