"""The gRPC door: submits one a call, a worker's stream, and StackDuck's clients. Clients are grpcio's own, in Python."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any
from uuid import uuid4

import grpc

from benchmarks.harness import Row, Target, cpu_seconds_of, lab, median, percentile
from lab.processes import Process
from tq.proto import stackduck_pb2 as duck
from tq.proto import stackduck_pb2_grpc as duck_stubs
from tq.proto import taskqueue_pb2 as pb
from tq.proto import taskqueue_pb2_grpc as stubs

SUBMIT = Target("gRPC submit, one a call", "/s", must=3_000, aim=4_000, more_is_better=True)
WORK = Target("gRPC Work stream, no-op tasks, one worker", "/s", must=8_000, aim=15_000, more_is_better=True)
ENQUEUE = Target("StackDuck EnqueueJob, p50", "ms", must=1, aim=0.7, more_is_better=False)
CONSUME = Target("StackDuck ConsumeJobs, one consumer", "/s", must=5_000, aim=8_000, more_is_better=True)
PAYLOAD = b"x" * 200
JOB = duck.EnqueueJobRequest(job_type="noop", payload='{"text":"%s"}' % ("x" * 190), priority=1)
CALLERS = 64
BATCH = 1_000
CAPACITY = 1_000
RUNS = 3


async def measure(*, quick: bool) -> list[Row]:
    total = 6_000 if quick else 30_000
    rows = []
    with lab() as running:
        async with channel_to(running.broker) as channel:
            rows.append(await _submit(channel, running.broker, total))
    with lab() as running:
        async with channel_to(running.broker) as channel:
            rows.append(await _work(channel, running.broker, total * 5))
    with lab() as running:
        async with channel_to(running.broker) as channel:
            rows.append(_enqueue(running.broker, total // 3))
            rows.append(await _consume(channel, running.broker, total))
    return rows


@asynccontextmanager
async def channel_to(broker: Process) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(address_of(broker)) as channel:
        yield channel


def address_of(broker: Process) -> str:
    addresses = broker.wait_for_event("ready")["addresses"]
    assert isinstance(addresses, dict)
    return str(addresses["grpc"])


async def _submit(channel: grpc.aio.Channel, broker: Process, total: int) -> Row:
    queue: Any = stubs.TaskQueueStub(channel)  # type: ignore[no-untyped-call]
    request = pb.SubmitTaskRequest(task=pb.TaskSpec(task_type="noop", payload=PAYLOAD))

    async def caller(calls: int) -> None:
        for _ in range(calls):
            await queue.SubmitTask(request)

    await caller(500)
    rates, cpu = [], cpu_seconds_of(broker)
    for _ in range(RUNS):
        start = time.perf_counter()
        await asyncio.gather(*(caller(total // CALLERS) for _ in range(CALLERS)))
        rates.append(total // CALLERS * CALLERS / (time.perf_counter() - start))
    cpu = (cpu_seconds_of(broker) - cpu) / (RUNS * total)
    how = f"median of {RUNS} runs of {total:,} tasks of 200 B, {CALLERS} calls in flight on one connection; broker CPU a task {cpu * 1e6:.0f} µs"
    return Row(SUBMIT, median(rates), how)


async def _work(channel: grpc.aio.Channel, broker: Process, total: int) -> Row:
    queue: Any = stubs.TaskQueueStub(channel)  # type: ignore[no-untyped-call]
    tasks = [pb.TaskSpec(task_type="noop", payload=PAYLOAD)] * BATCH
    for _ in range(total // BATCH):
        await queue.SubmitTasks(pb.SubmitTasksRequest(tasks=tasks))
    cpu = cpu_seconds_of(broker)
    call = queue.Work()
    register = pb.Register(session_id=str(uuid4()), worker_id="bench", task_types=["noop"], capacity=CAPACITY)
    await call.write(pb.WorkRequest(register=register))
    done, start = 0, time.perf_counter()
    while done < total:
        deliveries = (await call.read()).deliveries
        if deliveries:
            done += len(deliveries)
            items = [pb.Settlement(task_id=each.task_id, token=each.token) for each in deliveries]
            await call.write(pb.WorkRequest(settlements=items))
    rate = total / (time.perf_counter() - start)
    cpu = (cpu_seconds_of(broker) - cpu) / total
    call.cancel()
    how = f"{total:,} tasks of 200 B waiting, capacity {CAPACITY:,}, each message settled by one; broker CPU a task {cpu * 1e6:.0f} µs"
    return Row(WORK, rate, how)


def _enqueue(broker: Process, total: int) -> Row:
    with grpc.insecure_channel(address_of(broker)) as channel:
        service: Any = duck_stubs.StackDuckServiceStub(channel)  # type: ignore[no-untyped-call]
        took = _one_by_one(partial(service.EnqueueJob, JOB), total)
        nothing = partial(service.DequeueRetriedJob, duck.DequeueRetriedJobRequest())
        bare = _one_by_one(nothing, total // 2)
    how = (
        f"{total:,} jobs of 200 B, each acknowledged before the next leaves, after 500 to warm up; p99 "
        f"{percentile(took, 99) * 1000:.2g} ms; a call of the same client that touches no log takes "
        f"{median(bare) * 1000:.2f} ms"
    )
    return Row(ENQUEUE, median(took) * 1000, how)


def _one_by_one(call: Callable[[], object], total: int) -> list[float]:
    """Seconds that each of so many calls took, after 500 to warm up."""
    took = []
    for number in range(total + 500):
        start = time.perf_counter()
        call()
        if number >= 500:
            took.append(time.perf_counter() - start)
    return took


async def _consume(channel: grpc.aio.Channel, broker: Process, total: int) -> Row:
    service: Any = duck_stubs.StackDuckServiceStub(channel)  # type: ignore[no-untyped-call]

    async def caller(calls: int) -> None:
        for _ in range(calls):
            await service.EnqueueJob(JOB)

    await asyncio.gather(*(caller(total // CALLERS) for _ in range(CALLERS)))
    cpu = cpu_seconds_of(broker)
    call = service.ConsumeJobs(duck.ConsumeJobsRequest(worker_id="bench", job_types=["noop"]))
    count, wanted, start = 0, total // CALLERS * CALLERS, time.perf_counter()
    async for _ in call:
        count += 1
        if count == wanted:
            break
    rate = count / (time.perf_counter() - start)
    cpu = (cpu_seconds_of(broker) - cpu) / count
    call.cancel()
    how = f"{count:,} waiting jobs of 200 B, delivered and not completed; broker CPU a job {cpu * 1e6:.0f} µs"
    return Row(CONSUME, rate, how)
