"""How fast tq-worker empties a full queue of tasks that do nothing: one process, and the best number of them."""

from __future__ import annotations

import asyncio
import time

from benchmarks.harness import Lab, Row, Target, lab, median
from tq import AsyncClient, Task

ONE = Target("no-op tasks drained, one worker process", "/s", must=10_000, aim=15_000, more_is_better=True)
BEST = Target(
    "no-op tasks drained, best number of workers", "/s", must=15_000, aim=30_000, more_is_better=True
)
PAYLOAD = b"x" * 200
CONCURRENCY = 256
BATCH = 1_000
RUNS = 3
POLL_SECONDS = 0.1
DRAIN_SECONDS_MAX = 120.0


async def measure_one(*, quick: bool) -> list[Row]:
    total = 20_000 if quick else 100_000
    rates = [await _drain(total, workers=1) for _ in range(RUNS)]
    return [Row(ONE, median(rates), _how(total, f"median of {RUNS} runs"))]


async def measure_best(*, quick: bool) -> list[Row]:
    total = 20_000 if quick else 100_000
    rates = {
        workers: median([await _drain(total, workers=workers) for _ in range(RUNS)]) for workers in (1, 2, 3)
    }
    best = max(rates, key=lambda workers: rates[workers])
    tried = ", ".join(f"{workers}: {rate:,.0f}/s" for workers, rate in rates.items())
    return [Row(BEST, rates[best], _how(total, f"{best} processes; medians of {RUNS} runs ({tried})"))]


def _how(total: int, runs: str) -> str:
    return f"{runs} of {total:,} tasks of 200 B, async handler, concurrency {CONCURRENCY}; from the first completion on"


async def _drain(total: int, *, workers: int) -> float:
    """Tasks a second from the first sight of a completed task to the last: starting a worker is not in it."""
    with lab() as running:
        async with AsyncClient(running.address) as client:
            for _ in range(total // BATCH):
                await client.submit_tasks([Task("noop", PAYLOAD) for _ in range(BATCH)])
            _start_workers(running, workers)
            first_count, first_moment = await _completed_at_least(client, 1)
            last_count, last_moment = await _completed_at_least(client, total)
            return (last_count - first_count) / (last_moment - first_moment)


def _start_workers(running: Lab, workers: int) -> None:
    for number in range(workers):
        running.start_worker(concurrency=CONCURRENCY, name=f"worker-{number}")


async def _completed_at_least(client: AsyncClient, least: int) -> tuple[int, float]:
    """(completed tasks, moment) of the first look at the statistics that finds so many."""
    deadline = time.perf_counter() + DRAIN_SECONDS_MAX
    while time.perf_counter() < deadline:
        completed = (await client.stats()).completed_count
        if completed >= least:
            return completed, time.perf_counter()
        await asyncio.sleep(POLL_SECONDS / 10 if least == 1 else POLL_SECONDS)
    raise TimeoutError(f"fewer than {least:,} tasks completed in {DRAIN_SECONDS_MAX:.0f} s")
