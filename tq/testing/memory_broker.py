"""A whole broker in a thread of this process: the real machine, engine and TCP door, on memory and a clock you move."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Self, TypeVar

from tq.broker.access import OpenAccess
from tq.broker.admission import Admission, Limits
from tq.broker.api.tcp import TcpDoor
from tq.broker.engine.backend import EngineSettings, NativeBackend
from tq.broker.feed import Feed
from tq.broker.observe import Observer
from tq.broker.replication.memory import MemoryLog
from tq.broker.service import Service
from tq.broker.storage.disk import DiskThread
from tq.broker.storage.memory import MemoryStore
from tq.client.durations import Duration, duration_ms
from tq.clock import ManualClock, SystemClock
from tq.errors import BrokerUnavailable

START_SECONDS = 10.0
CALL_SECONDS = 60.0
"""Longest wait for the broker's thread: it never waits for a disk, so this only bounds a defect."""
FEED_EVENTS = 1_000

T = TypeVar("T")


class MemoryBroker:
    """`with MemoryBroker() as broker: Client(broker.address)`.

    What it answers is what a real broker answers; it keeps nothing, and its time stands still until `advance`.
    May be used from any thread.
    """

    def __init__(self) -> None:
        # Wall time when made, so that schedules worked out from today's date mean what they say.
        self.clock = ManualClock(SystemClock().now_ms())
        self.address = ""
        """host:port, once started."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="tq-memory-broker", daemon=True)
        self._is_ready = threading.Event()
        self._failure: BaseException | None = None
        self._stop = asyncio.Event()
        self._backend: NativeBackend

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Return once it listens, on a port of the system's choice on 127.0.0.1. Raises what kept it from it."""
        self._thread.start()
        self._is_ready.wait(START_SECONDS)
        self._raise_failure()

    def stop(self) -> None:
        """Return once it is gone, with everything it held. Raises what it broke on, if it did."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(CALL_SECONDS)
        self._raise_failure()

    def advance(self, duration: Duration) -> None:
        """Let so much time pass at once: seconds, a timedelta, or text such as "90s", "5m", "2h".

        Returns once what fell due has been done: schedules, retries, time limits, expiries, retention.
        """
        ms = duration_ms(duration, "duration")

        async def pass_time() -> None:
            self.clock.advance(ms)
            await self._backend.catch_up()

        self._in_thread(pass_time())

    # ------------------------------------------------------------ inside

    def _run(self) -> None:
        """The thread."""
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._serve())
        except BaseException as error:  # noqa: BLE001  handed to whoever started or stops it
            self._failure = error
        finally:
            self._loop.close()
            self._is_ready.set()

    async def _serve(self) -> None:
        disk = DiskThread(self._loop, self._fatal)
        disk.start()
        feed = Feed(FEED_EVENTS)
        self._backend = backend = NativeBackend(
            MemoryStore(), MemoryLog(), disk, self.clock, self._loop, EngineSettings(), self._fatal, feed
        )
        # Connections live by real time: a test that moves the clock by a day has not been silent for a day.
        admission, observer = Admission(Limits()), Observer()
        service = Service(backend, OpenAccess(), admission, observer, self._fatal)
        door = TcpDoor(service, admission, observer, SystemClock(), node_id="memory")
        try:
            await backend.start()
            host, port = await door.open("127.0.0.1", 0)
            self.address = f"{host}:{port}"
            self._is_ready.set()
            await self._stop.wait()
        finally:
            door.stop_accepting()
            await backend.stop()
            door.say_goodbye(BrokerUnavailable("the test is over"))
            await door.cut()
            await disk.stop()

    def _fatal(self, error: BaseException) -> None:
        self._failure = self._failure or error
        self._stop.set()

    def _in_thread(self, work: Coroutine[Any, Any, T]) -> T:
        self._raise_failure()
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(CALL_SECONDS)

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure
