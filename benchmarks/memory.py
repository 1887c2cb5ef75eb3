"""What waiting tasks cost in memory, and how soon a broker that holds a million of them hands out the first again."""

from __future__ import annotations

import asyncio
import time

from benchmarks.harness import Lab, Memory, Row, Target, lab, memory_of
from lab.processes import Process
from tq import AsyncClient, Task, ids
from tq.client.link import Link
from tq.errors import BrokerUnavailable
from tq.task import DEFAULT_QUEUE
from tq.verbs import Deliver, Push, Register

SMALL = Target("broker memory, 100,000 pending tasks of 200 B", "MB", must=200, aim=120, more_is_better=False)
LARGE = Target(
    "broker memory, 1,000,000 pending tasks of 1 KB", "MB", must=800, aim=400, more_is_better=False
)
RESTART = Target("restart with 1,000,000 pending tasks", "s", must=20, aim=5, more_is_better=False)
BATCH = 1_000
BATCHES_IN_FLIGHT = 2
SETTLE_SECONDS = 3.0
"""After the last submit, so that what the store does in the background is in the figure."""
RESTART_SECONDS_MAX = 120.0
DIAL_SECONDS = 0.01


async def measure_small(*, quick: bool) -> list[Row]:
    del quick  # it takes a few seconds anyway
    with lab() as running:
        empty = memory_of(running.broker)
        await _fill(running, 100_000, payload_bytes=200)
        full = memory_of(running.broker)
    return [Row(SMALL, full.resident, _how(empty, full))]


async def measure_large(*, quick: bool) -> list[Row]:
    total = 100_000 if quick else 1_000_000
    with lab() as running:
        empty = memory_of(running.broker)
        await _fill(running, total, payload_bytes=1_000)
        full = memory_of(running.broker)
        running.broker.kill()
        took, broker = await _restart(running)
        after = memory_of(broker)
    note = f"; only {total:,} tasks (--quick)" if quick else ""
    how = f"from exec after kill -9 to the first delivery in a waiting worker; RSS then {after.resident:.0f} MB{note}"
    return [Row(LARGE, full.resident, _how(empty, full) + note), Row(RESTART, took, how)]


def _how(empty: Memory, full: Memory) -> str:
    return (
        f"RSS, which is {full.anonymous:.0f} MB anonymous and {full.file:.0f} MB of mapped files; "
        f"{empty.resident:.0f} MB when empty; {SETTLE_SECONDS:.0f} s after the last submit"
    )


async def _fill(running: Lab, total: int, *, payload_bytes: int) -> None:
    payload = b"x" * payload_bytes
    batches = iter(range(total // BATCH))
    async with AsyncClient(running.address) as client:

        async def submit() -> None:
            for _ in batches:
                await client.submit_tasks([Task("noop", payload) for _ in range(BATCH)])

        await asyncio.gather(*(submit() for _ in range(BATCHES_IN_FLIGHT)))
    await asyncio.sleep(SETTLE_SECONDS)


async def _restart(running: Lab) -> tuple[float, Process]:
    """(seconds from exec to the first delivery, the new broker)."""
    start = time.perf_counter()
    broker = running.start_broker(port=int(running.address.rpartition(":")[2]))
    async with asyncio.timeout(RESTART_SECONDS_MAX):
        await _first_delivery(running.address)
    return time.perf_counter() - start, broker


async def _first_delivery(address: str) -> None:
    """Be a worker with one slot that dials until the broker answers, and return when it has a task."""
    delivered = asyncio.Event()

    def on_push(push: Push) -> None:
        if isinstance(push, Deliver):
            delivered.set()

    while True:
        try:
            link = await Link.open(address, role="worker", on_push=on_push)
        except BrokerUnavailable:
            await asyncio.sleep(DIAL_SECONDS)
        else:
            break
    await link.request(Register(ids.new_id(), "first", (DEFAULT_QUEUE,), ("noop",), capacity=1))
    await delivered.wait()
    link.close()
