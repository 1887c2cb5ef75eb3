"""One (queue, task type) with its ready tasks: strict priority, first in first out inside one.

The ready tasks stand in one deque per priority; a bit per priority that has any makes finding the highest one a
single machine operation. Tasks that were handed back are older than most of what waits: they stand beside the deque in
a heap by order, so that ten thousand of them cost no search. A task that ends while it waits stays where it is
until it comes to the front (its state says it is stale) or until stale ones outnumber the rest. What stands at a
front is always valid.
"""

from __future__ import annotations

from collections import deque
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING

from tq.task import PENDING

if TYPE_CHECKING:
    from tq.broker.machine.heads import Head
    from tq.broker.machine.sessions import Group

STALE_MIN = 1_000
"""Fewer stale entries than this are not worth a rebuild."""
ORDER_BITS = 56
"""Room for the order of a task below its priority in a rank; more tasks than this are never submitted."""


class Kind:
    """counts: tasks by state, ended ones too. groups: the groups of sessions that serve this kind.

    buckets: priority -> deque, one for each bit of the mask. returned: priority -> heap of (order, head) handed back.
    """

    __slots__ = (
        "buckets",
        "counts",
        "groups",
        "mask",
        "number",
        "paused",
        "queue",
        "returned",
        "stale",
        "task_type",
    )

    def __init__(self, number: int, queue: str, task_type: str) -> None:
        self.number = number
        self.queue = queue
        self.task_type = task_type
        self.paused = False
        self.counts = [0] * 10
        self.buckets: dict[int, deque[Head]] = {}
        self.returned: dict[int, list[tuple[int, Head]]] = {}
        self.mask = 0
        self.stale = 0
        self.groups: list[Group] = []

    def append(self, head: Head, priority: int) -> None:
        """Put a task that has just become ready at the end of its priority."""
        bit = 1 << priority
        if self.mask & bit:
            self.buckets[priority].append(head)
            return
        self.buckets[priority] = deque((head,))
        self._open(bit)

    def put_back(self, head: Head, priority: int) -> None:
        """Put a task that was handed back where it stood, by its order."""
        heappush(self.returned.setdefault(priority, []), (head.order, head))
        bit = 1 << priority
        if not self.mask & bit:
            self.buckets[priority] = deque()
            self._open(bit)
        elif self.first() is head:
            self._show()

    def first(self) -> Head:
        """The task to run next. The kind must not be empty."""
        priority = self.mask.bit_length() - 1
        bucket = self.buckets[priority]
        if self.returned:
            heap = self.returned.get(priority)
            if heap and (not bucket or heap[0][0] < bucket[0].order):
                return heap[0][1]
        return bucket[0]

    def take(self) -> Head:
        """Remove and return the task to run next. The kind must not be empty."""
        if self.returned:
            return self._take_of_both()
        priority = self.mask.bit_length() - 1
        bucket = self.buckets[priority]
        head = bucket.popleft()
        if not bucket or bucket[0].state != PENDING:
            self._clean(priority)
        return head

    def discard(self, head: Head, priority: int) -> None:
        """Forget a task that has ended (its state says so already) without searching for it."""
        self.stale += 1
        bucket = self.buckets[priority]
        if self.returned or bucket[0] is head:
            self._clean(priority)
        if self.stale > STALE_MIN and self.stale > self.counts[PENDING]:
            self._rebuild()

    def set_paused(self, paused: bool) -> None:
        self.paused = paused
        if self.mask:
            self._hide() if paused else self._show()

    def rank(self) -> int:
        """Of two kinds with ready tasks, the one with the lower rank goes first."""
        head = self.first()
        return head.order - (head.terms.priority << ORDER_BITS)

    def _take_of_both(self) -> Head:
        head = self.first()
        priority = head.terms.priority
        bucket = self.buckets[priority]
        if bucket and bucket[0] is head:
            bucket.popleft()
        else:
            heappop(self.returned[priority])
        self._clean(priority)
        return head

    def _clean(self, priority: int) -> None:
        """Make the fronts of a priority valid again; close it when nothing is left."""
        bucket = self.buckets[priority]
        while bucket and bucket[0].state != PENDING:
            bucket.popleft()
            self.stale -= 1
        heap = self.returned.get(priority)
        if heap is not None:
            while heap and heap[0][1].state != PENDING:
                heappop(heap)
                self.stale -= 1
            if heap:
                return
            del self.returned[priority]
        if not bucket:
            del self.buckets[priority]
            self.mask &= ~(1 << priority)
            if not self.mask:
                self._hide()

    def _rebuild(self) -> None:
        for priority, bucket in self.buckets.items():
            self.buckets[priority] = deque(head for head in bucket if head.state == PENDING)
        for heap in self.returned.values():
            heap[:] = [entry for entry in heap if entry[1].state == PENDING]
            heapify(heap)
        self.stale = 0

    def _open(self, bit: int) -> None:
        is_best = bit > self.mask
        self.mask |= bit
        if is_best:
            self._show()

    def _show(self) -> None:
        """Tell the groups that there is something to take, or something better than before."""
        if not self.paused:
            rank = self.rank()
            for group in self.groups:
                group.show(self, rank)

    def _hide(self) -> None:
        for group in self.groups:
            group.hide(self)
