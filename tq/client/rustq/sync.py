"""The blocking Queue and Worker of rustq. Made from `tq/client/rustq/aio.py` by `scripts/unasync.py`; change that file and run the script."""

from __future__ import annotations

import ssl
from collections.abc import Iterable
from dataclasses import replace
from inspect import iscoroutinefunction
from types import TracebackType
from typing import Self

from tq import ids
from tq.client.durations import Duration, duration_s
from tq.client.rustq.engine import EngineOptions, MakeWorker, NewJob, WorkerEngine, WorkerMetrics
from tq.client.rustq.handlers import AsyncHandler, Decode, Handlers, SyncHandler
from tq.client.rustq.job import Job, JobStatus, encode_data
from tq.client.rustq.options import DEFAULT_OPTIONS, DEFAULT_WORKER, JobOptions, WorkerOptions
from tq.client.rustq.plugins import engine_of, job_types
from tq.client.rustq.storage import JobStorage
from tq.client.rustq.sync_home import Home
from tq.errors import BadRequest
from tq.task import NAME_CHARS_MAX

CALL_SECONDS = 30.0
"""How long `add` goes on trying by default: longer than a restart of RabbitMQ."""


class Queue:
    """One queue of a rustq deployment, or of a tq broker. Connects at the first call, and again when it must.

    Safe to use from any number of callers at once.
    """

    def __init__(
        self,
        name: str,
        redis_url: str,
        amqp_url: str = "",
        *,
        storage: JobStorage | None = None,
        api_key: str | None = None,
        tls: ssl.SSLContext | None = None,
        timeout: Duration = CALL_SECONDS,
    ) -> None:
        """redis_url, amqp_url: redis://... and amqp://..., or one tq://host:port for a broker; another scheme is looked up
            among the installed plug-ins.
        storage: a job store of your own, instead of the one at redis_url.
        api_key: for a tq broker. tls: for it and for amqps://; a rediss:// address says for itself what it trusts.
        timeout: the whole time `add` may take, all its tries together.
        Raises BadRequest naming what is wrong.
        """
        self._name = name
        self._is_closed = False
        self._home = Home()
        self._engine = engine_of(
            EngineOptions(name, redis_url, amqp_url, storage, api_key, tls, duration_s(timeout, "timeout"))
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def name(self) -> str:
        return self._name

    @property
    def storage(self) -> JobStorage:
        """Where the documents are. Raises Unsupported on a tq broker, which keeps them itself."""
        return self._engine.storage

    def add(
        self, job_type: str, data: object, options: JobOptions = DEFAULT_OPTIONS, *, job_id: str | None = None
    ) -> str:
        """Put one job on the queue; returns its id once it is on disk.

        data: anything that JSON can say, at most 10 MB of it. job_id: a UUID; made here when absent. Adding an id
            again adds nothing, so whoever gave one may call again after an error.
        Raises BadRequest (rejected), BrokerUnavailable (it was not added), OutcomeUnknown (it may have been).
        """
        (added,) = self._add([_new_job(job_type, data, options, job_id)])
        return added

    def add_many(
        self, job_type: str, many: Iterable[object], options: JobOptions = DEFAULT_OPTIONS
    ) -> list[str]:
        """Put many jobs of one type on the queue, under way together; returns their ids, in order.

        Not all or none: after an error some may have been added. Raises as `add`.
        """
        return self._add([_new_job(job_type, data, options, None) for data in many])

    def _add(self, jobs: list[NewJob]) -> list[str]:
        self._home.run(lambda: self._engine.add(jobs))
        return [job.job_id for job in jobs]

    def get_job(self, job_id: str) -> Job | None:
        """The job as it is now; None = there is none. Raises BrokerUnavailable, BadJob (what is kept there is no job)."""
        return self._home.run(lambda: self._engine.get_job(job_id))

    def get_job_status(self, job_id: str) -> JobStatus | None:
        """Its status; None = there is no such job. Raises BrokerUnavailable."""
        return self._home.run(lambda: self._engine.get_job_status(job_id))

    def create_worker(self, options: WorkerOptions = DEFAULT_WORKER) -> Worker:
        """A worker for this queue; it connects when it runs, and lives no longer than the queue."""
        return Worker(self._home, self._engine.worker, options)

    def close(self) -> None:
        """Close the connections. End workers first. Calling it again does nothing."""
        if not self._is_closed:
            self._is_closed = True
            self._home.run(self._engine.close)
            self._home.close()


class Worker:
    """Runs jobs of one queue. Give it handlers, then `run` it."""

    def __init__(self, home: Home, make: MakeWorker, options: WorkerOptions) -> None:
        self._home = home
        self._handlers = Handlers()
        self._engine: WorkerEngine = make(self._handlers, options)
        self._has_run = False

    def process_async(self, job_type: str, handler: AsyncHandler, *, decode: Decode | None = None) -> None:
        """Run jobs of this type with a coroutine function, on the worker's event loop.

        handler: takes the job's data; returning ends the job well, raising fails it. What it returns is not kept.
        decode: makes what the handler takes of the JSON value; what it raises sets the job aside.
        Raises BadRequest.
        """
        if not iscoroutinefunction(handler):
            raise BadRequest(f"process_async({job_type!r}) takes an def; process_sync takes a plain one")
        self._handlers.add(job_type, handler, is_async=True, decode=decode)

    def process_sync(self, job_type: str, handler: SyncHandler, *, decode: Decode | None = None) -> None:
        """The same with a plain function, in a thread: it may block. Past its time limit the job has failed, and the
        function runs on until it returns: threads cannot be stopped.
        """
        if iscoroutinefunction(handler):
            raise BadRequest(
                f"process_sync({job_type!r}) takes a plain function; process_async takes this one"
            )
        self._handlers.add(job_type, handler, is_async=False, decode=decode)

    def process_installed(self) -> list[str]:
        """Run the job types that installed packages bring (entry points `tq.rustq.job_types`); returns them."""
        types = []
        for job_type, handler in job_types():
            self._handlers.add(job_type, handler, is_async=iscoroutinefunction(handler), decode=None)
            types.append(job_type)
        return types

    def run(self) -> None:
        """Work until `close`; lost connections are made again. Runs once.

        Raises BadRequest without handlers, or when the addresses can never work. When it is cancelled or interrupted,
        running jobs are handed back at once.
        """
        if self._has_run or not self._handlers.job_types:
            raise BadRequest(
                "a worker runs once; make a new one" if self._has_run else "the worker has no handlers"
            )
        self._has_run = True
        self._home.run(self._engine.run)

    def close(self) -> None:
        """Take no new jobs. `run` returns when those that run have ended, or were handed back after the grace.

        Returns at once; may be called from a handler, a signal handler or another thread.
        """
        self._home.call(self._engine.stop)

    def get_active_tasks_count(self) -> int:
        return self.get_metrics().active_tasks

    def get_available_slots(self) -> int:
        return self.get_metrics().available_slots

    def get_metrics(self) -> WorkerMetrics:
        """The numbers now: active_tasks, available_slots, max_concurrency, and counts since it was made."""
        return replace(self._engine.metrics())


def _new_job(job_type: str, data: object, options: JobOptions, job_id: str | None) -> NewJob:
    if not isinstance(job_type, str) or not 1 <= len(job_type) <= NAME_CHARS_MAX:
        raise BadRequest(f"job_type is {job_type!r:.80}; it is a text of 1 to {NAME_CHARS_MAX} characters")
    made = ids.to_text(ids.random_id() if job_id is None else ids.from_text(job_id))
    return NewJob(made, job_type, encode_data(data), options)
