"""What becomes of a message in hand: into the record first, then an answer to RabbitMQ.

Order, for every kind: what must exist afterwards (a retry, a dead letter) is published and confirmed, then the record is
written, then the message is acknowledged. Dying in between leaves a message too many, never one too few, and the record
says which one that is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from tq.client.routing import Rng, back_off_s
from tq.client.rustq.engine import WorkerMetrics
from tq.client.rustq.handlers import Ending, Outcome
from tq.client.rustq.job import Job, JobStatus, cut, to_json
from tq.client.rustq.names import QueueNames, watch_ms
from tq.client.rustq.publisher import Message, Publisher
from tq.client.rustq.storage import End, JobStorage
from tq.client.rustq.subscription import REDELIVERED, Delivery, Feed
from tq.clock import Clock
from tq.errors import BadRequest, BrokerUnavailable, OutcomeUnknown
from tq.logs import get_logger

log = get_logger("rustq")

PUBLISH_SECONDS = 30.0
BATCH_MAX = 500
REASON, AT = "x-tq-reason", "x-tq-at"
"""Headers of a dead letter: why, and when in wall milliseconds."""
REASON_CHARS_MAX = 1_000

_T = TypeVar("_T")


class Run:
    """One job in hand. delivery: the newest message of it; an older one's channel may be gone."""

    __slots__ = ("delivery", "job", "task")

    def __init__(self, job: Job, delivery: Delivery) -> None:
        self.job = job
        self.delivery = delivery
        self.task: asyncio.Task[None] | None = None


class Settlement:
    """Ends runs and answers messages. `finish`, then `close`."""

    def __init__(
        self,
        *,
        names: QueueNames,
        storage: JobStorage,
        publisher: Publisher,
        worker_id: str,
        metrics: WorkerMetrics,
        clock: Clock,
        rng: Rng,
        on_settled: Callable[[Run], None],
    ) -> None:
        self._names = names
        self._storage = storage
        self._publisher = publisher
        self._worker_id = worker_id
        self._metrics = metrics
        self._clock = clock
        self._rng = rng
        self._on_settled = on_settled
        self._done: list[Run] = []
        self._has_done = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    def end(self, run: Run, outcome: Outcome) -> None:
        """Settle a run that has ended; completed ones go together."""
        if outcome.ending is Ending.DONE:
            self._done.append(run)
            self._has_done.set()
        else:
            self._start(self._end_otherwise(run, outcome))

    def set_aside(self, delivery: Delivery, reason: str, job: Job | None = None) -> None:
        """Dead-letter a message that is not to be run; its record, if it has one, becomes Failed."""
        self._start(self._bury(delivery, reason, job))

    def put_off(self, delivery: Delivery, delay_ms: int) -> None:
        """Have the message again later."""
        self._start(self._put_off(delivery, delay_ms))

    def drop(self, delivery: Delivery) -> None:
        """Answer for a copy of what has ended already."""
        self._metrics.duplicates += 1
        self._start(delivery.feed.ack((delivery.tag,)))

    async def settle_done(self) -> None:
        """Write completions, batch after batch, until cancelled."""
        while True:
            await self._has_done.wait()
            batch, self._done = self._done[:BATCH_MAX], self._done[BATCH_MAX:]
            if not self._done:
                self._has_done.clear()
            await self._complete(batch)

    async def patiently(self, call: Callable[[], Awaitable[_T]]) -> _T:
        """Ask until the store or RabbitMQ answers. Ends early only by cancellation, which leaves the message unanswered."""
        failures = 0
        while True:
            try:
                return await call()
            except (BrokerUnavailable, OutcomeUnknown) as error:
                if not failures:
                    log.warning("waiting", f"jobs in hand wait: {error.text}")
                await asyncio.sleep(back_off_s(failures, self._rng))
                failures += 1

    async def finish(self, seconds: float) -> None:
        """Let what is under way come to its end."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=seconds)

    async def close(self) -> None:
        """Give up what is not settled; RabbitMQ hands it to somebody again."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # ------------------------------------------------------------ the endings

    async def _complete(self, batch: Sequence[Run]) -> None:
        ends = [End(run.job.id, JobStatus.COMPLETED) for run in batch]
        written = await self.patiently(lambda: self._storage.end_jobs(ends, self._worker_id))
        completed = sum(written)
        self._metrics.completed += completed
        self._metrics.duplicates += len(batch) - completed
        feeds: dict[Feed, list[int]] = {}
        for run in batch:
            feeds.setdefault(run.delivery.feed, []).append(run.delivery.tag)
            self._on_settled(run)
        for feed, tags in feeds.items():
            await feed.ack(tags)

    async def _end_otherwise(self, run: Run, outcome: Outcome) -> None:
        if outcome.ending is Ending.STOPPED:
            await self._hand_back(run)
        elif outcome.ending is Ending.FAILED and run.job.can_retry:
            await self._retry(run, outcome.error)
        else:
            await self._bury(run.delivery, outcome.error, run.job, run)

    async def _retry(self, run: Run, error: str) -> None:
        delay_ms = run.job.backoff.delay_ms(run.job.retry_count)
        job = run.job.failed_again(error, self._clock.now_ms() // 1000)
        body = to_json(job)
        queue = run.delivery.queue
        try:
            await self._publish(Message(queue, body, delay_ms))
        except BadRequest as refused:
            log.error("no_delay", f"a retry goes without its delay: {refused.text}")
            await self._publish(Message(queue, body))
        end = End(job.id, JobStatus.PENDING, body, job.retry_count, self._names.main, watch_ms(delay_ms))
        await self._write(end)
        self._metrics.retried += 1
        await self._answer(run)

    async def _bury(self, delivery: Delivery, reason: str, job: Job | None, run: Run | None = None) -> None:
        now_ms = self._clock.now_ms()
        body = delivery.body
        if job is not None:
            body = to_json(job.failed_for_good(reason, now_ms // 1000))
        headers: dict[str, str | int] = {REASON: cut(reason)[:REASON_CHARS_MAX], AT: now_ms}
        await self._publish(Message(self._names.dead, body, headers=headers))
        if job is not None:
            await self._write(End(job.id, JobStatus.FAILED, body))
        self._metrics.set_aside += 1
        # The text of a failure may quote the payload; the log says where to look.
        log.warning(
            "set_aside", f"a message is in {self._names.dead!r}, its header says why", task_id=_id(job)
        )
        if run is not None:
            await self._answer(run)
        else:
            await delivery.feed.ack((delivery.tag,))

    async def _hand_back(self, run: Run) -> None:
        await self._write(End(run.job.id, JobStatus.PENDING))
        self._metrics.handed_back += 1
        self._on_settled(run)
        await run.delivery.feed.give_back(run.delivery.tag)

    async def _put_off(self, delivery: Delivery, delay_ms: int) -> None:
        headers: dict[str, str | int] = {REDELIVERED: 1} if delivery.is_redelivered else {}
        await self._publish(Message(delivery.queue, delivery.body, delay_ms, headers))
        await delivery.feed.ack((delivery.tag,))

    # ------------------------------------------------------------ inside

    async def _answer(self, run: Run) -> None:
        self._on_settled(run)
        await run.delivery.feed.ack((run.delivery.tag,))

    async def _publish(self, message: Message) -> None:
        await self.patiently(lambda: self._publisher.publish(message, PUBLISH_SECONDS))

    async def _write(self, end: End) -> None:
        await self.patiently(lambda: self._storage.end_jobs((end,), self._worker_id))

    def _start(self, settling: Awaitable[None]) -> None:
        task = asyncio.ensure_future(settling)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _id(job: Job | None) -> str:
    return job.id if job is not None else ""
