"""How soon each page of the dashboard can be used while a million tasks are stored, from a browser that was never there."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import NamedTuple
from urllib.parse import urlencode

import httpx
from playwright.async_api import Browser, async_playwright

from benchmarks.harness import Lab, Row, Target, lab, median
from lab.processes import Process, start_worker
from tq import AsyncClient, Task

INTERACTIVE = Target(
    "slowest dashboard page, 1,000,000 tasks stored", "s", must=1.0, aim=0.5, more_is_better=False
)
TASKS, TASKS_QUICK = 1_000_000, 100_000
BATCH = 1_000
QUEUES, TYPES = 20, 5
"""A hundred pairs of queue and type, over which the tasks are spread."""
LOADS = 3
RUNNING = 20
"""Tasks that a worker runs meanwhile."""
SERVED = "served"
"""The queue that has a worker."""
RAN_S_MAX = 100.0
PAYLOAD = b"x" * 200


async def measure(*, quick: bool) -> list[Row]:
    """The row of the slowest page; the others are told beside it."""
    total = TASKS_QUICK if quick else TASKS
    with lab() as running, _worker(running):
        await _fill(running, total)
        paths = await _paths(running)
        async with chromium() as browser:
            await _load(browser, running, "/")  # the browser's own first page
            took = {name: [await _load(browser, running, path) for _ in range(LOADS)] for name, path in paths}
            group = f"/dlq?group={await _largest_group(running)}"
            took["dead letters, one group"] = [await _load(browser, running, group) for _ in range(LOADS)]
    middle = {name: median(seconds) for name, seconds in took.items()}
    slowest = max(middle, key=lambda name: middle[name])
    shown = ", ".join(f"{name} {seconds * 1000:.0f} ms" for name, seconds in middle.items())
    worst = max(max(seconds) for seconds in took.values())
    note = f"; only {total:,} tasks (--quick)" if quick else ""
    how = (
        f"from the address to the first data drawn, median of {LOADS} loads, nothing in the browser's cache; "
        f"{shown}; slowest single load {worst * 1000:.0f} ms{note}"
    )
    return [Row(INTERACTIVE, middle[slowest], how)]


# ---------------------------------------------------------------- what is stored


class Share(NamedTuple):
    """What becomes of one in ten batches."""

    waits: int = 6
    scheduled: int = 1
    dead: int = 2
    ran: int = 1


SHARE = Share()


def _worker(running: Lab) -> Process:
    """A tq-worker with its built-in handlers, for one queue only."""
    arguments = ("--queues", SERVED, "--concurrency", "200")
    return start_worker(running.directory, running.address, *arguments)


async def _fill(running: Lab, total: int) -> None:
    """Tasks of every sort: waiting, scheduled, completed, running, and dead of handlers and of dependencies."""
    async with AsyncClient(running.address) as client:
        cancelled = [await client.submit_task("echo") for _ in range(total // BATCH)]
        for task_id in cancelled:
            await client.cancel_task(task_id)
        batches = enumerate(_batches(total, cancelled))

        async def submit() -> None:
            for _, tasks in batches:
                await client.submit_tasks(tasks)

        await asyncio.gather(submit(), submit())
        # The last of its queue: when it is done, all before it are, too.
        await client.wait_for_result(await _last(client), timeout=RAN_S_MAX)
        await client.submit_tasks([Task("sleep", b"600", queue=SERVED) for _ in range(RUNNING)])
        await client.wait_for_result(await _last(client), timeout=RAN_S_MAX)


async def _last(client: AsyncClient) -> str:
    return await client.submit_task("echo", queue=SERVED, priority=0)


def _batches(total: int, cancelled: list[str]) -> Iterator[list[Task]]:
    turn = sum(SHARE)
    for number in range(total // BATCH):
        queue, place = f"queue-{number // turn % QUEUES}", number % turn
        if place < SHARE.waits:
            yield [Task(_type(n), PAYLOAD, queue=queue, priority=n % 256) for n in range(BATCH)]
        elif place < SHARE.waits + SHARE.scheduled:
            yield [Task(_type(n), PAYLOAD, queue=queue, delay="6h") for n in range(BATCH)]
        elif place < SHARE.waits + SHARE.scheduled + SHARE.dead:
            dead = (cancelled[number],)
            yield [Task(_type(n), PAYLOAD, queue=queue, dependencies=dead) for n in range(BATCH)]
        else:
            yield [_ran(n) for n in range(BATCH)]


def _type(number: int) -> str:
    return f"type-{number % TYPES}"


def _ran(number: int) -> Task:
    """One that is done, or one that fails with a text of its own."""
    if number % 2:
        return Task("echo", PAYLOAD, queue=SERVED)
    error = f"ConnectionError: host-{number} did not answer within {number} ms (request {number:032x})"
    return Task("fail", error.encode(), queue=SERVED, max_retries=0)


async def _paths(running: Lab) -> list[tuple[str, str]]:
    """(name, address) of every page, and of what can be asked of the long ones."""
    async with AsyncClient(running.address) as client:
        waiting = (await client.list_tasks(status="pending", limit=1)).tasks[0].task_id
        dead = (await client.list_tasks(status="dead_letter", queue=SERVED, limit=1)).tasks[0].task_id
        listed = await client.list_tasks(limit=1)
    middle = {"cursor": str(listed.total // 2)}
    some = {"status": "pending", "queue": "queue-3", "task_type": "type-2"}
    asked = {
        "tasks": {},
        "tasks, oldest first": {"sort": "created"},
        "tasks, in the middle": middle,
        "tasks, three filters": some,
        "tasks, by type": {"task_type": "type-4"},
        "tasks, dead": {"status": "dead_letter"},
        "tasks, by priority": {**some, "sort": "-priority"},
    }
    return [
        ("overview", "/"),
        *((name, f"/tasks?{urlencode(query)}") for name, query in asked.items()),
        ("task that waits", f"/tasks/{waiting}"),
        ("task that failed", f"/tasks/{dead}"),
        ("workers", "/workers?worker=worker"),
        ("queues", "/queues"),
        ("dead letters", "/dlq"),
        ("cluster", "/cluster"),
    ]


async def _largest_group(running: Lab) -> str:
    async with httpx.AsyncClient(base_url=origin(running), trust_env=False) as http:
        groups = (await http.get("/api/v1/dead-letters")).json()["groups"]
    return str(groups[0]["fingerprint"])


# ---------------------------------------------------------------- the browser


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """Debian's Chromium without a window."""
    path = shutil.which("chromium")
    assert path, "this measure needs Chromium; `make chromium` installs it"
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=[*sandbox, "--disable-gpu"])
        yield browser
        await browser.close()


async def _load(browser: Browser, running: Lab, path: str) -> float:
    """Seconds from the start of the navigation until `main` has drawn its data, by the browser's clock."""
    context = await browser.new_context()
    page = await context.new_page()
    await page.goto(origin(running) + path, wait_until="commit")
    ready = await page.wait_for_function(
        "() => document.querySelector('main[aria-busy=\"false\"]') ? performance.now() : 0"
    )
    seconds = float(await ready.json_value()) / 1000
    assert not await page.query_selector("[data-test=error]"), f"{path} shows an error"
    await context.close()
    return seconds


def origin(running: Lab) -> str:
    """Where the broker serves HTTP."""
    addresses = running.broker.wait_for_event("ready")["addresses"]
    assert isinstance(addresses, dict)
    return f"http://{addresses['rest']}"
