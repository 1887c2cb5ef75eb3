"""Submit in batches of 1,000, and one task a request with 256 requests in flight."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from benchmarks.harness import Row, Target, lab, median
from tq import AsyncClient, Task

BATCHES = Target("submit in batches", "/s", must=40_000, aim=80_000, more_is_better=True)
IN_FLIGHT = Target("submit with 256 in flight", "/s", must=40_000, aim=80_000, more_is_better=True)
PAYLOAD = b"x" * 200
BATCH = 1_000
BATCHES_IN_FLIGHT = 2
"""While the broker writes one batch to the disk the client packs the next."""
REQUESTS_IN_FLIGHT = 256
RUNS = 3


async def measure(*, quick: bool) -> list[Row]:
    total = 50_000 if quick else 200_000
    rows = []
    for target, submit, how in (
        (BATCHES, _in_batches, f"batches of {BATCH:,}, {BATCHES_IN_FLIGHT} in flight"),
        (IN_FLIGHT, _in_flight, "one task a request"),
    ):
        with lab() as running:
            async with AsyncClient(running.address) as client:
                await submit(client, total // 10)
                rates = [await _rate(client, submit, total) for _ in range(RUNS)]
        rows.append(
            Row(
                target,
                median(rates),
                f"{how}; median of {RUNS} runs of {total:,} tasks of 200 B, a tenth to warm up",
            )
        )
    return rows


async def _rate(
    client: AsyncClient, submit: Callable[[AsyncClient, int], Awaitable[None]], total: int
) -> float:
    start = time.perf_counter()
    await submit(client, total)
    return total / (time.perf_counter() - start)


async def _in_batches(client: AsyncClient, total: int) -> None:
    batches = iter(range(total // BATCH))

    async def submit() -> None:
        for _ in batches:
            await client.submit_tasks([Task("noop", PAYLOAD) for _ in range(BATCH)])

    await asyncio.gather(*(submit() for _ in range(BATCHES_IN_FLIGHT)))


async def _in_flight(client: AsyncClient, total: int) -> None:
    numbers = iter(range(total))

    async def submit() -> None:
        for _ in numbers:
            await client.submit_task("noop", PAYLOAD)

    await asyncio.gather(*(submit() for _ in range(REQUESTS_IN_FLIGHT)))
