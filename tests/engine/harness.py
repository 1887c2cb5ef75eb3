"""A whole native backend on memory and a manual clock, driven through its port."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from tq.broker.backend import Backend, Peer
from tq.broker.engine.backend import EngineSettings, NativeBackend
from tq.broker.feed import Feed
from tq.broker.replication.memory import MemoryLog
from tq.broker.storage.disk import DiskThread
from tq.broker.storage.memory import MemoryStore
from tq.clock import ManualClock
from tq.errors import TqError
from tq.ids import new_id
from tq.task import TaskSpec
from tq.verbs import Deliver, Delivery, Push, Register, Reply, Request, Submit

Result = TypeVar("Result")
WAIT_SECONDS = 60.0
FEED_EVENTS = 1_000


class FakePeer:
    """A connection that keeps what is pushed to it."""

    def __init__(self) -> None:
        self.pushes: list[Push] = []
        self.dismissals: list[TqError] = []
        self._arrived = asyncio.Event()

    def push(self, push: Push) -> None:
        self.pushes.append(push)
        self._arrived.set()

    def dismiss(self, error: TqError) -> None:
        self.dismissals.append(error)

    async def next(self) -> Push:
        """The next push, taken off."""
        while not self.pushes:
            self._arrived.clear()
            await asyncio.wait_for(self._arrived.wait(), WAIT_SECONDS)
        return self.pushes.pop(0)

    async def delivered(self, count: int) -> list[Delivery]:
        """The next tasks, count of them, from as many Deliver pushes as it takes."""
        tasks: list[Delivery] = []
        while len(tasks) < count:
            push = await self.next()
            assert isinstance(push, Deliver), push
            tasks.extend(push.tasks)
        return tasks


class Engine:
    def __init__(
        self, store: MemoryStore, log: MemoryLog, clock: ManualClock, settings: EngineSettings
    ) -> None:
        self.store, self.log, self.clock = store, log, clock
        self.fatal: list[BaseException] = []
        loop = asyncio.get_running_loop()
        self.disk = DiskThread(loop, self.fatal.append)
        self.disk.start()
        self.feed = Feed(FEED_EVENTS)
        self.backend = NativeBackend(
            store, log, self.disk, clock, loop, settings, self.fatal.append, self.feed
        )
        self.peer = FakePeer()

    async def call(self, request: Request, peer: FakePeer | None = None) -> Reply:
        """The reply; raises the error it was answered with."""
        return await asyncio.wait_for(self.begin(request, peer), WAIT_SECONDS)

    def begin(self, request: Request, peer: FakePeer | None = None) -> asyncio.Future[Reply]:
        return begun(self.backend, peer or self.peer, request)

    async def submit(self, *specs: TaskSpec) -> list[bytes]:
        await self.call(Submit(specs))
        return [spec.task_id for spec in specs]

    async def worker(
        self,
        *,
        capacity: int = 1,
        types: tuple[str, ...] = ("echo",),
        session_id: bytes | None = None,
        holds: tuple[tuple[bytes, int], ...] = (),
        heartbeat_ms: int = 15_000,
    ) -> FakePeer:
        peer = FakePeer()
        await self.call(
            Register(session_id or new_id(), "w1", ("default",), types, capacity, holds, heartbeat_ms), peer
        )
        return peer

    async def stop(self) -> None:
        await self.backend.stop()
        await self.disk.stop()


def begun(backend: Backend, peer: Peer, request: Request) -> asyncio.Future[Reply]:
    """Its answer, when it has one; which is once."""
    future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()

    def answer(reply: Reply | TqError) -> None:
        assert not future.done(), "answered twice"
        if isinstance(reply, TqError):
            future.set_exception(reply)
        else:
            future.set_result(reply)

    backend.handle(peer, request, answer)
    return future


def with_engine(
    test: Callable[[Engine], Awaitable[Result]],
    *,
    store: MemoryStore | None = None,
    log: MemoryLog | None = None,
    settings: EngineSettings | None = None,
    clock: ManualClock | None = None,
) -> Result:
    """Run one async test against a started engine; nothing fatal may have happened at its end."""

    async def run() -> Result:
        engine = Engine(
            store or MemoryStore(), log or MemoryLog(), clock or ManualClock(), settings or EngineSettings()
        )
        await engine.backend.start()
        try:
            result = await test(engine)
        finally:
            await engine.stop()
        assert not engine.fatal, engine.fatal
        return result

    return asyncio.run(run())


def spec(task_type: str = "echo", payload: bytes = b"x", **fields: object) -> TaskSpec:
    return TaskSpec(new_id(), task_type, payload)._replace(**fields)  # type: ignore[arg-type]
