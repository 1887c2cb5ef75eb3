"""The core's events, brought to the event loop in batches.

A thread waits for the first event and hands it over; the loop then takes whatever else has come, itself, and only when
there is nothing left does the thread wait again. So a busy loop is not woken for every event, submits that come together
are begun in one turn of the loop and share an entry of the log, and the thread hardly ever competes for the interpreter.
"""

from __future__ import annotations

import asyncio
import threading
from typing import Any

from tq.broker.api.grpc import core
from tq.logs import get_logger

_log = get_logger("grpc")

EVENTS_PER_TURN_MAX = 64
"""Then the loop does what else there is to do, and goes on after that."""


class Events:
    """One queue and its thread. Made, used and closed on the event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.queue = core.completion_queue()
        self._is_taken = threading.Semaphore(0)
        self._ended: asyncio.Future[None] = loop.create_future()
        self._thread = threading.Thread(target=self._wait, name="grpc-events", daemon=True)
        self._thread.start()

    def look(self) -> None:
        """Take an event that has come already, for somebody who would otherwise wait for it: no turn, no wake-up."""
        event = core.waiting_event(self.queue)
        if event is None:
            return
        if core.is_end(event):
            self._end()
        else:
            self._tell(event)

    async def close(self) -> None:
        """Once every server of the queue has stopped: end the thread."""
        self.queue.shutdown()
        await self._ended
        self._thread.join()

    def _wait(self) -> None:
        """On the thread."""
        while True:
            event = core.next_event(self.queue)
            is_end = core.is_end(event)
            try:
                self._loop.call_soon_threadsafe(self._take, event)
            except RuntimeError:
                return  # the loop was closed under us: nobody is left to be told anything
            if is_end:
                return
            del event
            self._is_taken.acquire()

    def _take(self, event: Any | None) -> None:
        for _ in range(EVENTS_PER_TURN_MAX):
            if event is None:
                self._loop.call_soon(self._rest)
                return
            if core.is_end(event):
                self._end()
                return
            self._tell(event)
            event = core.waiting_event(self.queue)
        self._loop.call_soon(self._take, event)

    def _tell(self, event: Any) -> None:
        try:
            event.tag(event)
        except Exception as error:  # noqa: BLE001  the top of the loop; the other calls must go on
            _log.error("event_failed", "a defect in the gRPC door", exc_info=error)

    def _rest(self) -> None:
        """A turn later: what was begun is on its way, and the thread may have the interpreter to go and wait again."""
        event = core.waiting_event(self.queue)
        if event is None:
            self._is_taken.release()
        else:
            self._take(event)

    def _end(self) -> None:
        if not self._ended.done():
            self._ended.set_result(None)
        # The thread may still wait to be told to go on: it will see the end itself.
        self._is_taken.release()
