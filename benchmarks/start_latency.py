"""From before the submit leaves the client until the handler runs, with free workers, paced."""

from __future__ import annotations

import asyncio
import struct
import time

from benchmarks.harness import Row, Target, lab, paced, percentile
from tq import AsyncClient

P50 = Target("submit to start, p50", "ms", must=1.5, aim=0.8, more_is_better=False)
P99 = Target("submit to start, p99", "ms", must=5, aim=2, more_is_better=False)
RATE_PER_SECOND = 500
WARM_UP = 500
CONCURRENCY = 64


async def measure(*, quick: bool) -> list[Row]:
    total = RATE_PER_SECOND * (5 if quick else 20)
    with lab() as running:
        running.start_worker(concurrency=CONCURRENCY)
        async with AsyncClient(running.address) as client:
            await client.wait_for_result(await client.submit_task("started", b""), timeout=30)
            await _latencies_ms(client, WARM_UP)
            took = await _latencies_ms(client, total)
    how = f"{total:,} tasks at {RATE_PER_SECOND}/s, {WARM_UP} to warm up; one worker, {CONCURRENCY} slots, async handler"
    return [Row(P50, percentile(took, 50), how), Row(P99, percentile(took, 99), how)]


async def _latencies_ms(client: AsyncClient, total: int) -> list[float]:
    sent: list[tuple[int, asyncio.Task[str]]] = []
    async for _ in paced(RATE_PER_SECOND, total):
        now = time.monotonic_ns()
        sent.append((now, asyncio.create_task(client.submit_task("started", b""))))
    # The results are fetched afterwards, so that reading them disturbs nothing that is measured.
    took = []
    for submitted_ns, submit in sent:
        result = await client.wait_for_result(await submit, timeout=30)
        took.append((struct.unpack(">q", result)[0] - submitted_ns) / 1e6)
    return took
