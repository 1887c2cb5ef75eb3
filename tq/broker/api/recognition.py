"""From a token to whoever holds it, for doors that await."""

from __future__ import annotations

import asyncio

from tq.broker.access import Principal
from tq.broker.service import Service
from tq.errors import AuthenticationFailed, BrokerUnavailable, TqError
from tq.protocol.limits import TOKEN_CHARS_MAX

WAIT_S_MAX = 30.0
"""Longest wait for a key that is checked: with a dozen hashes of cost 12 and a crowd before it, a check takes seconds."""


async def recognise(
    service: Service, token: str, address: str, *, wait_s_max: float = WAIT_S_MAX
) -> Principal:
    """Whoever holds the token; nobody in particular while keys are off.

    address: the caller's host, empty = not known. Raises AuthenticationFailed, and BrokerUnavailable when too many
    keys are being checked.
    """
    verdict = _Verdict()
    service.authenticate(token, verdict, address)
    found = verdict.found or await verdict.later(wait_s_max)
    if isinstance(found, TqError):
        raise found
    return found


def bearer_of(authorization: str) -> str:
    """The key in the value of an HTTP header `Authorization`, empty when there is none. Raises AuthenticationFailed."""
    if not authorization:
        return ""
    scheme, _, token = authorization.partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token:
        raise AuthenticationFailed("send one header `Authorization: Bearer KEY`")
    if len(token) > TOKEN_CHARS_MAX:
        raise AuthenticationFailed(f"a key has at most {TOKEN_CHARS_MAX} characters")
    return token


class _Verdict:
    """Takes a verdict that mostly comes at once, and makes no future unless it does not."""

    def __init__(self) -> None:
        self.found: Principal | TqError | None = None
        self._waiter: asyncio.Future[Principal | TqError] | None = None

    def __call__(self, found: Principal | TqError) -> None:
        self.found = found
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(found)

    async def later(self, wait_s_max: float) -> Principal | TqError:
        """A key that is not remembered: its hash takes a thread and a tenth of a second."""
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(wait_s_max):
                return await self._waiter
        except TimeoutError:
            return BrokerUnavailable("the key could not be checked in time; try again")
