"""How long `/metrics` takes with a million tasks stored."""

from __future__ import annotations

import asyncio
import time
import urllib.request

from benchmarks.harness import Row, Target, lab, percentile
from tq import AsyncClient, Task

SCRAPE = Target("1,000,000 tasks stored: GET /metrics p99", "ms", must=50, aim=20, more_is_better=False)
BATCH = 1_000
TYPES, QUEUES = 20, 10
SCRAPES = 200


async def measure(*, quick: bool) -> list[Row]:
    total = 50_000 if quick else 1_000_000
    with lab() as running:
        addresses = running.broker.wait_for_event("ready")["addresses"]
        assert isinstance(addresses, dict)
        async with AsyncClient(running.address) as client:
            for first in range(0, total, BATCH):
                kind = first // BATCH
                task = Task(f"type-{kind % TYPES}", b"x", queue=f"queue-{kind % QUEUES}")
                await client.submit_tasks([task] * BATCH)
            times_ms = [await asyncio.to_thread(_scrape_ms, addresses["rest"]) for _ in range(SCRAPES)]
    how = (
        f"{total:,} pending tasks of {TYPES} types in {QUEUES} queues; {SCRAPES} scrapes one after the other at the REST"
        f" port, a connection each; p50 {percentile(times_ms, 50):.1f} ms; the broker has nothing else to do"
    )
    return [Row(SCRAPE, percentile(times_ms, 99), how)]


def _scrape_ms(address: str) -> float:
    start = time.perf_counter()
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=30) as answer:
        answer.read()
    return (time.perf_counter() - start) * 1000
