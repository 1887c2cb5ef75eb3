"""A connection that is dialled again when it was lost, and requests that are repeated until they are answered."""

from __future__ import annotations

import asyncio

from tests.crash.history import History
from tq.client.link import Link
from tq.errors import BrokerUnavailable, Outcome, TqError
from tq.verbs import Reply, Request

DIAL_SECONDS = 0.02
REQUEST_SECONDS_MAX = 20.0
"""Longer than any restart takes: a broker that lives answers sooner."""
ATTEMPTS_MAX = 500


class Line:
    """One client's way to the broker, wherever in its life the broker is."""

    def __init__(self, address: str, history: History) -> None:
        self._address = address
        self._history = history
        self._link: Link | None = None

    async def call(self, request: Request) -> Reply:
        """One try. Raises what became of it."""
        if self._link is None or not self._link.is_usable:
            self._link = await Link.open(self._address)
        return await self._link.request(request, asyncio.get_running_loop().time() + REQUEST_SECONDS_MAX)

    async def insist(self, request: Request, *, unknown_max: int = ATTEMPTS_MAX) -> Reply:
        """The same request until it is answered: submits carry their ids, so repeating them is safe.

        Raises what the broker rejected, and OutcomeUnknown after unknown_max unknown outcomes.
        """
        unknown = 0
        for _ in range(ATTEMPTS_MAX):
            try:
                return await self.call(request)
            except TqError as error:
                if error.outcome is Outcome.REJECTED:
                    raise
                if error.outcome is Outcome.UNKNOWN:
                    unknown += 1
                    self._history.counts["unknown outcomes"] += 1
                    if unknown >= unknown_max:
                        raise
            await asyncio.sleep(DIAL_SECONDS)
        raise BrokerUnavailable(f"no answer in {ATTEMPTS_MAX} tries")

    def close(self) -> None:
        if self._link is not None:
            self._link.close()
