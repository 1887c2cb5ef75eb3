"""How late scheduled tasks start, with a million of them waiting and 2,000 falling due each second."""

from __future__ import annotations

import asyncio
import struct
import time
from datetime import UTC, datetime, timedelta

from benchmarks.harness import Lab, Row, Target, lab, percentile
from tq import AsyncClient, Task

LATENESS = Target(
    "1,000,000 scheduled tasks, 2,000 due/s: lateness p99", "ms", must=250, aim=100, more_is_better=False
)
DUE_PER_SECOND = 2_000
BATCH = 1_000
CONCURRENCY = 256
LEAD_SECONDS = 10.0
"""Between the last submit of what will fall due and the first due time."""


async def measure(*, quick: bool) -> list[Row]:
    total = 50_000 if quick else 1_000_000
    due = DUE_PER_SECOND * (5 if quick else 20)
    with lab() as running:
        async with AsyncClient(running.address) as client:
            await _submit_far(client, total - due)
            lateness_ms = await _lateness_ms(running, client, due)
    how = (
        f"{total:,} waiting, of which {due:,} fall due one by one at {DUE_PER_SECOND:,}/s; "
        f"from schedule_at to the handler's start; p50 {percentile(lateness_ms, 50):.1f} ms; one worker, async handler"
    )
    return [Row(LATENESS, percentile(lateness_ms, 99), how)]


async def _submit_far(client: AsyncClient, total: int) -> None:
    """Tasks that stay scheduled throughout, a second apart from tomorrow on."""
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    for first in range(0, total, BATCH):
        moment = tomorrow + timedelta(seconds=first / BATCH)
        await client.submit_tasks([Task("started_wall", b"", schedule_at=moment) for _ in range(BATCH)])


async def _lateness_ms(running: Lab, client: AsyncClient, due: int) -> list[float]:
    running.start_worker(concurrency=CONCURRENCY)
    start_ms = int((time.time() + LEAD_SECONDS) * 1000)
    due_ms = [start_ms + number * 1000 // DUE_PER_SECOND for number in range(due)]
    task_ids: list[str] = []
    for first in range(0, due, BATCH):
        moments = [datetime.fromtimestamp(ms / 1000, UTC) for ms in due_ms[first : first + BATCH]]
        task_ids += await client.submit_tasks(
            [Task("started_wall", b"", schedule_at=moment) for moment in moments]
        )
    await asyncio.sleep(max(0.0, due_ms[-1] / 1000 - time.time()))
    results = [await client.wait_for_result(task_id, timeout=30) for task_id in task_ids]
    return [struct.unpack(">q", result)[0] / 1e6 - ms for result, ms in zip(results, due_ms, strict=True)]
