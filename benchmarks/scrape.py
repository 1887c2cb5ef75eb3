"""How long `/metrics` and pages of the list take with a million tasks stored."""

from __future__ import annotations

import asyncio
import http.client
import json
import time
import urllib.request
from typing import NamedTuple

from benchmarks.harness import Row, Target, lab, percentile
from tq import AsyncClient, Task

SCRAPE = Target("1,000,000 tasks stored: GET /metrics p99", "ms", must=50, aim=20, more_is_better=False)
FIRST = Target(
    "1,000,000 tasks stored: first page of a status, p99", "ms", must=20, aim=10, more_is_better=False
)
DEEP = Target(
    "1,000,000 tasks stored: page 1,000 by cursor, p99", "ms", must=20, aim=10, more_is_better=False
)
BATCH = 1_000
TYPES, QUEUES = 20, 10
SCRAPES = 200
PAGE_TASKS = 100
PAGES = 200
DEEP_PAGE = 1_000
WALK_S_MAX = 300.0
"""For the walk to that page: a page in a third of a second is a broker that cannot be measured."""


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
            pages = await asyncio.to_thread(_pages, addresses["rest"], min(DEEP_PAGE, total // PAGE_TASKS))
    how = (
        f"{total:,} pending tasks of {TYPES} types in {QUEUES} queues; {SCRAPES} scrapes one after the other at the REST"
        f" port, a connection each; p50 {percentile(times_ms, 50):.1f} ms; the broker has nothing else to do"
    )
    deep = f"of {PAGE_TASKS} of {total:,} pending tasks, reached by {pages.number - 1:,} cursors; asked for {PAGES} times"
    return [
        Row(SCRAPE, percentile(times_ms, 99), how),
        Row(
            FIRST,
            percentile(pages.first_ms, 99),
            f"{PAGE_TASKS} of {total:,} pending tasks; asked for {PAGES} times",
        ),
        Row(DEEP, percentile(pages.deep_ms, 99), f"page {pages.number:,} {deep}"),
    ]


class _Pages(NamedTuple):
    """Times of the first page and of the one with this number."""

    first_ms: list[float]
    deep_ms: list[float]
    number: int


def _pages(address: str, number: int) -> _Pages:
    deadline = time.monotonic() + WALK_S_MAX
    connection = http.client.HTTPConnection(address, timeout=30)
    first_ms = [_page(connection, "")[0] for _ in range(PAGES)]
    cursor = ""
    for _ in range(number - 1):
        cursor = f"&cursor={_page(connection, cursor)[1]}"
        if time.monotonic() > deadline:
            raise TimeoutError(f"page {number} was not reached in {WALK_S_MAX:.0f} s")
    deep_ms = [_page(connection, cursor)[0] for _ in range(PAGES)]
    connection.close()
    return _Pages(first_ms, deep_ms, number)


def _page(connection: http.client.HTTPConnection, cursor: str) -> tuple[float, str]:
    """(milliseconds, the next cursor), over a connection that is kept."""
    start = time.perf_counter()
    connection.request("GET", f"/api/v1/tasks?status=pending&limit={PAGE_TASKS}{cursor}")
    body = connection.getresponse().read()
    took_ms = (time.perf_counter() - start) * 1000
    return took_ms, str(json.loads(body)["next_cursor"])


def _scrape_ms(address: str) -> float:
    start = time.perf_counter()
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=30) as answer:
        answer.read()
    return (time.perf_counter() - start) * 1000
