"""Submit one by one over one connection, each acknowledged before the next leaves."""

from __future__ import annotations

import asyncio
import time

from benchmarks.floor import floor_rate
from benchmarks.harness import Row, Target, cpu_seconds_of, lab, median, percentile
from tq import AsyncClient

RATE = Target("submit one by one", "/s", must=3_000, aim=5_000, more_is_better=True)
P99 = Target("submit one by one, p99", "ms", must=2, aim=1, more_is_better=False)
PAYLOAD = b"x" * 200
WARM_UP = 500
RUNS = 3


async def measure(*, quick: bool) -> list[Row]:
    total = 2_000 if quick else 10_000
    rates, p99s = [], []
    floor = await asyncio.to_thread(floor_rate, total)
    with lab() as running:
        async with AsyncClient(running.address) as client:
            await _submit(client, WARM_UP)
            own, broker = time.process_time(), cpu_seconds_of(running.broker)
            for _ in range(RUNS):
                start = time.perf_counter()
                took = await _submit(client, total)
                rates.append(total / (time.perf_counter() - start))
                p99s.append(percentile(took, 99) * 1000)
            own, broker = time.process_time() - own, cpu_seconds_of(running.broker) - broker
    how = (
        f"median of {RUNS} runs of {total:,} tasks of 200 B, after {WARM_UP} to warm up; CPU a task: "
        f"client {own / total / RUNS * 1e6:.0f} µs, broker {broker / total / RUNS * 1e6:.0f} µs; "
        f"a bare echo that syncs on a thread: {floor:,.0f}/s"
    )
    return [Row(RATE, median(rates), how), Row(P99, median(p99s), how)]


async def _submit(client: AsyncClient, total: int) -> list[float]:
    took = []
    for _ in range(total):
        start = time.perf_counter()
        await client.submit_task("noop", PAYLOAD)
        took.append(time.perf_counter() - start)
    return took
