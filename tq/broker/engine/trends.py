"""How the last hour went: snapshots of counters that only rise, one a minute, and of each queue's every few seconds.

A number of a minute is the difference of two snapshots, so counting costs nothing beyond what `tallies` counts anyway.
Snapshots are of this process; before its start only completed tasks are known, which the machine's meter keeps.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

from tq.broker.engine.statistics import HOUR_MINUTES
from tq.broker.engine.tallies import Tallies, Total
from tq.broker.machine.ending import MINUTE_MS
from tq.broker.machine.state import Minute, State
from tq.broker.measures import TASK_BOUNDS_MS
from tq.verbs import Latency, Series

WINDOW_MINUTES = 5
"""Latencies are of the last so many minutes."""
SAMPLE_MS = 5_000
"""Between two samples of the queues."""
SAMPLES_MAX = MINUTE_MS // SAMPLE_MS + 1
SAMPLED_MS_MIN = 2 * SAMPLE_MS
"""From so much time between two samples a rate says something."""
KINDS_SAMPLED_MAX = 5_000
"""With more pairs of queue and type, sampling would hold the loop for longer than it is worth."""
UNKNOWN = -1


class _Moment(NamedTuple):
    """Counters at the end of a minute, or now. tiers: pending tasks, low, normal and high."""

    total: Total
    tiers: tuple[int, int, int]


class _Sample(NamedTuple):
    at_ms: int
    queues: dict[str, tuple[int, int]]
    """queue -> (came, ended) since the start"""


class Trends:
    def __init__(self, state: State, tallies: Tallies, now_ms: Callable[[], int]) -> None:
        """now_ms: by the entries' clock."""
        self._state = state
        self._tallies = tallies
        self._now_ms = now_ms
        self._moments: dict[int, _Moment] = {}
        self._samples: deque[_Sample] = deque(maxlen=SAMPLES_MAX)
        self._minute = 0

    def go_live(self) -> None:
        """Count from here on. To be called after the tallies' own."""
        self._minute = self._now_ms() // MINUTE_MS
        self._moments = {self._minute - 1: self._moment()}
        self._samples.clear()
        self._sample(self._now_ms())

    def turn(self) -> None:
        """To be called about once a second."""
        now_ms = self._now_ms()
        minute = now_ms // MINUTE_MS
        if minute > self._minute:
            # After a standstill of minutes the first of them gets all that was counted.
            self._moments[self._minute] = self._moment()
            for missed in range(max(self._minute, minute - HOUR_MINUTES) + 1, minute):
                self._moments[missed] = self._moments[self._minute]
            self._minute = minute
            self._moments = {at: one for at, one in self._moments.items() if at >= minute - HOUR_MINUTES}
        if now_ms - self._samples[-1].at_ms >= SAMPLE_MS:
            self._sample(now_ms)

    def series(self, minutes: int = HOUR_MINUTES) -> Series:
        """The last minutes, the one that runs now included."""
        now_ms = self._now_ms()
        now, last = self._moment(), max(now_ms // MINUTE_MS, self._minute)
        first = last - minutes + 1
        ends = [now if minute == last else self._moments.get(minute) for minute in range(first - 1, last + 1)]
        steps = list(zip(ends, ends[1:], strict=False))
        return Series(
            now_ms,
            first * MINUTE_MS,
            tuple(_step(a.total.submitted, b.total.submitted) if a and b else UNKNOWN for a, b in steps),
            tuple(
                _step(a.total.completed, b.total.completed) if a and b else self._metered(first + place)
                for place, (a, b) in enumerate(steps)
            ),
            tuple(_step(a.total.failed, b.total.failed) if a and b else UNKNOWN for a, b in steps),
            tuple(b.tiers[2] if b else UNKNOWN for _, b in steps),
            tuple(b.tiers[1] if b else UNKNOWN for _, b in steps),
            tuple(b.tiers[0] if b else UNKNOWN for _, b in steps),
            self._latency(now, last),
        )

    def rates(self) -> dict[str, tuple[int, int]]:
        """queue -> (tasks that came, that ended) in the last minute; of a shorter time after a start, scaled up."""
        oldest, latest = self._samples[0], self._samples[-1]
        passed_ms = latest.at_ms - oldest.at_ms
        if passed_ms < SAMPLED_MS_MIN:
            return {}
        found = {}
        for queue, (came, ended) in latest.queues.items():
            came_before, ended_before = oldest.queues.get(queue, (0, 0))
            found[queue] = (
                _per_minute(came - came_before, passed_ms),
                _per_minute(ended - ended_before, passed_ms),
            )
        return found

    def _metered(self, minute: int) -> int:
        return self._state.meter.get(minute, Minute()).completed

    def _latency(self, now: _Moment, last: int) -> Latency:
        known = [minute for minute in self._moments if minute >= last - WINDOW_MINUTES]
        before = self._moments[min(known)] if known else now
        waits = _difference(before.total.waits, now.total.waits)
        runs = _difference(before.total.runs, now.total.runs)
        return Latency(
            WINDOW_MINUTES * MINUTE_MS,
            percentile(waits, 50),
            percentile(waits, 99),
            percentile(runs, 50),
            percentile(runs, 99),
        )

    def _moment(self) -> _Moment:
        low, normal, high = self._state.tiers
        return _Moment(self._tallies.total(), (low, normal, high))

    def _sample(self, now_ms: int) -> None:
        kinds = len(self._state.kinds)
        queues = self._tallies.by_queue() if kinds <= KINDS_SAMPLED_MAX else {}
        self._samples.append(_Sample(now_ms, queues))


def percentile(counts: Sequence[int], percent: int) -> int:
    """The value, in the bounds' unit, that so many percent of what was counted do not exceed; UNKNOWN of nothing.

    counts: as a histogram over TASK_BOUNDS_MS has them. Within a step values are taken to lie evenly.
    """
    rank = sum(counts) * percent / 100
    if not rank:
        return UNKNOWN
    below, floor = 0, 0
    for bound, count in zip(TASK_BOUNDS_MS, counts, strict=False):
        if count and below + count >= rank:
            return round(floor + (bound - floor) * (rank - below) / count)
        below, floor = below + count, bound
    return TASK_BOUNDS_MS[-1]


def _difference(before: Sequence[int], after: Sequence[int]) -> list[int]:
    return [late - early for early, late in zip(before, after, strict=True)]


def _step(before: int, after: int) -> int:
    """Counters rise; but what is forgotten and retried within a moment may make one dip."""
    return max(after - before, 0)


def _per_minute(count: int, passed_ms: int) -> int:
    return round(max(count, 0) * MINUTE_MS / passed_ms)
