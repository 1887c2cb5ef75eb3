"""The queue in memory, for jobs that came while Redis was away. PostgreSQL has every one of them."""

from __future__ import annotations

import heapq
from collections.abc import Iterable

from tq.broker.compat.stackduck.stored import StoredJob, score_of

JOBS_MAX = 100_000
"""More are kept by PostgreSQL alone until Redis is back: then whatever no queue knows is put there."""


class Backlog:
    """By type, in the order of the queue. Its owner is this broker: no other knows these jobs before Redis does."""

    def __init__(self) -> None:
        self._heaps: dict[str, list[tuple[float, int, StoredJob]]] = {}
        self._sequence = 0
        self._count = 0
        self.overflowed = 0

    def __len__(self) -> int:
        return self._count

    def add(self, jobs: Iterable[StoredJob], now_us: int) -> None:
        for job in jobs:
            if self._count >= JOBS_MAX:
                self.overflowed += 1
                continue
            self._sequence += 1
            self._count += 1
            heap = self._heaps.setdefault(job.job_type, [])
            heapq.heappush(heap, (score_of(job, now_us), self._sequence, job))

    def take(self, job_types: Iterable[str], limit: int, now_us: int) -> list[StoredJob]:
        """Up to `limit` that are due, in order of priority."""
        heaps = [heap for job_type in job_types if (heap := self._heaps.get(job_type))]
        found: list[StoredJob] = []
        while len(found) < limit:
            due = [heap for heap in heaps if heap and heap[0][0] <= now_us / 1_000_000]
            if not due:
                break
            found.append(heapq.heappop(min(due))[2])
        self._count -= len(found)
        return found

    def drain(self, limit: int) -> list[StoredJob]:
        """Up to `limit`, to be put where they belong."""
        found: list[StoredJob] = []
        for job_type in list(self._heaps):
            heap = self._heaps[job_type]
            while heap and len(found) < limit:
                found.append(heapq.heappop(heap)[2])
            if not heap:
                del self._heaps[job_type]
        self._count -= len(found)
        return found
