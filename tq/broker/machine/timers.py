"""What falls due when: two clocks, one for waits, one for leases.

Waits (schedules, retries, expiries, unique keys) are many, far away and rarely called off: a heap whose dead
entries are recognised when they surface, and swept when they outnumber the rest. Leases are few, start and end all the
time and hardly ever fall due: a wheel of one-second slots, from which an entry is removed exactly.

What is due comes out in an order that follows from the entries themselves and not from the history of the heap or
the slots: a tick stops after so many, and every node must stop at the same one.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING, TypeAlias

from tq.task import COMPLETED, RETRYING, SCHEDULED

if TYPE_CHECKING:
    from tq.broker.machine.heads import Head

DUE, EXPIRY, UNIQUE = 0, 1, 2
Wait: TypeAlias = "tuple[int, int, int, Head | str]"
"""(when_ms, seq of the task or 0 for a unique key, DUE | EXPIRY | UNIQUE, the head or the unique key)"""

SLOT_MS = 1_000
SWEEP_MIN = 10_000
"""Fewer dead waits than this are not worth a sweep."""
SECONDS_SPARE = 1_000
"""Slots that came and went leave their second in the heap; so many before it is made anew."""


class Waits:
    def __init__(self) -> None:
        self.heap: list[Wait] = []
        self._dead = 0

    def add(self, when_ms: int, seq: int, what: int, subject: Head | str) -> None:
        heappush(self.heap, (when_ms, seq, what, subject))

    def load(self, waits: list[Wait]) -> None:
        """Replace everything; a broker that starts with a million schedules does not push them one by one."""
        self.heap = waits
        heapify(self.heap)
        self._dead = 0

    def call_off(self) -> None:
        """Some entry has just lost its meaning. Counting one that is gone already only sweeps a little early."""
        self._dead += 1
        if self._dead > SWEEP_MIN and 2 * self._dead > len(self.heap):
            self.load([wait for wait in self.heap if is_live(wait)])

    def next_ms(self) -> int | None:
        """When the next live entry falls due."""
        while self.heap:
            if is_live(self.heap[0]):
                return self.heap[0][0]
            heappop(self.heap)
        return None

    def pop_due(self, now_ms: int) -> Wait | None:
        """Remove and return the next live entry due by now_ms."""
        while self.heap and self.heap[0][0] <= now_ms:
            wait = heappop(self.heap)
            if is_live(wait):
                return wait
        return None


def is_live(wait: Wait) -> bool:
    """Whether an entry still means something; what it was set for may have ended or moved since."""
    when_ms, _, what, subject = wait
    if isinstance(subject, str):
        return True
    if what == DUE:
        return subject.due_ms == when_ms and subject.state in (SCHEDULED, RETRYING)
    # Expiry ends what was never started; a task that ran once is past it.
    return subject.attempts == 0 and subject.state < COMPLETED


class Deadlines:
    """Leases by the second in which their deadline falls."""

    def __init__(self) -> None:
        self._slots: dict[int, dict[bytes, Head]] = {}
        self._seconds: list[int] = []

    def add(self, head: Head, deadline_ms: int) -> None:
        second = deadline_ms // SLOT_MS
        slot = self._slots.get(second)
        if slot is None:
            slot = self._slots[second] = {}
            heappush(self._seconds, second)
            if len(self._seconds) > 2 * len(self._slots) + SECONDS_SPARE:
                self._seconds = sorted(self._slots)
        slot[head.task_id] = head

    def __len__(self) -> int:
        return sum(len(slot) for slot in self._slots.values())

    def remove(self, head: Head, deadline_ms: int) -> None:
        second = deadline_ms // SLOT_MS
        slot = self._slots[second]
        del slot[head.task_id]
        if not slot:
            del self._slots[second]

    def next_ms(self) -> int | None:
        """The end of the first slot that holds any: by then every deadline in it has passed."""
        while self._seconds and self._seconds[0] not in self._slots:
            heappop(self._seconds)
        return (self._seconds[0] + 1) * SLOT_MS if self._seconds else None

    def due(self, now_ms: int, limit: int) -> list[Head]:
        """Up to limit heads whose slot has passed by now_ms, by slot and seq; they stay until removed."""
        found: list[Head] = []
        for second in sorted(second for second in self._slots if (second + 1) * SLOT_MS <= now_ms):
            found.extend(sorted(self._slots[second].values(), key=_seq))
            if len(found) >= limit:
                break
        return found[:limit]


def _seq(head: Head) -> int:
    return head.seq
