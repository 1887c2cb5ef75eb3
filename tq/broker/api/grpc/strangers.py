"""Streams that need no key: only so many at a time, and none outlasts the door."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from tq.broker.api.grpc.calls import OVERLOAD_RETRY_MS, Calls
from tq.errors import RateLimited, TqError

STRANGERS_MAX = 1_000
"""At a time. Far more than load balancers open, and few enough to leave callers with a key their share of the calls."""


class Strangers:
    """Those of one door."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._count = 0

    async def serve(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do it until it is done or the door closes. Raises RateLimited, and what the work or the door ends with."""
        if self._count >= STRANGERS_MAX:
            text = f"{STRANGERS_MAX} streams that need no key are open, the limit"
            raise RateLimited(text, retry_after_ms=OVERLOAD_RETRY_MS)
        stay = _Stay()
        self._calls.hold(stay, None)
        self._count += 1
        working = asyncio.ensure_future(work())
        try:
            await asyncio.wait([working, stay.over], return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                stay.over.result()
            await working
        finally:
            self._count -= 1
            self._calls.release(stay)
            stay.over.cancel()
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)


class _Stay:
    """One stream."""

    def __init__(self) -> None:
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def end(self, error: TqError) -> None:
        if not self.over.done():
            self.over.set_exception(error)
