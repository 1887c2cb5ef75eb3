"""What is measured, as plain numbers: the parts that measure fill these, the exporter reads them.

Rules of the file:
- Measuring costs an addition or two. Names, units and labels of metrics are the exporter's business.
- A histogram has one writer, perhaps on another thread; readers copy the counts first and derive the rest from them, so
  what they see adds up.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from typing import NamedTuple

LABELS_MAX = 100
"""Names of task types or queues that get a label of their own; names made from data must not fill a database."""
OTHER = "other"
"""The label all further names share."""

_SECOND_MS = 1_000
TASK_BOUNDS_MS = tuple(
    int(seconds * _SECOND_MS) for seconds in (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300, 1800)
)
"""From a no-op to half an hour, the default time limit between; no more, for every bound is a line for each label."""
_MICRO_NS = 1_000
DISK_BOUNDS_NS = tuple(
    micros * _MICRO_NS
    for micros in (100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 1_000_000)
)
"""From a good flash disk to one in trouble."""


class Histogram:
    """How often values fell between bounds. counts: one for each bound, values up to it; and one for the rest."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[int, ...]) -> None:
        """bounds: rising, in the unit of the values."""
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0

    def observe(self, value: int) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value


class Labels:
    """Gives at most `LABELS_MAX` names a label of their own, first come first served, and OTHER to the rest."""

    def __init__(self) -> None:
        self._own: set[str] = set()

    def of(self, name: str) -> str:
        if name in self._own:
            return name
        if len(self._own) >= LABELS_MAX:
            return OTHER
        self._own.add(name)
        return name


class Measures(NamedTuple):
    """What a backend measures. Counters begin with the process; labels are capped already.

    came: (status, task type) -> tasks that came to it; status is a word of the REST interface, or `submitted`.
    stored: status -> tasks there are. depths: `high`, `normal`, `low` -> pending tasks. pending, oldest_pending_ms: by
        queue. runs: task type -> attempts, lease to end, ms. waits: queue -> ready to lease, ms. commits: ns.
    """

    came: Mapping[tuple[str, str], int]
    stored: Mapping[str, int]
    depths: Mapping[str, int]
    pending: Mapping[str, int]
    oldest_pending_ms: Mapping[str, int]
    workers: int
    runs: Mapping[str, Histogram]
    waits: Mapping[str, Histogram]
    commits: Histogram


class LogMeasures(NamedTuple):
    """What a log measures. term: 0 when nobody votes. follower_lag: node -> entries it is behind; for leaders.

    syncs: ns.
    """

    term: int
    is_leader: bool
    commit_index: int
    follower_lag: Mapping[str, int]
    syncs: Histogram


class StoreMeasures(NamedTuple):
    """What a backend on foreign stores measures beside. up, outages: store -> is it reached, how often it was not.

    in_memory: tasks that wait in memory for a store. untold: ends that a store is still to be told of. events: what
    was put right -> how often.
    """

    up: Mapping[str, bool]
    outages: Mapping[str, int]
    in_memory: int
    untold: int
    events: Mapping[str, int]


def no_time() -> int:
    """The stopwatch of those whose times nobody reads."""
    return 0
