"""What a cluster of three costs when nothing goes wrong: submitting, draining, starting tasks, memory."""

from __future__ import annotations

import asyncio
import struct
import time

from benchmarks.cluster_lab import PAYLOAD, WARM_UP, ClusterLab, cluster_lab, spread, submit_one_by_one
from benchmarks.harness import Row, Target, memory_of, paced, percentile
from tq import AsyncClient, Task

SINGLE_P50 = Target("cluster: submit one by one, p50", "ms", must=3, aim=1.5, more_is_better=False)
SINGLE_P99 = Target("cluster: submit one by one, p99", "ms", must=10, aim=10, more_is_better=False)
IN_FLIGHT = Target("cluster: submit, 256 in flight", "/s", must=15_000, aim=35_000, more_is_better=True)
BATCHES = Target("cluster: submit in batches of 100", "/s", must=15_000, aim=35_000, more_is_better=True)
END_TO_END = Target(
    "cluster: no-op tasks, submit to completed", "/s", must=5_000, aim=10_000, more_is_better=True
)
START_P50 = Target("cluster: submit to start, p50", "ms", must=4, aim=2, more_is_better=False)
START_P99 = Target("cluster: submit to start, p99", "ms", must=12, aim=5, more_is_better=False)
MEMORY = Target(
    "cluster: node memory, 100,000 pending tasks of 200 B", "MB", must=250, aim=150, more_is_better=False
)

SUBMITTERS = 256
BATCH_TASKS, BATCHES_IN_FLIGHT = 100, 4
CONCURRENCY = 256
RATE_PER_SECOND = 200
PENDING = 100_000
SETTLE_SECONDS = 3.0
COMPLETE_SECONDS_MAX = 120.0
POLL_SECONDS = 0.05


async def measure_single(*, quick: bool) -> list[Row]:
    total = 1_000 if quick else 5_000
    with cluster_lab() as running:
        async with AsyncClient(running.addresses) as client:
            await submit_one_by_one(client, WARM_UP)
            took = await submit_one_by_one(client, total)
    how = f"{total:,} tasks of 200 B over one connection to the leader, {WARM_UP} to warm up; {spread(took, 'ms')}"
    return [Row(SINGLE_P50, percentile(took, 50), how), Row(SINGLE_P99, percentile(took, 99), how)]


async def measure_many(*, quick: bool) -> list[Row]:
    total = 20_000 if quick else 100_000
    with cluster_lab() as running:
        async with AsyncClient(running.addresses) as client:
            await submit_one_by_one(client, WARM_UP)
            single = await _rate(client, total, batch=1, side_by_side=SUBMITTERS)
            batches = await _rate(client, total, batch=BATCH_TASKS, side_by_side=BATCHES_IN_FLIGHT)
    how = f"{total:,} tasks of 200 B over one connection to the leader"
    return [
        Row(IN_FLIGHT, single, f"{how}, one a call"),
        Row(BATCHES, batches, f"{how}, {BATCHES_IN_FLIGHT} batches in flight"),
    ]


async def measure_end_to_end(*, quick: bool) -> list[Row]:
    total = 20_000 if quick else 60_000
    rates = {workers: await _end_to_end(total, workers) for workers in (1, 2)}
    best = max(rates, key=lambda workers: rates[workers])
    tried = ", ".join(f"{workers}: {rate:,.0f}/s" for workers, rate in rates.items())
    how = f"{total:,} tasks of 200 B in batches of {BATCH_TASKS} while {best} worker processes run them ({tried})"
    return [Row(END_TO_END, rates[best], how)]


async def measure_start(*, quick: bool) -> list[Row]:
    total = RATE_PER_SECOND * (5 if quick else 20)
    with cluster_lab() as running:
        running.start_worker(concurrency=64)
        async with AsyncClient(running.addresses) as client:
            await client.wait_for_result(await client.submit_task("started", b""), timeout=30)
            await _start_ms(client, WARM_UP)
            took = await _start_ms(client, total)
    how = f"{total:,} tasks at {RATE_PER_SECOND}/s, one worker with 64 slots, async handler; {spread(took, 'ms')}"
    return [Row(START_P50, percentile(took, 50), how), Row(START_P99, percentile(took, 99), how)]


async def measure_memory(*, quick: bool) -> list[Row]:
    del quick  # it takes a few seconds anyway
    with cluster_lab() as running:
        empty = _largest(running)
        async with AsyncClient(running.addresses) as client:
            await _rate(client, PENDING, batch=BATCH_TASKS, side_by_side=BATCHES_IN_FLIGHT)
        await asyncio.sleep(SETTLE_SECONDS)
        full = _largest(running)
    return [Row(MEMORY, full, f"RSS of the largest of the three; {empty:.0f} MB when empty")]


async def _rate(client: AsyncClient, total: int, *, batch: int, side_by_side: int) -> float:
    """Tasks acknowledged a second."""
    turns = iter(range(total // batch))

    async def submit() -> None:
        for _ in turns:
            if batch == 1:
                await client.submit_task("noop", PAYLOAD)
            else:
                await client.submit_tasks([Task("noop", PAYLOAD) for _ in range(batch)])

    start = time.perf_counter()
    await asyncio.gather(*(submit() for _ in range(side_by_side)))
    return total / (time.perf_counter() - start)


async def _end_to_end(total: int, workers: int) -> float:
    with cluster_lab() as running:
        for number in range(workers):
            running.start_worker(concurrency=CONCURRENCY, name=f"worker-{number}")
        async with AsyncClient(running.addresses) as client:
            warm = [await client.submit_task("noop", PAYLOAD) for _ in range(WARM_UP)]
            await client.wait_for_results(warm, timeout=COMPLETE_SECONDS_MAX)
            start = time.perf_counter()
            await _rate(client, total, batch=BATCH_TASKS, side_by_side=BATCHES_IN_FLIGHT)
            while (await client.stats()).completed_count < total + WARM_UP:
                if time.perf_counter() - start > COMPLETE_SECONDS_MAX:
                    raise TimeoutError(f"{total:,} tasks were not completed in {COMPLETE_SECONDS_MAX:.0f} s")
                await asyncio.sleep(POLL_SECONDS)
            return total / (time.perf_counter() - start)


async def _start_ms(client: AsyncClient, total: int) -> list[float]:
    """From before the submit until the handler runs."""
    sent: list[tuple[int, asyncio.Task[str]]] = []
    async for _ in paced(RATE_PER_SECOND, total):
        sent.append((time.monotonic_ns(), asyncio.create_task(client.submit_task("started", b""))))
    took = []
    for submitted_ns, submit in sent:
        result = await client.wait_for_result(await submit, timeout=30)
        took.append((struct.unpack(">q", result)[0] - submitted_ns) / 1e6)
    return took


def _largest(running: ClusterLab) -> float:
    brokers = running.brokers
    return max(memory_of(brokers.process(node)).resident for node in brokers.names)
