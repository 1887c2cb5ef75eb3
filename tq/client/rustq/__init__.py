"""rustq for Python: the same queues, the same jobs, beside its Rust producers and workers or in their place.

    from tq.client.rustq import JobOptions, Queue, WorkerOptions

    with Queue("mail", "redis://localhost:6379", "amqp://localhost:5672") as queue:
        job_id = queue.add("send_email", {"to": "a@b.c"}, JobOptions(delay="5m"))
        worker = queue.create_worker(WorkerOptions(concurrency=10))
        worker.process_sync("send_email", send_email)
        worker.run()

`AsyncQueue` is the same for asyncio. With a tq:// address both run on a tq broker. docs/rustq.md says what differs.
"""

from tq.client.rustq.aio import AsyncQueue, AsyncWorker
from tq.client.rustq.backoff import BackoffStrategy
from tq.client.rustq.engine import Engine, EngineOptions, WorkerMetrics
from tq.client.rustq.job import BadJob, Job, JobStatus
from tq.client.rustq.options import JobOptions, WorkerOptions
from tq.client.rustq.storage import Claim, End, JobStorage, Verdict
from tq.client.rustq.sync import Queue, Worker

__all__ = [
    "AsyncQueue",
    "AsyncWorker",
    "BackoffStrategy",
    "BadJob",
    "Claim",
    "End",
    "Engine",
    "EngineOptions",
    "Job",
    "JobOptions",
    "JobStatus",
    "JobStorage",
    "Queue",
    "Verdict",
    "Worker",
    "WorkerMetrics",
    "WorkerOptions",
]
