"""The backend on StackDuck's stores: enqueues one by one, over gRPC and in batches, and what one consumer gets done.

PostgreSQL is durable (fsync on, a commit waits for it), because it is the record. Redis syncs its append-only file every
second, as it does by itself: what it loses is put back from the record.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import asyncpg
import grpc

from benchmarks.harness import ROOT, Row, Target, median, percentile
from lab.processes import Process, broker_address, start_broker, start_worker
from lab.servers import PostgresServer, RedisServer
from tq.client.aio import AsyncClient
from tq.client.task import Task
from tq.proto import stackduck_pb2 as duck
from tq.proto import stackduck_pb2_grpc as duck_stubs

NAME = "StackDuck's stores"
UNARY = Target(f"{NAME}: EnqueueJob, 64 in flight", "/s", must=3_000, aim=3_500, more_is_better=True)
BATCHES = Target(f"{NAME}: tq batches", "/s", must=10_000, aim=15_000, more_is_better=True)
ONE = Target(f"{NAME}: one EnqueueJob, p50", "ms", must=1, aim=0.7, more_is_better=False)
ONE_TQ = Target(f"{NAME}: one submit by tq's client, p50", "ms", must=1, aim=0.7, more_is_better=False)
CONSUMER = Target(
    f"{NAME}: ConsumeJobs and CompleteJob, one consumer", "/s", must=3_000, aim=4_000, more_is_better=True
)
WORKER = Target(f"{NAME}: run and settled, one tq-worker", "/s", must=3_000, aim=4_000, more_is_better=True)
PAYLOAD = '{"text":"%s"}' % ("x" * 190)
JOB = duck.EnqueueJobRequest(job_type="duck", payload=PAYLOAD, priority=1)
NOTHING = duck.DequeueRetriedJobRequest()
CALLERS = 64
BATCH = 1_000
BATCHES_IN_FLIGHT = 4
CONCURRENCY = 512
"""A job is away for as long as three statements take: so many keep all of them busy."""
WORKER_SECONDS_MAX = 120.0
LEFT = "SELECT 1 FROM jobs WHERE job_type = 'noop' AND status IN ('Queued', 'running') LIMIT 1"


async def measure(*, quick: bool) -> list[Row]:
    total = 3_000 if quick else 20_000
    many = 12_000 if quick else 60_000
    with (
        tempfile.TemporaryDirectory() as path,
        RedisServer(fsync="everysec") as redis,
        PostgresServer() as postgres,
    ):
        config = Path(path) / "tq.yaml"
        config.write_text(f"backend: {{redis_url: '{redis.url}', database_url: '{postgres.url}'}}\n")
        with start_broker(Path(path), "--config", str(config)) as broker:
            addresses = broker.wait_for_event("ready")["addresses"]
            assert isinstance(addresses, dict)
            async with (
                grpc.aio.insecure_channel(str(addresses["grpc"])) as channel,
                AsyncClient(broker_address(broker)) as client,
            ):
                stub = duck_stubs.StackDuckServiceStub(channel)  # type: ignore[no-untyped-call]
                return [
                    await _one(stub, total // 10),
                    await _one_by_tq(client, total // 10),
                    await _unary(stub, total),
                    await _consume(stub, total),
                    await _batches(client, many),
                    await _work(Path(path), broker, postgres, many),
                ]


async def _one(stub: duck_stubs.StackDuckServiceStub, total: int) -> Row:
    waits = await _waits(total, lambda: stub.EnqueueJob(JOB))
    floor = median(await _waits(total, lambda: stub.DequeueRetriedJob(NOTHING)))
    return Row(
        ONE, median(waits), f"p99 {percentile(waits, 99):.2f} ms; a call that asks no store {floor:.2f} ms"
    )


async def _one_by_tq(client: AsyncClient, total: int) -> Row:
    waits = await _waits(total, lambda: client.submit_task("single", PAYLOAD.encode()))
    floor = median(await _waits(total, client.ping))
    return Row(ONE_TQ, median(waits), f"p99 {percentile(waits, 99):.2f} ms; a ping {floor:.2f} ms")


async def _waits(total: int, call: Callable[[], Awaitable[object]]) -> list[float]:
    """Milliseconds each, one after the other; a tenth before to warm up."""
    waits = []
    for _ in range(total + total // 10):
        began = time.perf_counter()
        await call()
        waits.append((time.perf_counter() - began) * 1000)
    return waits[-total:]


async def _unary(stub: duck_stubs.StackDuckServiceStub, total: int) -> Row:
    left = iter(range(total))

    async def call() -> None:
        for _ in left:
            assert (await stub.EnqueueJob(JOB)).success

    began = time.perf_counter()
    await asyncio.gather(*(call() for _ in range(CALLERS)))
    return Row(UNARY, total / (time.perf_counter() - began), "")


async def _consume(stub: duck_stubs.StackDuckServiceStub, total: int) -> Row:
    stream = stub.ConsumeJobs(duck.ConsumeJobsRequest(worker_id="w", job_types=["duck"]))
    room = asyncio.Semaphore(CALLERS)

    async def complete(job_id: str) -> None:
        async with room:
            assert (await stub.CompleteJob(duck.CompleteJobRequest(job_id=job_id))).success

    began = time.perf_counter()
    ends = []
    for _ in range(total):
        message = await stream.read()
        ends.append(asyncio.ensure_future(complete(message.job.id)))
    await asyncio.gather(*ends)
    took = time.perf_counter() - began
    stream.cancel()
    return Row(CONSUMER, total / took, f"{CALLERS} CompleteJob in flight")


async def _batches(client: AsyncClient, total: int) -> Row:
    parts = iter(range(total // BATCH))

    async def submit() -> None:
        for _ in parts:
            await client.submit_tasks([Task("noop", PAYLOAD.encode(), queue="stackduck")] * BATCH)

    began = time.perf_counter()
    await asyncio.gather(*(submit() for _ in range(BATCHES_IN_FLIGHT)))
    return Row(
        BATCHES, total / (time.perf_counter() - began), f"{BATCH:,} a batch, {BATCHES_IN_FLIGHT} in flight"
    )


async def _work(directory: Path, broker: Process, postgres: PostgresServer, total: int) -> Row:
    """By PostgreSQL's own clock, from the first job that was completed to the last."""
    connection = await asyncpg.connect(postgres.url)
    began = await connection.fetchval("SELECT clock_timestamp()")
    served = ("--queues", "stackduck", "--kind", "async", "--concurrency", str(CONCURRENCY))
    worker = start_worker(
        directory, broker_address(broker), "benchmarks.handlers:app", *served, python_path=ROOT
    )
    try:
        async with asyncio.timeout(WORKER_SECONDS_MAX):
            while await connection.fetchval(LEFT):  # noqa: ASYNC110  the table has no event to wait for
                await asyncio.sleep(0.2)
        found = await connection.fetchrow(
            "SELECT count(*) AS n, EXTRACT(EPOCH FROM max(completed_at) - min(completed_at))::float8 AS s"
            " FROM jobs WHERE completed_at > $1",
            began,
        )
    finally:
        worker.stop()
        await connection.close()
    assert found["n"] == total, found
    return Row(WORKER, total / found["s"], f"{total:,} jobs, concurrency {CONCURRENCY}")
