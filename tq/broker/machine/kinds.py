"""One (queue, task type) with its ready tasks: strict priority, first in first out inside one.

The ready tasks stand in one deque per priority; a bit per priority that has any makes finding the highest one a
single machine operation. A task that ends while it waits stays in its deque until it comes to the front (its
state says it is stale) or until stale ones outnumber the rest. What stands at a front is always valid.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from tq.task import PENDING

if TYPE_CHECKING:
    from tq.broker.machine.heads import Head
    from tq.broker.machine.sessions import Group

STALE_MIN = 1_000
"""Fewer stale entries than this are not worth rebuilding a deque for."""


class Kind:
    """counts: tasks by state, ended ones too. groups: the groups of sessions that serve this kind."""

    __slots__ = ("buckets", "counts", "groups", "mask", "number", "paused", "queue", "stale", "task_type")

    def __init__(self, number: int, queue: str, task_type: str) -> None:
        self.number = number
        self.queue = queue
        self.task_type = task_type
        self.paused = False
        self.counts = [0] * 10
        self.buckets: dict[int, deque[Head]] = {}
        self.mask = 0
        self.stale = 0
        self.groups: list[Group] = []

    def append(self, head: Head, priority: int) -> None:
        """Put a task that has just become ready at the end of its priority."""
        bit = 1 << priority
        if self.mask & bit:
            self.buckets[priority].append(head)
            return
        bucket = self.buckets.get(priority)
        if bucket is None:
            bucket = self.buckets[priority] = deque()
        bucket.append(head)
        if not self.mask:
            self._show()
        self.mask |= bit

    def put_back(self, head: Head, priority: int) -> None:
        """Put a task that was handed back where it stood, by its order."""
        bucket = self.buckets.get(priority)
        if not bucket or head.order > bucket[-1].order:
            self.append(head, priority)
            return
        place = 0
        for other in bucket:
            if other.order > head.order:
                break
            place += 1
        bucket.insert(place, head)

    def first(self) -> Head:
        """The task to run next. The kind must not be empty."""
        return self.buckets[self.mask.bit_length() - 1][0]

    def take(self) -> Head:
        """Remove and return the task to run next. The kind must not be empty."""
        priority = self.mask.bit_length() - 1
        bucket = self.buckets[priority]
        head = bucket.popleft()
        if not bucket or bucket[0].state != PENDING:
            self._settle_front(priority, bucket)
        return head

    def discard(self, head: Head, priority: int) -> None:
        """Forget a task that has ended (its state says so already) without searching for it."""
        self.stale += 1
        bucket = self.buckets[priority]
        if bucket[0] is head:
            self._settle_front(priority, bucket)
        elif self.stale > STALE_MIN and self.stale > self.counts[PENDING]:
            self._rebuild()

    def set_paused(self, paused: bool) -> None:
        self.paused = paused
        if self.mask:
            self._show() if not paused else self._hide()

    def _settle_front(self, priority: int, bucket: deque[Head]) -> None:
        while bucket and bucket[0].state != PENDING:
            bucket.popleft()
            self.stale -= 1
        if not bucket:
            self.mask &= ~(1 << priority)
            del self.buckets[priority]
            if not self.mask:
                self._hide()

    def _rebuild(self) -> None:
        for priority, bucket in list(self.buckets.items()):
            kept = deque(head for head in bucket if head.state == PENDING)
            if kept:
                self.buckets[priority] = kept
        self.stale = 0

    def _show(self) -> None:
        """Tell the groups that there is something to take."""
        if not self.paused:
            for group in self.groups:
                group.ready[self.number] = self

    def _hide(self) -> None:
        for group in self.groups:
            group.ready.pop(self.number, None)
