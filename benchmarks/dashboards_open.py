"""What ten open dashboards take from a broker: no-op tasks completed without them and beside them.

The calls are those that a dashboard in Chromium is seen to make while the broker works, page by page. They are made by a
process without a browser: ten Chromiums would share the machine's cores with the broker, which on two cores says more
about Chromium than about the broker.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import NamedTuple

from playwright.async_api import Browser, Request

from benchmarks.dashboards import chromium, origin
from benchmarks.harness import Lab, Row, Target, cpu_seconds_of, lab, median
from tq import AsyncClient, Task

OVERVIEWS = Target("throughput beside ten open overviews", "%", must=95, aim=98, more_is_better=True)
MIXED = Target("throughput beside ten dashboards on all pages", "%", must=95, aim=98, more_is_better=True)
DASHBOARDS = 10
PAGES = ("/", "/tasks", "/workers", "/queues", "/dlq", "/cluster")
RECORD_S, RECORD_S_QUICK = 24.0, 12.0
"""How long a page is watched: what it reads most seldom, it reads every 20 s."""
PAIRS, PAIRS_QUICK = 9, 4
WINDOW_S = 4.0
CONCURRENCY = 256
SUBMITTERS = 4
BATCH = 1_000
BACKLOG = 5_000
"""Tasks kept waiting for the worker, so that it never has to wait itself."""
OPEN_S_MAX = 30.0


class Call(NamedTuple):
    """What a page asks for, and how often in a second."""

    path: str
    rate: float


async def measure_overviews(*, quick: bool) -> list[Row]:
    return [await _kept(OVERVIEWS, ("/",), quick=quick)]


async def measure_mixed(*, quick: bool) -> list[Row]:
    return [await _kept(MIXED, PAGES, quick=quick)]


async def _kept(target: Target, pages: tuple[str, ...], *, quick: bool) -> Row:
    with lab() as running:
        running.start_worker(concurrency=CONCURRENCY)
        async with AsyncClient(running.address) as client:
            await client.wait_for_result(await client.submit_task("noop"), timeout=30)
            load = asyncio.ensure_future(_load_on(client))
            try:
                calls = await _recorded(running, pages, RECORD_S_QUICK if quick else RECORD_S)
                pairs = [await _pair(running, client, calls) for _ in range(PAIRS_QUICK if quick else PAIRS)]
            finally:
                load.cancel()
                await asyncio.gather(load, return_exceptions=True)
            idle = await _idle(running, client, calls)
    kept = [100 * beside.rate / alone.rate for alone, beside in pairs]
    cpu = [100 * (beside.cpu_per_task / alone.cpu_per_task - 1) for alone, beside in pairs]
    return Row(target, median(kept), _how(pages, calls, pairs, kept, cpu, idle))


def _how(
    pages: tuple[str, ...],
    calls: dict[str, list[Call]],
    pairs: list[tuple[Window, Window]],
    kept: list[float],
    cpu: list[float],
    idle: float,
) -> str:
    a_second = ", ".join(f"{page} {sum(call.rate for call in calls[page]):.2g}" for page in pages)
    return (
        f"no-op tasks completed, median of {len(pairs)} times {WINDOW_S:g} s beside them against {WINDOW_S:g} s without "
        f"(half before, half after); pairs from {min(kept):.1f} to {max(kept):.1f} %; alone "
        f"{median([alone.rate for alone, _ in pairs]):,.0f}/s; broker CPU a task {median(cpu):+.1f} %; of a broker that does "
        f"nothing else they take {idle:.1f} % of a core; each is the live feed and the calls a second that its page in "
        f"Chromium was seen to make ({a_second}), replayed without a browser"
    )


# ---------------------------------------------------------------- with and without


class Window(NamedTuple):
    rate: float
    cpu_per_task: float


async def _pair(running: Lab, client: AsyncClient, calls: dict[str, list[Call]]) -> tuple[Window, Window]:
    """(alone, beside them): the half before them and the half after them, so that a drift of the machine cancels out."""
    before = await _window(running, client, WINDOW_S / 2)
    async with _dashboards(running, calls):
        beside = await _window(running, client, WINDOW_S)
    after = await _window(running, client, WINDOW_S / 2)
    return Window((before.rate + after.rate) / 2, (before.cpu_per_task + after.cpu_per_task) / 2), beside


async def _window(running: Lab, client: AsyncClient, seconds: float) -> Window:
    before = (await client.stats()).completed_count
    cpu, start = cpu_seconds_of(running.broker), time.monotonic()
    await asyncio.sleep(seconds)
    done = (await client.stats()).completed_count - before
    passed = time.monotonic() - start
    return Window(done / passed, (cpu_seconds_of(running.broker) - cpu) / done)


async def _idle(running: Lab, client: AsyncClient, calls: dict[str, list[Call]]) -> float:
    """Percent of a core that they take of a broker that is asked for nothing else: what noise cannot hide."""
    while (await client.stats()).pending_count:  # noqa: ASYNC110  what is left of the load
        await asyncio.sleep(0.1)

    async def used() -> float:
        before = cpu_seconds_of(running.broker)
        await asyncio.sleep(2 * WINDOW_S)
        return (cpu_seconds_of(running.broker) - before) / (2 * WINDOW_S)

    alone = await used()
    async with _dashboards(running, calls):
        return 100 * (await used() - alone)


async def _load_on(client: AsyncClient) -> None:
    """Keep a backlog before the worker, until cancelled."""

    async def submit() -> None:
        while True:
            if (await client.stats()).pending_count < BACKLOG:
                await client.submit_tasks([Task("noop", b"x" * 200) for _ in range(BATCH)])

    await asyncio.gather(*(submit() for _ in range(SUBMITTERS)))


# ---------------------------------------------------------------- what a page asks for


async def _recorded(running: Lab, pages: tuple[str, ...], seconds: float) -> dict[str, list[Call]]:
    """The calls of each page when it is left open, as a browser makes them."""
    seen: dict[str, dict[str, int]] = {page: {} for page in pages}
    async with chromium() as browser:
        stops = [await _watch(browser, origin(running), page, seen[page]) for page in pages]
        for counts in seen.values():
            counts.clear()
        await asyncio.sleep(seconds)
        for stop in stops:
            stop()
    return {
        page: [Call(path, count / seconds) for path, count in counts.items()] for page, counts in seen.items()
    }


async def _watch(browser: Browser, at: str, page: str, counts: dict[str, int]) -> Callable[[], None]:
    """Open a page in a tab of its own and count its calls; what ends the counting."""
    tab = await (await browser.new_context()).new_page()

    def note(request: Request) -> None:
        path = request.url.removeprefix(at)
        if path.startswith("/api/"):
            counts[path] = counts.get(path, 0) + 1

    tab.on("request", note)
    await tab.goto(at + page)
    await tab.wait_for_function("() => document.body.dataset.live === 'live'")
    return lambda: tab.remove_listener("request", note)


# ---------------------------------------------------------------- ten of them


@asynccontextmanager
async def _dashboards(running: Lab, calls: dict[str, list[Call]]) -> AsyncIterator[None]:
    """Ten of them, in a process of their own."""
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.dashboard_replay", origin(running), *_spread(calls)),
        stdout=asyncio.subprocess.PIPE,
    )
    assert child.stdout is not None
    try:
        await asyncio.wait_for(child.stdout.readline(), OPEN_S_MAX)
        yield
    finally:
        child.terminate()
        await child.wait()


def _spread(calls: dict[str, list[Call]]) -> list[str]:
    """One argument a dashboard: its calls as path=rate, with spaces between them."""
    pages = list(calls)
    return [
        " ".join(f"{call.path}={call.rate}" for call in calls[pages[number % len(pages)]])
        for number in range(DASHBOARDS)
    ]
