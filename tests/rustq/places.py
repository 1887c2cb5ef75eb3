"""Where a test's queue is, and a worker that serves it while a block runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

import aio_pika
from redis.asyncio import Redis

from lab.servers import RabbitServer, RedisServer
from tq.client.rustq import AsyncQueue, AsyncWorker, JobStatus, WorkerOptions

WAIT_SECONDS_MAX = 60.0
POLL_SECONDS = 0.01
T = TypeVar("T")


class Place:
    """A queue's name and addresses."""

    def __init__(self, name: str, redis_url: str, amqp_url: str) -> None:
        self.name = name
        self.redis_url = redis_url
        self.amqp_url = amqp_url

    def queue(self, **options: object) -> AsyncQueue:
        return AsyncQueue(self.name, self.redis_url, self.amqp_url, **options)  # type: ignore[arg-type]


class Deployment(Place):
    """One in RabbitMQ and Redis, with a way to both that knows nothing of tq."""

    def __init__(self, name: str, redis: RedisServer, rabbit: RabbitServer) -> None:
        super().__init__(name, redis.url, rabbit.url)
        self.redis_server = redis
        self.rabbit_server = rabbit

    @asynccontextmanager
    async def stores(self) -> AsyncIterator[tuple[Redis, aio_pika.abc.AbstractChannel]]:
        """Redis and a channel, as somebody else's program has them."""
        redis = Redis.from_url(self.redis_url)
        async with await aio_pika.connect(self.amqp_url) as connection:
            channel = await connection.channel()
            try:
                yield redis, channel
            finally:
                await channel.close()
                await redis.aclose()


@asynccontextmanager
async def serving(
    queue: AsyncQueue, options: WorkerOptions | None = None, **handlers: Callable[[object], object]
) -> AsyncIterator[AsyncWorker]:
    """A worker with these handlers, async or plain, until the block ends; then it has drained."""
    worker = queue.create_worker(options or WorkerOptions(concurrency=4))
    for job_type, handler in handlers.items():
        if asyncio.iscoroutinefunction(handler):
            worker.process_async(job_type, handler)
        else:
            worker.process_sync(job_type, handler)
    running = asyncio.create_task(worker.run())
    try:
        yield worker
    finally:
        worker.close()
        await asyncio.wait_for(running, WAIT_SECONDS_MAX)


async def until(condition: Callable[[], Awaitable[T]], *, what: str = "a condition") -> T:
    """Its first true value."""
    async with asyncio.timeout(WAIT_SECONDS_MAX):
        while not (value := await condition()):  # noqa: ASYNC110  what is in a server has no event here
            await asyncio.sleep(POLL_SECONDS)
        return value


async def ended(queue: AsyncQueue, job_id: str, status: JobStatus = JobStatus.COMPLETED) -> None:
    """Return when the job's status is this one."""

    async def is_so() -> bool:
        return await queue.get_job_status(job_id) is status

    await until(is_so, what=f"{job_id} {status}")


class Seen:
    """A handler that notes what it was given."""

    def __init__(self) -> None:
        self.data: list[object] = []
        self._news = asyncio.Event()

    async def __call__(self, data: object) -> None:
        self.data.append(data)
        self._news.set()

    async def count(self, number: int) -> list[object]:
        """What was seen, as soon as there is so much."""
        async with asyncio.timeout(WAIT_SECONDS_MAX):
            while len(self.data) < number:
                self._news.clear()
                await self._news.wait()
        return self.data
