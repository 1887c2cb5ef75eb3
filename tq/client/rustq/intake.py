"""From messages to running jobs: highest lane first, as many as there are slots, each asked for in the record first."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

from tq.client.rustq.engine import WorkerMetrics
from tq.client.rustq.job import BadJob, Job, from_json
from tq.client.rustq.settlement import Run, Settlement
from tq.client.rustq.storage import Claim, JobStorage, Verdict
from tq.client.rustq.subscription import Delivery

LANES = 3
BUSY_MS = 2_000
"""How long a copy of what another worker runs waits before it is looked at again."""
SOON_MS = 50

REASONS = {
    Verdict.POISONED: "its worker died while it ran it, for the third time",
    Verdict.BROKEN: "its keys in the store hold something else than a job",
}


class Intake:
    """Belongs to one worker. Its deliveries wait here while no slot is free, which happens with several lanes only."""

    def __init__(
        self,
        *,
        queue: str,
        storage: JobStorage,
        settlement: Settlement,
        running: dict[str, Run],
        start: Callable[[Run], None],
        worker_id: str,
        metrics: WorkerMetrics,
    ) -> None:
        """running: job id -> run, of everything in hand that is not settled."""
        self._queue = queue
        self._storage = storage
        self._settlement = settlement
        self._running = running
        self._start = start
        self._worker_id = worker_id
        self._metrics = metrics
        self._lanes: tuple[deque[Delivery], ...] = tuple(deque() for _ in range(LANES))
        self._wake = asyncio.Event()
        self._is_closed = False

    def receive(self, delivery: Delivery) -> None:
        self._lanes[delivery.lane].append(delivery)
        if not self._is_closed:
            self._wake.set()

    def wake(self) -> None:
        """A slot is free."""
        if not self._is_closed:
            self._wake.set()

    def close(self) -> None:
        """Begin nothing any more."""
        self._is_closed = True
        self._wake.clear()

    async def begin_jobs(self) -> None:
        """Start what there are slots for, until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while not self._is_closed and (batch := self._next(self._free)):
                await self._begin(batch)

    async def give_back(self) -> None:
        """What has not been begun goes back to its queue."""
        for lane in self._lanes:
            while lane:
                delivery = lane.popleft()
                self._metrics.handed_back += 1
                await delivery.feed.give_back(delivery.tag)

    @property
    def _free(self) -> int:
        return self._metrics.max_concurrency - self._metrics.active_tasks

    def _next(self, free: int) -> list[Delivery]:
        batch: list[Delivery] = []
        for lane in self._lanes:
            while lane and len(batch) < free:
                delivery = lane.popleft()
                if delivery.feed.is_alive:  # else RabbitMQ has handed it out again already
                    batch.append(delivery)
        return batch

    async def _begin(self, batch: Sequence[Delivery]) -> None:
        claimed: dict[str, tuple[Claim, Delivery]] = {}
        for delivery in batch:
            job = self._fit(delivery)
            if job is None:
                continue
            if job.id in claimed:
                self._settlement.put_off(delivery, BUSY_MS)  # two copies at once; one of them is enough
            else:
                claimed[job.id] = (
                    Claim(job, delivery.body, delivery.is_redelivered, self._queue),
                    delivery,
                )
        if not claimed:
            return
        claims = [claim for claim, _ in claimed.values()]
        verdicts = await self._settlement.patiently(lambda: self._storage.begin_jobs(claims, self._worker_id))
        for (claim, delivery), verdict in zip(claimed.values(), verdicts, strict=True):
            self._act(claim.job, delivery, verdict)

    def _fit(self, delivery: Delivery) -> Job | None:
        """The job of a message that may be run now; None = the message has been dealt with."""
        try:
            job = from_json(delivery.body)
        except BadJob as error:
            self._settlement.set_aside(delivery, f"Deserialization error: {error}")
            return None
        run = self._running.get(job.id)
        if run is None:
            return job
        if job.retry_count > run.job.retry_count:
            self._settlement.put_off(
                delivery, SOON_MS
            )  # back before the end of the attempt before it is written
        elif job.retry_count < run.job.retry_count:
            self._settlement.drop(delivery)
        else:
            # Its channel was lost while it runs here, and RabbitMQ hands it out again: the answer goes to the new one.
            before, run.delivery = run.delivery, delivery
            self._settlement.drop(before)
        return None

    def _act(self, job: Job, delivery: Delivery, verdict: Verdict) -> None:
        if verdict is Verdict.RUN:
            self._start(Run(job, delivery))
        elif verdict is Verdict.BUSY:
            self._settlement.put_off(delivery, BUSY_MS)
        elif verdict in REASONS:
            self._settlement.set_aside(delivery, REASONS[verdict], job)
        else:
            self._settlement.drop(delivery)
