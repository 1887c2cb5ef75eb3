"""What the broker hears of tasks while they run: heartbeats with load and progress, extended deadlines."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from contextlib import suppress
from itertools import islice

import psutil

from tq.clock import Clock
from tq.errors import LeaseLost
from tq.protocol.limits import BATCH_ITEMS_MAX
from tq.verbs import SETTLED_OK, Delivery, Extend, Heartbeat, Reply, Settled
from tq.worker.settler import Key, Wire


class Upkeep:
    """The Reporter of this process's tasks. `report_progress` and `request_extension` come from any thread, the rest
    runs on the main loop."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, clock: Clock, on_lost: Callable[[list[Key]], None]
    ) -> None:
        """on_lost: told which leases were found to be lost."""
        self._loop = loop
        self._clock = clock
        self._on_lost = on_lost
        self._wire: Wire | None = None
        self._progress: dict[bytes, tuple[int, str]] = {}
        self._deadlines: dict[Key, int] = {}
        self._process = psutil.Process(os.getpid())
        self._process.cpu_percent()  # the first call only sets the mark the next one measures from

    # ------------------------------------------------------------ from handlers, any thread

    def report_progress(self, delivery: Delivery, permille: int, text: str) -> None:
        self._progress[delivery.task_id] = (permille, text)

    def request_extension(self, delivery: Delivery, ms: int) -> None:
        with suppress(RuntimeError):  # the worker has gone, and an abandoned handler still runs
            self._loop.call_soon_threadsafe(self._extend, (delivery.task_id, delivery.token), ms)

    # ------------------------------------------------------------ on the main loop

    def connect(self, wire: Wire) -> None:
        """The session is registered over this link: repeat the deadlines that are to come."""
        self._wire = wire
        self._send_deadlines()

    def disconnect(self) -> None:
        self._wire = None

    def forget(self, key: Key) -> None:
        """This run has ended."""
        if self._progress:
            self._progress.pop(key[0], None)
        if self._deadlines:
            self._deadlines.pop(key, None)

    def beat(self, wire: Wire, running: int, deadline: float) -> asyncio.Future[Reply]:
        """Send one heartbeat, with the progress told since the last one. deadline: on the loop's clock."""
        told: list[tuple[bytes, int, str]] = []
        while self._progress and len(told) < BATCH_ITEMS_MAX:
            task_id, (permille, text) = self._progress.popitem()
            told.append((task_id, permille, text))
        return wire.request(
            Heartbeat(
                running,
                round(self._process.cpu_percent()),
                self._process.memory_info().rss,
                tuple(told),
            ),
            deadline,
        )

    def _extend(self, key: Key, ms: int) -> None:
        self._deadlines[key] = self._clock.monotonic_ms() + ms
        self._send_deadlines()

    def _send_deadlines(self) -> None:
        if self._wire is None or not self._deadlines:
            return
        now_ms = self._clock.monotonic_ms()
        sent = dict(islice(self._deadlines.items(), BATCH_ITEMS_MAX))
        items = tuple((*key, max(1, deadline_ms - now_ms)) for key, deadline_ms in sent.items())
        self._wire.request(Extend(items)).add_done_callback(lambda done: self._extended(sent, done))

    def _extended(self, sent: dict[Key, int], future: asyncio.Future[Reply]) -> None:
        if future.cancelled():
            return
        error = future.exception()
        if isinstance(error, LeaseLost):
            self._on_lost(list(sent))
        elif error is None:
            reply = future.result()
            assert isinstance(reply, Settled)
            for key, deadline_ms in sent.items():
                if self._deadlines.get(key) == deadline_ms:
                    del self._deadlines[key]
            lost = [key for key, code in zip(sent, reply.codes, strict=True) if code != SETTLED_OK]
            if lost:
                self._on_lost(lost)
        # Any other error: the deadlines stay noted and go out again with the next one, or after a reconnect.
