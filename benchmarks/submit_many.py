"""Submit in batches of 1,000, and one task a request with 256 requests in flight."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import NamedTuple, TypeAlias

from benchmarks.harness import Lab, Row, Target, cpu_seconds_of, lab, median
from tq import AsyncClient, Task

BATCHES = Target("submit in batches", "/s", must=40_000, aim=80_000, more_is_better=True)
IN_FLIGHT = Target("submit with 256 in flight", "/s", must=40_000, aim=80_000, more_is_better=True)
PAYLOAD = b"x" * 200
BATCH = 1_000
BATCHES_IN_FLIGHT = 4
"""One is written to the disk, one taken apart by the broker, one on its way, and one packed by the client."""
REQUESTS_IN_FLIGHT = 256
RUNS = 3

Submit: TypeAlias = Callable[[AsyncClient, int], Awaitable[None]]


async def measure(*, quick: bool) -> list[Row]:
    total = 50_000 if quick else 200_000
    rows = []
    for target, submit, shape in (
        (BATCHES, _in_batches, f"batches of {BATCH:,}, {BATCHES_IN_FLIGHT} in flight"),
        (IN_FLIGHT, _in_flight, "one task a request"),
    ):
        with lab() as running:
            async with AsyncClient(running.address) as client:
                await submit(client, total // 10)
                runs = [await _run(running, client, submit, total) for _ in range(RUNS)]
        how = (
            f"{shape}; median of {RUNS} runs of {total:,} tasks of 200 B, a tenth to warm up; CPU a task: "
            f"client {median([run.client_us for run in runs]):.1f} µs, "
            f"broker {median([run.broker_us for run in runs]):.1f} µs"
        )
        rows.append(Row(target, median([run.rate for run in runs]), how))
    return rows


class Run(NamedTuple):
    """rate: tasks a second. The others: processor time a task, in microseconds."""

    rate: float
    client_us: float
    broker_us: float


async def _run(running: Lab, client: AsyncClient, submit: Submit, total: int) -> Run:
    start, own, broker = time.perf_counter(), time.process_time(), cpu_seconds_of(running.broker)
    await submit(client, total)
    took = time.perf_counter() - start
    own, broker = time.process_time() - own, cpu_seconds_of(running.broker) - broker
    return Run(total / took, own / total * 1e6, broker / total * 1e6)


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
