"""Whether a store can be reached: said once when it changes, in the log too, and shown in health and metrics."""

from __future__ import annotations

from collections.abc import Callable

from tq.clock import Clock
from tq.errors import BrokerUnavailable, OutcomeUnknown, TqError
from tq.logs import get_logger

_log = get_logger("stackduck")

RETRY_MS = 500
"""How soon a store that is away is looked for again, and what clients are told to wait."""


class StoreAway(BrokerUnavailable):
    """A store of StackDuck cannot be reached."""


class StoreCut(StoreAway):
    """A store of StackDuck went away after it was asked and before it answered: it may have done what it was asked."""


def outward(error: TqError) -> TqError:
    """What a change's asker is told: a change that may have happened is not unavailable but unknown."""
    if not isinstance(error, StoreCut):
        return error
    return OutcomeUnknown(f"it may have happened: {error.text}", retry_after_ms=error.retry_after_ms)


class Store:
    """One of the two. on_back, on_gone: called on the loop when it changes."""

    def __init__(self, name: str, clock: Clock) -> None:
        self.name = name
        self._clock = clock
        self.is_up = False
        self.changed_ms = clock.now_ms()
        self.outages = 0
        self.error = "it was not reached yet"
        self.on_back: list[Callable[[], None]] = []
        self.on_gone: list[Callable[[], None]] = []

    @property
    def up_for_ms(self) -> int:
        """How long it has been reached without a break; 0 while it is away. By the wall clock, for decisions that
        must outlast a broker that was stopped itself."""
        return self._clock.now_ms() - self.changed_ms if self.is_up else 0

    def back(self) -> None:
        if self.is_up:
            return
        self.is_up, self.changed_ms = True, self._clock.now_ms()
        _log.info("store_back", f"{self.name} is reached", store=self.name)
        for tell in self.on_back:
            tell()

    def gone(self, error: BaseException, *, was_asked: bool = False) -> StoreAway:
        """It was not reached, for this reason; what to raise. was_asked: it may have done what it was asked."""
        text = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        if self.is_up or not self.outages:
            self.is_up, self.changed_ms, self.error = False, self._clock.now_ms(), text
            self.outages += 1
            _log.error("store_away", f"{self.name} is away: {text}", store=self.name)
            for tell in self.on_gone:
                tell()
        self.error = text
        return self.away(StoreCut) if was_asked else self.away()

    def away(self, kind: type[StoreAway] = StoreAway) -> StoreAway:
        return kind(f"{self.name} is away: {self.error}; try again", retry_after_ms=RETRY_MS)

    @property
    def problem(self) -> str:
        """For people, while it is away."""
        return f"{self.name} is away since {self._clock.now_ms() - self.changed_ms} ms: {self.error}"
