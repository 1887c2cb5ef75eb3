"""The time entries are stamped with: wall time that never jumps under a running task.

Schedules are in wall time, so stamps must follow the wall clock; leases end by the same stamps, so a wall clock
that is set forward by an hour must not end every lease. So stamps move with the monotonic clock and drift towards
wall time by at most a tenth of the time that passes, and jump, forward only, while nothing is leased. They never
go back.
"""

from __future__ import annotations

from tq.clock import Clock

JUMP_MS = 1_000
"""A smaller difference is drift, not a step."""
DRIFT_DIVISOR = 10
ANCHOR_MS = DRIFT_DIVISOR
"""Drift is worked out at least so far apart, or it would be rounded away."""


class EntryClock:
    def __init__(self, clock: Clock, floor_ms: int = 0) -> None:
        """floor_ms: the last stamp the log holds."""
        self._clock = clock
        self._stamp_ms = max(clock.now_ms(), floor_ms)
        self._monotonic_ms = clock.monotonic_ms()

    def now_ms(self, *, may_jump: bool) -> int:
        """The stamp for an entry made now, at or above every stamp before. may_jump: nothing is leased."""
        passed_ms = self._clock.monotonic_ms() - self._monotonic_ms
        if passed_ms < ANCHOR_MS:
            return self._stamp_ms + passed_ms
        self._monotonic_ms += passed_ms
        self._stamp_ms += passed_ms
        behind_ms = self._clock.now_ms() - self._stamp_ms
        if may_jump and behind_ms > JUMP_MS:
            self._stamp_ms += behind_ms
        else:
            drift_ms = passed_ms // DRIFT_DIVISOR
            self._stamp_ms += max(-drift_ms, min(behind_ms, drift_ms))
        return self._stamp_ms
