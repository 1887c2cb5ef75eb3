"""A worker and its broker double, together on one loop, for the length of a test."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import TypeVar

import uvloop

from tests.worker.broker_double import WAIT_S, BrokerDouble
from tq.client.routing import parse_addresses
from tq.verbs import Register
from tq.worker.app import App
from tq.worker.runtime import Worker, WorkerOptions
from tq.worker.uplink import Dialing

T = TypeVar("T")
LOOK_S = 0.01


def run(work: Coroutine[object, object, T]) -> T:
    """Run an async test to its end, at most a minute."""

    async def bounded() -> T:
        async with asyncio.timeout(60):
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
    app: App, options: WorkerOptions | None = None, broker: BrokerDouble | None = None
) -> AsyncIterator[Bench]:
    """A registered worker. It is told to hand back at the end, and must end."""
    broker = broker or BrokerDouble()
    address = await broker.start()
    worker = Worker(
        app, options or WorkerOptions(), Dialing(parse_addresses(address), "", None), rng=random.Random(7)
    )
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
    """The result, and how long it took."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    return await waiting, loop.time() - began
