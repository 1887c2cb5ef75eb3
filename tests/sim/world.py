"""Virtual time, what is to happen in it, and chance that follows from a seed."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from random import Random

EVENTS_MAX = 400_000
"""A run that needs more than this is a storm: something answers itself for ever."""
PENDING_MAX = 60_000
"""The same for what is waiting to happen."""


class StormError(Exception):
    """The run does not end: too many events, or too many waiting."""


class World:
    """now: seconds since the beginning, never going back."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.now = 0.0
        self.events = 0
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._order = 0

    def stream(self, name: str) -> Random:
        """A source of chance of its own: what one part draws does not move what another part draws."""
        return Random(f"{self.seed}/{name}")

    def at(self, when: float, action: Callable[[], None]) -> None:
        """Do it then; what is due at the same time happens in the order it was asked for."""
        self._order += 1
        heappush(self._due, (when, self._order, action))

    def after(self, seconds: float, action: Callable[[], None]) -> None:
        self.at(self.now + seconds, action)

    def spend(self, seconds: float) -> None:
        """Time passes inside of what is happening: sending costs, or loops that end by the clock never would."""
        self.now += seconds

    def run_until(self, when: float, *, unless: Callable[[], bool] | None = None) -> None:
        """Let everything happen that is due by then, or until `unless` is true. Raises StormError."""
        waiting, events = self._due, self.events
        try:
            while waiting and waiting[0][0] <= when:
                if unless is not None and unless():
                    return
                due, _, action = heappop(waiting)
                if due > self.now:
                    self.now = due
                events += 1
                if events > EVENTS_MAX or len(waiting) > PENDING_MAX:
                    raise StormError(f"{events} events, {len(waiting)} waiting")
                action()
        finally:
            self.events = events
        self.now = max(self.now, when)
