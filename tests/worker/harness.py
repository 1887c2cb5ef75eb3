"""A worker and its broker double, together on one loop, for the length of a test."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from time import monotonic
from typing import TypeVar

import uvloop

from tests.worker.broker_double import WAIT_S, BrokerDouble
from tq.client.routing import parse_addresses
from tq.clock import Clock
from tq.verbs import Register
from tq.worker.app import App
from tq.worker.runtime import Worker, WorkerOptions
from tq.worker.uplink import Dialing

T = TypeVar("T")
LOOK_S, LOOK_S_MAX = 0.01, 0.05
"""Between two looks at something that tells nobody; and how long it takes at most while this process is at work."""


def run(work: Coroutine[object, object, T]) -> T:
    """Run an async test to its end, for at most two waits."""

    async def bounded() -> T:
        async with asyncio.timeout(2 * WAIT_S):
            return await work

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(bounded())


class Bench:
    """broker: what the worker talks to. worker: the one under test. ended: its exit code, when it has one."""

    def __init__(self, broker: BrokerDouble, worker: Worker, ended: asyncio.Task[int]) -> None:
        self.broker = broker
        self.worker = worker
        self.ended = ended

    async def exit_code(self) -> int:
        async with asyncio.timeout(WAIT_S):
            return await asyncio.shield(self.ended)


@asynccontextmanager
async def bench(
    app: App,
    options: WorkerOptions | None = None,
    broker: BrokerDouble | None = None,
    clock: Clock | None = None,
) -> AsyncIterator[Bench]:
    """A registered worker. It is told to hand back at the end, and must end. clock: None = the machine's."""
    broker = broker or BrokerDouble()
    address = await broker.start()
    dialing = Dialing(parse_addresses(address), "", None)
    worker = Worker(app, options or WorkerOptions(), dialing, clock=clock, rng=random.Random(7))
    ended = asyncio.get_running_loop().create_task(worker.run())
    try:
        await broker.until(lambda: bool(broker.of_type(Register)))
        yield Bench(broker, worker, ended)
    finally:
        broker.settle_gate.set()
        worker.hand_back()
        async with asyncio.timeout(WAIT_S):
            await ended
        await broker.stop()


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what other threads or processes do; nothing there can set an event here."""
    loop = asyncio.get_running_loop()
    done = loop.create_future()

    def look() -> None:
        if done.done():
            return
        if condition():
            done.set_result(None)
        else:
            loop.call_later(LOOK_S, look)

    look()
    async with asyncio.timeout(WAIT_S):
        await done


async def seconds_of(waiting: Awaitable[T]) -> tuple[T, float]:
    """The result, and how long it took. While this process stands still, as on a busy machine, no time passes."""
    with _Stopwatch() as watch:
        result = await waiting
    return result, watch.seconds


class _Stopwatch:
    """Time as a thread sees it that looks at the clock again and again: what it does not see is little of it."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._count, name="stopwatch")

    def __enter__(self) -> _Stopwatch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    def _count(self) -> None:
        seen, is_over = monotonic(), False
        while not is_over:
            is_over = self._is_over.wait(LOOK_S)
            now = monotonic()
            self.seconds += min(now - seen, LOOK_S_MAX)
            seen = now
