"""The port behind `Queue` and `Worker`: RabbitMQ with a job store, or a tq broker, or whatever plugs in."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeAlias

from tq.client.rustq.handlers import Handlers
from tq.client.rustq.job import Job, JobStatus
from tq.client.rustq.options import JobOptions, WorkerOptions
from tq.client.rustq.storage import JobStorage


class NewJob(NamedTuple):
    """job_id: UUID text, the caller's: adding it again adds nothing."""

    job_id: str
    job_type: str
    payload: bytes
    options: JobOptions


@dataclass(frozen=True)
class EngineOptions:
    """What a Queue was made with. storage: None = as redis_url says."""

    name: str
    redis_url: str
    amqp_url: str
    storage: JobStorage | None
    api_key: str | None
    tls: ssl.SSLContext | None
    timeout_s: float


@dataclass(slots=True)
class WorkerMetrics:
    """Numbers of one worker. The first three are now, the others since it was made.

    set_aside: dead-lettered, retries spent or unfit. duplicates: copies of what had ended or runs, answered without
    running. reconnects: channels made after the first.
    """

    active_tasks: int = 0
    available_slots: int = 0
    max_concurrency: int = 0
    completed: int = 0
    retried: int = 0
    set_aside: int = 0
    handed_back: int = 0
    duplicates: int = 0
    reconnects: int = 0


class WorkerEngine(Protocol):
    """One worker."""

    async def run(self) -> None:
        """Work until `stop`, then drain. Raises BadRequest when it can never work. Cancelled: hands back at once."""
        ...

    def stop(self) -> None:
        """Take nothing new; `run` returns when what runs has ended, or the grace is over and it is handed back."""
        ...

    def metrics(self) -> WorkerMetrics:
        """The numbers now."""
        ...


MakeWorker: TypeAlias = Callable[[Handlers, WorkerOptions], WorkerEngine]


class Engine(Protocol):
    """Where one queue lives."""

    @property
    def storage(self) -> JobStorage:
        """Raises Unsupported where documents are not kept in one."""
        ...

    async def add(self, jobs: Sequence[NewJob]) -> None:
        """Return once every job is safe. Raises BadRequest, BrokerUnavailable, OutcomeUnknown; see `AsyncQueue.add`."""
        ...

    async def get_job(self, job_id: str) -> Job | None: ...

    async def get_job_status(self, job_id: str) -> JobStatus | None: ...

    def worker(self, handlers: Handlers, options: WorkerOptions) -> WorkerEngine: ...

    async def close(self) -> None: ...
