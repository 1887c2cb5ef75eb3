"""Leader only: proposes a Tick when the machine has something due, and calls the regular chores."""

from __future__ import annotations

from asyncio import AbstractEventLoop, TimerHandle
from collections.abc import Callable

TICK_SPACING_MS = 5
"""Ticks are at least so far apart: what falls due in between shares one entry."""
LOOK_MS = 1_000
"""The clock is looked at at least so often, so that a wall clock that was set is noticed."""


class Timekeeper:
    def __init__(
        self,
        loop: AbstractEventLoop,
        *,
        next_due_ms: Callable[[], int | None],
        now_ms: Callable[[], int],
        tick: Callable[[Callable[[], None]], None],
    ) -> None:
        """tick(done): propose a Tick and call done once it is applied or has failed."""
        self._loop = loop
        self._next_due_ms = next_due_ms
        self._now_ms = now_ms
        self._tick = tick
        self._timer: TimerHandle | None = None
        self._at: float = 0.0
        self._is_ticking = False
        self._is_stopped = False

    def look(self) -> None:
        """Set the timer anew; to be called after every entry."""
        if self._is_ticking or self._is_stopped:
            return
        due_ms = self._next_due_ms()
        wait_ms = LOOK_MS if due_ms is None else min(max(due_ms - self._now_ms(), TICK_SPACING_MS), LOOK_MS)
        at = self._loop.time() + wait_ms / 1000
        if self._timer is not None:
            if self._at <= at:
                return
            self._timer.cancel()
        self._at = at
        self._timer = self._loop.call_at(at, self._fire)

    def stop(self) -> None:
        self._is_stopped = True
        if self._timer is not None:
            self._timer.cancel()

    def _fire(self) -> None:
        self._timer = None
        due_ms = self._next_due_ms()
        if due_ms is not None and due_ms <= self._now_ms():
            self._is_ticking = True
            self._tick(self._ticked)
        else:
            self.look()

    def _ticked(self) -> None:
        self._is_ticking = False
        self.look()
