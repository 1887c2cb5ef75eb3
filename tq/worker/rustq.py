"""The engine behind `tq.client.rustq` for tq:// addresses: rustq's jobs as tasks of a broker.

It stands here and not beside the other engine because it runs a `Worker`, which the client layer does not know; the
entry point `tq.rustq.engines` leads here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

from tq.client.aio import AsyncClient
from tq.client.durations import duration_s
from tq.client.info import TaskInfo
from tq.client.routing import parse_addresses
from tq.client.rustq.backoff import BackoffStrategy
from tq.client.rustq.engine import EngineOptions, NewJob, WorkerMetrics
from tq.client.rustq.handlers import Handler, Handlers, Unfit, decoded
from tq.client.rustq.job import Additions, Job, JobStatus
from tq.client.rustq.names import names_of
from tq.client.rustq.options import JobOptions, WorkerOptions
from tq.client.rustq.storage import JobStorage
from tq.client.task import Task
from tq.errors import BadRequest, BrokerUnavailable, TaskNotFound, Unsupported
from tq.task import TIMEOUT_MS_MAX, State
from tq.worker.app import App
from tq.worker.context import current
from tq.worker.control import Fatal
from tq.worker.runtime import EXIT_OK, EXIT_REFUSED, Worker
from tq.worker.runtime import WorkerOptions as RuntimeOptions
from tq.worker.uplink import Dialing

STATUSES = {
    State.SCHEDULED: JobStatus.PENDING,
    State.BLOCKED: JobStatus.PENDING,
    State.PENDING: JobStatus.PENDING,
    State.RETRYING: JobStatus.PENDING,
    State.IN_PROGRESS: JobStatus.PROCESSING,
    State.COMPLETED: JobStatus.COMPLETED,
    State.DEAD_LETTER: JobStatus.FAILED,
    State.EXPIRED: JobStatus.FAILED,
    State.CANCELLED: JobStatus.CANCELLED,
}
"""A job that waits for a retry is Pending, as rustq has it."""
ERROR_KINDS = tuple(
    f"{kind}: "
    for kind in ("Serialization error", "Deserialization error", "Storage error", "Queue error", "Handler error",
                 "Job not found", "Invalid job state", "Worker error")
)  # fmt: skip
"""How rustq begins what it keeps of an error."""


class BrokerEngine:
    """See `tq.client.rustq.engine.Engine`."""

    def __init__(self, options: EngineOptions) -> None:
        """Connects to nothing. Raises BadRequest for addresses or a name that cannot be."""
        if options.storage is not None:
            raise BadRequest("a tq broker keeps its jobs itself; it takes no storage")
        if options.amqp_url not in ("", options.redis_url) and options.redis_url:
            raise BadRequest("the two addresses name different brokers; one tq:// address is enough")
        self._queue = names_of(options.name).main
        self._address = options.redis_url or options.amqp_url
        self._api_key = options.api_key
        self._tls = options.tls
        self._client = AsyncClient(
            self._address,
            api_key=options.api_key,
            timeout=options.timeout_s,
            tls=options.tls or False,
            name="rustq",
        )

    @property
    def storage(self) -> JobStorage:
        raise Unsupported("a tq broker keeps its jobs itself; `get_job` and `tq-admin` show them")

    async def add(self, jobs: Sequence[NewJob]) -> None:
        await self._client.submit_tasks([task_of(new, self._queue) for new in jobs])

    async def get_job(self, job_id: str) -> Job | None:
        try:
            return job_of(await self._client.get_task(job_id, with_payload=True))
        except TaskNotFound:
            return None

    async def get_job_status(self, job_id: str) -> JobStatus | None:
        try:
            return status_of(await self._client.get_task(job_id))
        except TaskNotFound:
            return None

    def worker(self, handlers: Handlers, options: WorkerOptions) -> BrokerWorker:
        dialing = Dialing(parse_addresses(self._address), self._api_key or "", self._tls)
        return BrokerWorker(handlers, options, dialing, self._queue)

    async def close(self) -> None:
        await self._client.close()


class BrokerWorker:
    """See `tq.client.rustq.engine.WorkerEngine`. A `Worker` does the work; async handlers run on the caller's loop."""

    def __init__(self, handlers: Handlers, options: WorkerOptions, dialing: Dialing, queue: str) -> None:
        self._handlers = handlers
        self._dialing = dialing
        self._options = RuntimeOptions(
            concurrency=options.concurrency, queues=(queue,), grace_s=duration_s(options.grace, "grace")
        )
        self._worker: Worker | None = None
        self._is_stopped = False
        self._counts = WorkerMetrics(max_concurrency=options.concurrency)

    async def run(self) -> None:
        if self._is_stopped:
            return
        app = self._app(asyncio.get_running_loop())
        self._worker = worker = Worker(app, self._options, self._dialing)
        running = asyncio.create_task(worker.run())
        try:
            exit_code = await asyncio.shield(running)
        except asyncio.CancelledError:
            worker.hand_back()
            await running
            raise
        if exit_code == EXIT_REFUSED:
            raise BadRequest("the broker does not take this worker; the log says why")
        if exit_code != EXIT_OK:
            raise BrokerUnavailable(f"the worker ended with code {exit_code}; the log says why")

    def stop(self) -> None:
        self._is_stopped = True
        if self._worker is not None:
            self._worker.drain()

    def metrics(self) -> WorkerMetrics:
        counts = self._counts
        if self._worker is not None:
            counts.active_tasks = self._worker.counts.running
            counts.reconnects = self._worker.counts.reconnects
        counts.available_slots = counts.max_concurrency - counts.active_tasks
        return counts

    def _app(self, home: asyncio.AbstractEventLoop) -> App:
        app = App()
        for job_type, handler in self._handlers.registered.items():
            run = self._async_run(handler, home) if handler.is_async else self._sync_run(handler)
            app.handler(job_type)(run)
        return app

    def _async_run(
        self, handler: Handler, home: asyncio.AbstractEventLoop
    ) -> Callable[[bytes], Coroutine[Any, Any, bytes]]:
        async def run(payload: bytes) -> bytes:
            data = self._decoded(handler, payload)
            call = cast("Callable[[object], Coroutine[Any, Any, object]]", handler.function)
            with self._counting():
                # What handlers share with the rest of the program belongs to the loop the worker was run on.
                await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(call(data), home))
            return b""

        return run

    def _sync_run(self, handler: Handler) -> Callable[[bytes], bytes]:
        def run(payload: bytes) -> bytes:
            data = self._decoded(handler, payload)
            with self._counting():
                handler.function(data)
            return b""

        return run

    def _decoded(self, handler: Handler, payload: bytes) -> object:
        try:
            return decoded(handler, payload)
        except Unfit as unfit:
            self._counts.set_aside += 1
            raise Fatal(str(unfit)) from unfit

    @contextmanager
    def _counting(self) -> Iterator[None]:
        """Count how the handler's run ended."""
        try:
            yield
        except Exception:
            context = current()
            if context.attempt <= context.max_retries:
                self._counts.retried += 1
            else:
                self._counts.set_aside += 1
            raise
        self._counts.completed += 1


def task_of(new: NewJob, queue: str) -> Task:
    """The job as a task. Raises BadRequest, PayloadTooLarge."""
    options: JobOptions = new.options
    return Task(
        new.job_type,
        new.payload,
        options.priority_number,
        task_id=new.job_id,
        queue=queue,
        delay=options.delay_ms / 1000 if options.delay_ms else None,
        timeout=(options.timeout_ms or TIMEOUT_MS_MAX) / 1000,
        max_retries=options.retries,
        retry=options.backoff.policy(),
    )


def status_of(task: TaskInfo) -> JobStatus:
    """In rustq's words."""
    return STATUSES[task.state]


def job_of(task: TaskInfo) -> Job:
    """The task as a job."""
    view = task.view
    return Job(
        task.task_id,
        task.task_type,
        view.payload or b"",
        status_of(task),
        view.created_ms // 1000,
        view.updated_ms // 1000,
        view.retry_count,
        view.max_retries,
        _error_of(task),
        BackoffStrategy.of_policy(view.retry),
        Additions(
            task.queue,
            view.priority,
            view.timeout_ms if view.timeout_ms < TIMEOUT_MS_MAX else 0,
            view.schedule_at_ms,
        ),
    )


def _error_of(task: TaskInfo) -> str | None:
    # That of a job that was adopted says already what kind it is.
    if not task.error or task.error.startswith(ERROR_KINDS):
        return task.error or None
    return f"Handler error: {task.error}"
