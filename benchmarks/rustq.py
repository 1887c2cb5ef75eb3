"""The rustq library on RabbitMQ and Redis, beside a program on bare aio-pika that keeps the same promises.

Both are one worker process and one producer. Bare means what one writes by hand: persistent messages with confirms, a
queue consumed with prefetch, and for each job the same changes of the record, before it runs and after, then its
acknowledgement. `python -m benchmarks.rustq KIND NAME REDIS AMQP TOTAL` is the worker's process.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time
import uuid
from collections.abc import Awaitable, Callable
from typing import NamedTuple

import aio_pika
import uvloop
from redis.asyncio import Redis

from benchmarks.harness import ROOT, Row, Target
from lab.servers import RabbitServer, RedisServer
from tq.client.rustq import AsyncQueue, WorkerOptions

CONCURRENCY = 250
IN_FLIGHT = 250
DATA = {"to": "somebody@example.org", "subject": "hello", "n": 12345}

END_TO_END = Target(
    "rustq: jobs added and run, one worker process", "jobs/s", 3_000, 4_000, more_is_better=True
)
DRAIN = Target(
    "rustq: jobs run from a full queue, one worker process", "jobs/s", 3_000, 4_000, more_is_better=True
)
WORKER_COST = Target(
    "rustq: processor time of the worker, share of bare aio-pika's", "", 1.0, 0.7, more_is_better=False
)
ADD_COST = Target(
    "rustq: processor time of adding a job, share of bare aio-pika's", "", 1.0, 0.7, more_is_better=False
)


class Place(NamedTuple):
    name: str
    redis_url: str
    amqp_url: str


class Cost(NamedTuple):
    """rate: jobs a second. microseconds: processor time of this process for each. ended: wall time of the last one's end."""

    rate: float
    microseconds: float
    ended: float


async def measure(*, quick: bool) -> list[Row]:
    total = 4_000 if quick else 20_000
    with RedisServer() as redis, RabbitServer() as rabbit:

        def place() -> Place:
            return Place(f"bench-{uuid.uuid4().hex[:8]}", redis.url, rabbit.url)

        end_to_end = await added_and_run(place(), total)
        ours, bare = place(), place()
        our_add = await costed(add_ours(ours, total), total)
        our_run = await worked("ours", ours, total)
        bare_add = await costed(add_bare(bare, total), total)
        bare_run = await worked("bare", bare, total)
    how = f"{total} jobs of 60 bytes, concurrency {CONCURRENCY}; RabbitMQ, Redis (synced at every write), producer and worker share the cores"
    return [
        Row(END_TO_END, end_to_end, how),
        Row(DRAIN, our_run.rate, f"{how}; bare aio-pika {bare_run.rate:,.0f} jobs/s"),
        Row(WORKER_COST, our_run.microseconds / bare_run.microseconds, _beside(our_run, bare_run)),
        Row(ADD_COST, our_add.microseconds / bare_add.microseconds, _beside(our_add, bare_add)),
    ]


def _beside(ours: Cost, bare: Cost) -> str:
    return f"{ours.microseconds:.0f} µs a job, bare aio-pika {bare.microseconds:.0f} µs; {ours.rate:,.0f} and {bare.rate:,.0f} jobs/s"


async def added_and_run(place: Place, total: int) -> float:
    """Jobs a second from the first add to the last end, while both go on."""
    worker = await started("ours", place, total)
    start = time.time()
    await add_ours(place, total)
    return total / ((await ended(worker)).ended - start)


async def worked(kind: str, place: Place, total: int) -> Cost:
    """A worker's process for the queue as it is."""
    return await ended(await started(kind, place, total))


async def started(kind: str, place: Place, total: int) -> asyncio.subprocess.Process:
    command = [sys.executable, "-m", "benchmarks.rustq", kind, *place, str(total)]
    worker = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, cwd=ROOT)
    assert worker.stdout is not None
    assert await worker.stdout.readline() == b"ready\n"
    return worker


async def ended(worker: asyncio.subprocess.Process) -> Cost:
    out, _ = await worker.communicate()
    assert worker.returncode == 0, worker.returncode
    return Cost(*json.loads(out))


async def costed(work: Awaitable[None], total: int) -> Cost:
    start, before = time.perf_counter(), _processor_seconds()
    await work
    seconds = time.perf_counter() - start
    return Cost(total / seconds, (_processor_seconds() - before) / total * 1e6, time.time())


def _processor_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


# ---------------------------------------------------------------- the library


async def add_ours(place: Place, total: int) -> None:
    async with AsyncQueue(*place) as queue:
        await queue.add_many("mail", [DATA] * total)


async def work_ours(place: Place, total: int, ready: Callable[[], None]) -> Cost:
    async with AsyncQueue(*place) as queue:
        worker = queue.create_worker(WorkerOptions(concurrency=CONCURRENCY))
        meter = Meter(total, worker.close)
        worker.process_async("mail", meter.handle)
        ready()
        await worker.run()
        return meter.cost()


class Meter:
    """Counts jobs; measures from the first one on."""

    def __init__(self, total: int, done: Callable[[], None]) -> None:
        self._left = self._total = total
        self._done = done
        self._start = self._before = 0.0

    async def handle(self, _: object) -> None:
        if self._left == self._total:
            self._start, self._before = time.perf_counter(), _processor_seconds()
        self._left -= 1
        if not self._left:
            self._done()

    def cost(self) -> Cost:
        seconds = time.perf_counter() - self._start
        used_us = (_processor_seconds() - self._before) / self._total * 1e6
        return Cost(self._total / seconds, used_us, time.time())


# ---------------------------------------------------------------- by hand


def body_by_hand(job_id: str) -> bytes:
    now = int(time.time())
    return json.dumps(
        {
            "id": job_id, "job_type": "mail", "payload": list(json.dumps(DATA).encode()), "status": "Pending",
            "created_at": now, "updated_at": now, "retry_count": 0, "max_retries": 3, "last_error": None,
            "backoff": {"Exponential": {"secs": 1, "nanos": 0}},
        },
        separators=(",", ":"),
    ).encode()  # fmt: skip


async def add_bare(place: Place, total: int) -> None:
    redis = Redis.from_url(place.redis_url, max_connections=IN_FLIGHT, socket_connect_timeout=60)
    async with await aio_pika.connect(place.amqp_url) as connection:
        channel = await connection.channel()
        await channel.declare_queue(place.name, durable=True)
        slots = asyncio.Semaphore(IN_FLIGHT)

        async def add() -> None:
            async with slots:
                job_id = str(uuid.uuid4())
                body = body_by_hand(job_id)
                async with redis.pipeline(transaction=True) as pipe:
                    pipe.set(f"job:data:{job_id}", body)
                    pipe.set(f"job:status:{job_id}", "Pending")
                    pipe.sadd("jobs:Pending", job_id)
                    pipe.zadd("jobs:by_created", {job_id: int(time.time())})
                    pipe.sadd("job:types", "mail")
                    await pipe.execute()
                message = aio_pika.Message(body, delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
                await channel.default_exchange.publish(message, place.name)

        await asyncio.gather(*(add() for _ in range(total)))
    await redis.aclose()


async def work_bare(place: Place, total: int, ready: Callable[[], None]) -> Cost:
    redis, over = (
        Redis.from_url(place.redis_url, max_connections=IN_FLIGHT, socket_connect_timeout=60),
        asyncio.Event(),
    )
    meter = Meter(total, over.set)

    async def move(job_id: str, old: str, new: str) -> None:
        async with redis.pipeline(transaction=True) as pipe:
            pipe.set(f"job:status:{job_id}", new)
            pipe.srem(f"jobs:{old}", job_id)
            pipe.sadd(f"jobs:{new}", job_id)
            await pipe.execute()

    async def run(message: aio_pika.abc.AbstractIncomingMessage) -> None:
        job = json.loads(message.body)
        await move(job["id"], "Pending", "Processing")
        await meter.handle(json.loads(bytes(job["payload"])))
        await move(job["id"], "Processing", "Completed")
        await message.ack()

    async with await aio_pika.connect(place.amqp_url) as connection:
        channel = await connection.channel()
        await channel.set_qos(prefetch_count=CONCURRENCY)
        queue = await channel.declare_queue(place.name, durable=True)
        ready()
        await queue.consume(run)
        await over.wait()
        cost = meter.cost()
    await redis.aclose()
    return cost


async def work(kind: str, name: str, redis_url: str, amqp_url: str, total: str) -> None:
    run = work_ours if kind == "ours" else work_bare
    cost = await run(Place(name, redis_url, amqp_url), int(total), lambda: print("ready", flush=True))
    print(json.dumps(cost))


if __name__ == "__main__":
    uvloop.run(work(*sys.argv[1:]))
