"""The backend on StackDuck's stores: enqueues over gRPC and in tq's batches, one enqueue's wait, one consumer."""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path

import grpc

from benchmarks.harness import Row, Target, median, percentile
from lab.processes import Process, broker_address, start_broker
from lab.servers import PostgresServer, RedisServer
from tq.client.aio import AsyncClient
from tq.client.task import Task
from tq.proto import stackduck_pb2 as duck
from tq.proto import stackduck_pb2_grpc as duck_stubs

UNARY = Target(
    "StackDuck's stores: EnqueueJob, 64 in flight", "/s", must=3_000, aim=3_500, more_is_better=True
)
BATCHES = Target("StackDuck's stores: tq batches", "/s", must=10_000, aim=15_000, more_is_better=True)
ONE = Target("StackDuck's stores: one EnqueueJob, p50", "ms", must=1, aim=0.7, more_is_better=False)
CONSUMER = Target(
    "StackDuck's stores: consumed and completed, one consumer",
    "/s",
    must=3_000,
    aim=4_000,
    more_is_better=True,
)
JOB = duck.EnqueueJobRequest(job_type="noop", payload='{"text":"%s"}' % ("x" * 190), priority=1)
CALLERS = 64
COMPLETIONS = 64


async def measure(*, quick: bool) -> list[Row]:
    total = 3_000 if quick else 20_000
    with tempfile.TemporaryDirectory() as path, RedisServer() as redis, PostgresServer() as postgres:
        config = Path(path) / "tq.yaml"
        config.write_text(f"backend: {{redis_url: '{redis.url}', database_url: '{postgres.url}'}}\n")
        with start_broker(Path(path), "--config", str(config)) as broker:
            addresses = broker.wait_for_event("ready")["addresses"]
            assert isinstance(addresses, dict)
            async with grpc.aio.insecure_channel(str(addresses["grpc"])) as channel:
                stub = duck_stubs.StackDuckServiceStub(channel)  # type: ignore[no-untyped-call]
                return [
                    await _one(stub, total // 10),
                    await _unary(stub, total),
                    await _consume(stub, total),
                    await _batches(broker, total),
                ]


async def _one(stub: duck_stubs.StackDuckServiceStub, total: int) -> Row:
    waits = []
    for _ in range(total):
        began = time.perf_counter()
        await stub.EnqueueJob(JOB)
        waits.append((time.perf_counter() - began) * 1000)
    return Row(ONE, median(waits), f"p99 {percentile(waits, 99):.2f} ms")


async def _unary(stub: duck_stubs.StackDuckServiceStub, total: int) -> Row:
    left = iter(range(total))

    async def call() -> None:
        for _ in left:
            assert (await stub.EnqueueJob(JOB)).success

    began = time.perf_counter()
    await asyncio.gather(*(call() for _ in range(CALLERS)))
    return Row(UNARY, total / (time.perf_counter() - began), "")


async def _consume(stub: duck_stubs.StackDuckServiceStub, total: int) -> Row:
    stream = stub.ConsumeJobs(duck.ConsumeJobsRequest(worker_id="w", job_types=["noop"]))
    room = asyncio.Semaphore(COMPLETIONS)

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
    return Row(CONSUMER, total / took, "")


async def _batches(broker: Process, total: int) -> Row:
    tasks = [Task("other", b'{"text":"%s"}' % (b"x" * 190)) for _ in range(1_000)]
    async with AsyncClient(broker_address(broker)) as client:
        began = time.perf_counter()
        for _ in range(total // 1_000):
            await client.submit_tasks(tasks)
        return Row(BATCHES, total // 1_000 * 1_000 / (time.perf_counter() - began), "1,000 a batch")
