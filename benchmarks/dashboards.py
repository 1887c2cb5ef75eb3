"""What the dashboard costs: how soon its pages can be used over a million tasks, and what ten open ones take from a broker."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

from playwright.async_api import Page, Request, async_playwright

from benchmarks.harness import Lab, Row, Target, cpu_seconds_of, lab, median
from tq import AsyncClient, Task

INTERACTIVE = Target(
    "slowest dashboard page, 1,000,000 tasks stored", "s", must=1.0, aim=0.5, more_is_better=False
)
KEPT = Target("throughput beside ten open dashboards", "%", must=95, aim=98, more_is_better=True)
BATCH = 1_000
DEAD_SHARE = 5
"""One in so many of the stored tasks is a dead letter."""
LOADS = 3
DASHBOARDS = 10
RECORD_SECONDS = 20.0
PAIRS = 5
CONCURRENCY = 256
SUBMITTERS = 4
BACKLOG = 2_000
"""Tasks kept waiting for the worker, so that it never has to wait itself."""
EVENTS = "/api/v1/events?types=stats,worker_update"


async def measure(*, quick: bool) -> list[Row]:
    return [await _interactive(quick=quick), await _kept(quick=quick)]


# ---------------------------------------------------------------- how soon a page can be used


async def _interactive(*, quick: bool) -> Row:
    total = 100_000 if quick else 1_000_000
    with lab() as running:
        task_id = await _fill(running, total)
        paths = ["/", "/tasks", f"/tasks/{task_id}", "/workers", "/queues", "/dlq", "/cluster"]
        async with _tab() as page:
            await page.goto(_rest(running) + "/")
            took = {path: median([await _load(page, running, path) for _ in range(LOADS)]) for path in paths}
    slowest = max(took, key=lambda path: took[path])
    shown = ", ".join(f"{_name(path)} {seconds * 1000:.0f} ms" for path, seconds in took.items())
    note = f"; only {total:,} tasks (--quick)" if quick else ""
    how = f"from the address to the first data drawn, median of {LOADS} loads, files in the browser's cache; {shown}{note}"
    return Row(INTERACTIVE, took[slowest], how)


async def _fill(running: Lab, total: int) -> str:
    """Waiting tasks and dead letters: those depend on a task that was cancelled. The id of one that waits."""
    async with AsyncClient(running.address) as client:
        cancelled = await client.submit_task("noop")
        await client.cancel_task(cancelled)
        batches = iter(range(total // BATCH))

        async def submit() -> None:
            for number in batches:
                depends = (cancelled,) if number % DEAD_SHARE == 0 else ()
                await client.submit_tasks(
                    [
                        Task("noop", b"x" * 200, queue=f"queue-{number % 7}", dependencies=depends)
                        for _ in range(BATCH)
                    ]
                )

        await asyncio.gather(submit(), submit())
        return (await client.list_tasks(status="pending", limit=1)).tasks[0].task_id


async def _load(page: Page, running: Lab, path: str) -> float:
    """Seconds from the start of the navigation until `main` has drawn its data, by the browser's clock."""
    await page.goto(_rest(running) + path, wait_until="commit")
    ready = await page.wait_for_function(
        "() => document.querySelector('main[aria-busy=\"false\"]') ? performance.now() : 0"
    )
    return float(await ready.json_value()) / 1000


def _name(path: str) -> str:
    return "one task" if path.startswith("/tasks/") else path


# ---------------------------------------------------------------- what open dashboards take


class Call(NamedTuple):
    """What the overview asks for, and how often in a second."""

    path: str
    rate: float


async def _kept(*, quick: bool) -> Row:
    seconds = 3.0 if quick else 8.0
    with lab() as running:
        running.start_worker(concurrency=CONCURRENCY)
        async with AsyncClient(running.address) as client:
            await client.wait_for_result(await client.submit_task("noop"), timeout=30)
            calls = await _recorded(running)
            load = asyncio.ensure_future(_load_on(client))
            try:
                pairs = [await _pair(running, client, calls, seconds) for _ in range(PAIRS)]
            finally:
                load.cancel()
                await asyncio.gather(load, return_exceptions=True)
    kept = median([100 * beside.rate / alone.rate for alone, beside in pairs])
    alone = median([one.rate for one, _ in pairs])
    cpu = median([100 * (b.cpu_per_task / a.cpu_per_task - 1) for a, b in pairs])
    a_second = sum(call.rate for call in calls)
    how = (
        f"no-op tasks completed, {PAIRS} times {seconds:.0f} s without and with; alone {alone:,.0f}/s; broker CPU a task "
        f"{cpu:+.1f} %; each of {DASHBOARDS} is the live feed and the {a_second:.1f} calls a second that an overview in "
        f"Chromium was seen to make, replayed without one, for the machine's cores are shared"
    )
    return Row(KEPT, kept, how)


class Window(NamedTuple):
    rate: float
    cpu_per_task: float


async def _pair(
    running: Lab, client: AsyncClient, calls: list[Call], seconds: float
) -> tuple[Window, Window]:
    """(alone, beside them): the half before them and the half after them, so that a drift of the machine cancels out."""
    before = await _window(running, client, seconds / 2)
    async with _dashboards(running, calls):
        beside = await _window(running, client, seconds)
    after = await _window(running, client, seconds / 2)
    return Window((before.rate + after.rate) / 2, (before.cpu_per_task + after.cpu_per_task) / 2), beside


async def _window(running: Lab, client: AsyncClient, seconds: float) -> Window:
    before, cpu, start = (
        (await client.stats()).completed_count,
        cpu_seconds_of(running.broker),
        time.monotonic(),
    )
    await asyncio.sleep(seconds)
    done = (await client.stats()).completed_count - before
    passed = time.monotonic() - start
    return Window(done / passed, (cpu_seconds_of(running.broker) - cpu) / done)


async def _load_on(client: AsyncClient) -> None:
    """Keep a backlog before the worker, until cancelled."""

    async def submit() -> None:
        while True:
            if (await client.stats()).pending_count < BACKLOG:
                await client.submit_tasks([Task("noop", b"x" * 200) for _ in range(BATCH)])

    await asyncio.gather(*(submit() for _ in range(SUBMITTERS)))


async def _recorded(running: Lab) -> list[Call]:
    """The calls of one overview that is left open, as a browser makes them."""
    seen: dict[str, int] = {}
    async with _tab() as page:
        await page.goto(_rest(running) + "/")
        await page.wait_for_function("() => document.body.dataset.live === 'live'")

        def note(request: Request) -> None:
            path = request.url.removeprefix(_rest(running))
            seen[path] = seen.get(path, 0) + 1

        page.on("request", note)
        await asyncio.sleep(RECORD_SECONDS)
    return [Call(path, count / RECORD_SECONDS) for path, count in seen.items() if path.startswith("/api/")]


@asynccontextmanager
async def _dashboards(running: Lab, calls: list[Call]) -> AsyncIterator[None]:
    """Ten of them, in a process of their own."""
    arguments = [f"{call.path}={call.rate}" for call in calls]
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.dashboards", _rest(running), *arguments),
        stdout=asyncio.subprocess.PIPE,
    )
    assert child.stdout is not None
    try:
        await asyncio.wait_for(child.stdout.readline(), 30)
        yield
    finally:
        child.terminate()
        await child.wait()


async def _replay(origin: str, calls: list[Call]) -> None:
    """The process: every dashboard listens, and asks each of its calls as often as it was seen to."""
    import httpx
    import websockets

    async def listen() -> None:
        async with websockets.connect(origin.replace("http", "ws", 1) + EVENTS, proxy=None) as socket:
            async for _ in socket:
                pass

    async def ask(http: httpx.AsyncClient, call: Call, offset: float) -> None:
        await asyncio.sleep(offset / call.rate)
        while True:
            (await http.get(call.path)).raise_for_status()
            await asyncio.sleep(1 / call.rate)

    async with httpx.AsyncClient(base_url=origin, trust_env=False) as http:
        works = [listen() for _ in range(DASHBOARDS)]
        works += [ask(http, call, number / DASHBOARDS) for number in range(DASHBOARDS) for call in calls]
        print("open", flush=True)
        await asyncio.gather(*works)


# ---------------------------------------------------------------- the browser


@asynccontextmanager
async def _tab() -> AsyncIterator[Page]:
    path = shutil.which("chromium")
    assert path, "this measure needs Chromium; `make chromium` installs it"
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=[*sandbox, "--disable-gpu"])
        yield await browser.new_page()
        await browser.close()


def _rest(running: Lab) -> str:
    addresses = running.broker.wait_for_event("ready")["addresses"]
    assert isinstance(addresses, dict)
    return f"http://{addresses['rest']}"


def main() -> None:
    origin, *calls = sys.argv[1:]
    split = [call.rpartition("=") for call in calls]
    asyncio.run(_replay(origin, [Call(path, float(rate)) for path, _, rate in split]))


if __name__ == "__main__":
    main()
