"""Dashboards without a browser: each listens to the feed and asks for what its page was seen to ask for.

    python -m benchmarks.dashboard_replay ORIGIN 'PATH=RATE PATH=RATE ...' ...

One argument for each dashboard. Prints `open` once all of them are, and goes on until it is ended.
"""

from __future__ import annotations

import asyncio
import sys

import httpx
import uvloop
import websockets

EVENTS = "/api/v1/events?types=stats,worker_update"


async def replay(origin: str, dashboards: list[dict[str, float]]) -> None:
    """dashboards: path -> calls a second, for each of them."""
    async with httpx.AsyncClient(base_url=origin, trust_env=False) as http:
        await http.get("/api/v1/me")
        works = [_listen(origin) for _ in dashboards]
        for number, calls in enumerate(dashboards):
            # Spread over the time between two calls, as visitors are who came at different times.
            late = number / len(dashboards)
            works += [_ask(http, path, rate, late) for path, rate in calls.items()]
        print("open", flush=True)
        await asyncio.gather(*works)


async def _listen(origin: str) -> None:
    # Chromium offers compression too; the broker declines.
    async with websockets.connect(origin.replace("http", "ws", 1) + EVENTS, proxy=None) as socket:
        async for _ in socket:
            pass


async def _ask(http: httpx.AsyncClient, path: str, rate: float, late: float) -> None:
    await asyncio.sleep(late / rate)
    while True:
        (await http.get(path)).raise_for_status()
        await asyncio.sleep(1 / rate)


def main() -> None:
    origin, *dashboards = sys.argv[1:]
    uvloop.run(replay(origin, [_calls(text) for text in dashboards]))


def _calls(text: str) -> dict[str, float]:
    split = [call.rpartition("=") for call in text.split()]
    return {path: float(rate) for path, _, rate in split}


if __name__ == "__main__":
    main()
