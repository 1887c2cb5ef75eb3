"""A worker on RabbitMQ: its connection, its slots and its end. `intake` says what runs, `settlement` what becomes of it.

The worker's own loop runs the async handlers too. Losing RabbitMQ stops nothing that runs; losing the store makes jobs
in hand wait for it, since what cannot be recorded must not be answered for.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any, Literal

from tq.client.durations import duration_s
from tq.client.routing import Rng
from tq.client.rustq.amqp import Link
from tq.client.rustq.engine import WorkerMetrics
from tq.client.rustq.handlers import STOPPED, Handlers
from tq.client.rustq.intake import Intake
from tq.client.rustq.names import QueueNames
from tq.client.rustq.options import WorkerOptions
from tq.client.rustq.publisher import Publisher
from tq.client.rustq.recovery import Recovery
from tq.client.rustq.settlement import Run, Settlement
from tq.client.rustq.storage import RENEW_SECONDS, JobStorage
from tq.client.rustq.subscription import DELETED, Feed, Subscription
from tq.clock import Clock
from tq.errors import BadRequest, BrokerUnavailable, OutcomeUnknown
from tq.logs import get_logger

log = get_logger("rustq")

LOOK_SECONDS = 5.0
"""How often delayed jobs that did not arrive are looked for."""
OPEN_SECONDS = 10.0
"""How long a worker that is to stop waits for a connection that is being opened."""
CANCEL_AGAIN_SECONDS = 0.5
SETTLE_SECONDS = 10.0
"""How long a worker that goes tries to write its last endings; a restart of Redis or RabbitMQ fits."""


class DeploymentWorker:
    """See `WorkerEngine`. Runs once."""

    def __init__(
        self,
        *,
        names: QueueNames,
        link: Link,
        storage: JobStorage,
        publisher: Publisher,
        handlers: Handlers,
        options: WorkerOptions,
        worker_id: str,
        clock: Clock,
        rng: Rng,
    ) -> None:
        self._names = names
        self._storage = storage
        self._handlers = handlers
        self._options = options
        self._worker_id = worker_id
        self._link = link
        self._running: dict[str, Run] = {}
        self._feed: Feed | None = None
        self._metrics = WorkerMetrics(max_concurrency=options.concurrency)
        self._stopping = asyncio.Event()
        self._idle = asyncio.Event()
        self._recovery = Recovery(names, storage, publisher, link, clock)
        self._settlement = Settlement(
            names=names,
            storage=storage,
            publisher=publisher,
            worker_id=worker_id,
            metrics=self._metrics,
            clock=clock,
            rng=rng,
            on_settled=self._settled,
        )
        self._intake = Intake(
            queue=names.main,
            storage=storage,
            settlement=self._settlement,
            running=self._running,
            start=self._start,
            worker_id=worker_id,
            metrics=self._metrics,
        )
        self._subscription = Subscription(link, names, worker_id, options.shares, self._intake.receive)

    def stop(self) -> None:
        self._stopping.set()
        self._intake.close()

    def metrics(self) -> WorkerMetrics:
        self._metrics.available_slots = self._metrics.max_concurrency - self._metrics.active_tasks
        return self._metrics

    async def run(self) -> None:
        self._handlers.open(self._options.concurrency)
        helping = [
            asyncio.create_task(each)
            for each in (
                self._intake.begin_jobs(),
                self._settlement.settle_done(),
                self._renew_leases(),
                self._find_overdue(),
            )
        ]
        consuming = asyncio.create_task(self._consume())
        stopping = asyncio.create_task(self._stopping.wait())
        grace_s = duration_s(self._options.grace, "grace")
        try:
            await asyncio.wait((consuming, stopping, *helping), return_when=asyncio.FIRST_COMPLETED)
            for task in (consuming, *helping):
                if task.done():
                    task.result()  # raises what made it end
            await self._drain(consuming, grace_s)
        except BaseException:
            self.stop()
            await self._drain(consuming, 0.0)
            raise
        finally:
            await _cancel(consuming, stopping, *helping)
            await self._settlement.close()
            await self._subscription.close()
            self._handlers.close()

    # ------------------------------------------------------------ consuming

    async def _consume(self) -> None:
        """Have a feed, again and again. Raises BadRequest for what trying again does not mend."""
        for problem in await self._settlement.patiently(self._storage.health_check):
            log.warning("store_weak", problem)
        was_connected = False
        while not self._stopping.is_set():
            try:
                self._feed = feed = await self._subscription.connect()
                await self._subscription.consume(feed)
            except BrokerUnavailable as error:
                log.warning("unreachable", f"{error.text}; trying again")
                await self._pause()
                continue
            self._metrics.reconnects += was_connected
            was_connected = True
            log.info("consuming", f"queue {self._names.main!r} is served", worker_id=self._worker_id)
            await self._unless_stopping(feed.lost)
            if not feed.lost.done():
                return
            reason = feed.lost.result()
            log.warning("feed_lost", f"messages in hand come again: {reason}", worker_id=self._worker_id)
            await feed.close()
            if reason.startswith(DELETED):
                await self._requeue()
            await self._pause()

    async def _pause(self) -> None:
        await self._unless_stopping(asyncio.ensure_future(asyncio.sleep(self._link.pause_s())))

    async def _unless_stopping(self, event: asyncio.Future[Any]) -> None:
        """Wait for it, or until the worker is to stop."""
        stopping = asyncio.create_task(self._stopping.wait())
        await asyncio.wait((event, stopping), return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()

    async def _requeue(self) -> None:
        try:
            requeued = await self._recovery.requeue(self._handlers.job_types)
        except (BrokerUnavailable, OutcomeUnknown, BadRequest) as error:
            log.error("not_requeued", f"jobs of the deleted queue are in the store only: {error.text}")
        else:
            log.warning("requeued", "jobs of the deleted queue are queued again", jobs=requeued)

    async def _renew_leases(self) -> None:
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            if self._running:
                with suppress(BrokerUnavailable):  # said where jobs wait for it
                    await self._storage.renew_leases(list(self._running), self._worker_id)

    async def _find_overdue(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            with suppress(BrokerUnavailable, OutcomeUnknown):  # said by those who need it now
                found = await self._recovery.find_overdue()
                if found:
                    log.warning("requeued", "delayed jobs that did not arrive are queued again", jobs=found)

    # ------------------------------------------------------------ running

    def _start(self, run: Run) -> None:
        self._running[run.job.id] = run
        self._metrics.active_tasks += 1
        run.task = asyncio.create_task(self._attempt(run))

    async def _attempt(self, run: Run) -> None:
        try:
            outcome = await self._handlers.run(run.job)
        except asyncio.CancelledError:
            outcome = STOPPED
        self._metrics.active_tasks -= 1
        run.task = None
        self._settlement.end(run, outcome)
        self._intake.wake()

    def _settled(self, run: Run) -> None:
        self._running.pop(run.job.id, None)
        if not self._running:
            self._idle.set()

    # ------------------------------------------------------------ the end

    async def _drain(self, consuming: asyncio.Task[None], grace_s: float) -> None:
        """Take nothing, give back what waits, let finish what runs, hand back what does not in time."""
        # Cancelling it between two consumers would close the channel, and with it the way for answers.
        await asyncio.wait((consuming,), timeout=OPEN_SECONDS)
        if self._feed is not None and self._feed.is_alive:
            await self._subscription.stop(self._feed)
        await self._intake.give_back()
        await self._until_idle(grace_s)
        for run in list(self._running.values()):
            if run.task is not None:
                run.task.cancel()
        await self._until_idle(SETTLE_SECONDS)
        await self._settlement.finish(SETTLE_SECONDS)
        if self._running:
            log.error("unsettled", "the last endings could not be written", jobs=len(self._running))

    async def _until_idle(self, seconds: float) -> None:
        deadline = asyncio.get_running_loop().time() + seconds
        while self._running:
            self._idle.clear()
            try:
                async with asyncio.timeout_at(deadline):
                    await self._idle.wait()
            except TimeoutError:
                return


async def _cancel(*tasks: asyncio.Task[None] | asyncio.Task[Literal[True]]) -> None:
    """Cancel until they have ended: on Python 3.11 `wait_for`, which the libraries use, may swallow a cancellation."""
    pending: set[asyncio.Task[Any]] = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=CANCEL_AGAIN_SECONDS)
