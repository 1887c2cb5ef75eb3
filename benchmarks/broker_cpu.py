"""What the broker costs at 5,000 full tasks a second: submitted, leased, settled."""

from __future__ import annotations

import asyncio
import time

from benchmarks.harness import Lab, Row, Target, cpu_seconds_of, lab, median, paced
from tq import AsyncClient

CPU = Target("broker CPU at 5,000 full tasks/s", "% of a core", must=50, aim=25, more_is_better=False)
RATE_PER_SECOND = 5_000
GROUP = 10
"""Requests sent at a time, 500 times a second: a client cannot wake up 5,000 times a second on a shared core."""
CONCURRENCY = 256
WARM_UP_SECONDS = 2
RUNS = 3


async def measure(*, quick: bool) -> list[Row]:
    seconds = 3 if quick else 10
    with lab() as running:
        running.start_worker(concurrency=CONCURRENCY)
        async with AsyncClient(running.address) as client:
            await client.wait_for_result(await client.submit_task("noop", b""), timeout=30)
            await _run(running, client, WARM_UP_SECONDS)
            runs = [await _run(running, client, seconds) for _ in range(RUNS)]
    shares = [cpu_per_task * RATE_PER_SECOND * 100 for cpu_per_task, _ in runs]
    how = (
        f"CPU per task times {RATE_PER_SECOND:,}; median of {RUNS} runs of {seconds} s, {WARM_UP_SECONDS} s to warm up; "
        f"one task a request, {GROUP} at a time; completed {median([rate for _, rate in runs]):,.0f}/s"
    )
    return [Row(CPU, median(shares), how)]


async def _run(running: Lab, client: AsyncClient, seconds: int) -> tuple[float, float]:
    """(seconds of CPU the broker used for each task that completed, tasks that completed a second)."""
    completed, cpu, start = (
        (await client.stats()).completed_count,
        cpu_seconds_of(running.broker),
        time.perf_counter(),
    )
    pending: set[asyncio.Future[list[str]]] = set()
    async for _ in paced(RATE_PER_SECOND // GROUP, RATE_PER_SECOND // GROUP * seconds):
        group = asyncio.gather(*(client.submit_task("noop", b"") for _ in range(GROUP)))
        pending.add(group)
        group.add_done_callback(pending.discard)
    if pending:
        await asyncio.wait(pending)
    cpu, took = cpu_seconds_of(running.broker) - cpu, time.perf_counter() - start
    completed = (await client.stats()).completed_count - completed
    return cpu / completed, completed / took
