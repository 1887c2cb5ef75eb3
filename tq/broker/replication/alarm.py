"""One timer that is moved about: cheap to set again and again, for it goes off early rather than be cancelled."""

from __future__ import annotations

from asyncio import AbstractEventLoop, TimerHandle
from collections.abc import Callable

from tq.broker.replication.ports import Monotonic

TIMER_SECONDS_MAX = 60.0
"""It is set anew at least so often; who waits for nothing has no time to set."""


class Alarm:
    def __init__(self, loop: AbstractEventLoop, clock: Monotonic, ring: Callable[[], None]) -> None:
        """ring: called at the time set or earlier: whoever is called looks what is due."""
        self._loop = loop
        self._clock = clock
        self._ring = ring
        self._timer: TimerHandle | None = None
        self._at = 0.0

    def set(self, due: float) -> None:
        """Go off at `due` by the clock, at the latest. A timer that goes off earlier does as well."""
        if self._timer is not None:
            if self._at <= due:
                return
            self._timer.cancel()
        now = self._clock()
        self._at = min(due, now + TIMER_SECONDS_MAX)
        self._timer = self._loop.call_later(max(self._at - now, 0.0), self._go_off)

    def cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _go_off(self) -> None:
        self._timer = None
        self._ring()
