"""Looks at every connection of a door about once a second: has it overstepped one of the times it is given?

One timer for all of them; nobody is held up by the idle, for they are looked at in slices.
"""

from __future__ import annotations

from asyncio import AbstractEventLoop, TimerHandle
from collections.abc import Callable, Iterable
from typing import Protocol

SWEEP_MS_MAX = 1_000
SWEEP_MS_MIN = 10
SWEEP_SLICE = 500
"""Connections looked at in one go: about half a millisecond."""


class Swept(Protocol):
    """A connection."""

    def sweep(self, now_ms: int) -> None: ...


class Sweeper:
    def __init__(
        self,
        loop: AbstractEventLoop,
        now_ms: Callable[[], int],
        connections: Callable[[], Iterable[Swept]],
        before: Callable[[], None],
        *time_outs_ms: int,
    ) -> None:
        """now_ms: the monotonic clock. before: called before each sweep, also one that judges nobody.

        time_outs_ms: what connections are given; it sweeps four times in the shortest, so that none is late by more.
        """
        self._loop = loop
        self._now_ms = now_ms
        self._connections = connections
        self._before = before
        self._interval_ms = max(SWEEP_MS_MIN, min(SWEEP_MS_MAX, min(time_outs_ms) // 4))
        self._swept_ms = 0
        self._timer: TimerHandle | None = None

    def start(self) -> None:
        """Calling it again changes nothing."""
        if self._timer is None:
            self._swept_ms = self._now_ms()
            self._set_timer()

    def stop(self) -> None:
        """Calling it twice is allowed, and without `start`, too."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _set_timer(self) -> None:
        self._timer = self._loop.call_later(self._interval_ms / 1000, self._sweep)

    def _sweep(self) -> None:
        now_ms = self._now_ms()
        # A sweep that comes so late finds peers silent because we did not listen; it judges nobody.
        stood_still = now_ms - self._swept_ms > 2 * self._interval_ms
        self._swept_ms = now_ms
        self._set_timer()
        self._before()
        if not stood_still:
            self._sweep_some(list(self._connections()))

    def _sweep_some(self, rest: list[Swept]) -> None:
        """A slice now, the next one after whatever else waits for the loop."""
        for connection in rest[-SWEEP_SLICE:]:
            connection.sweep(self._swept_ms)
        del rest[-SWEEP_SLICE:]
        if rest:
            self._loop.call_soon(self._sweep_some, rest)
