"""The core's events, brought to the event loop in batches.

A thread waits for the first event and hands it over; the loop then takes whatever else has come, itself, and only when
there is nothing left does the thread wait again. So a busy loop is not woken for every event, submits that come together
are begun in one turn of the loop and share an entry of the log, and the thread hardly ever competes for the interpreter.

While a prompt call is under way the thread is left asleep until the answer is out, or for HOLD_S: waking it would cost
the disk thread the interpreter just when it has an entry to write.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

from tq.broker.api.grpc import core
from tq.logs import get_logger

_log = get_logger("grpc")

HOLD_S = 0.001
"""The longest that events may lie because of an answer that is expected: an entry usually takes a quarter of that."""
EVENTS_PER_TURN_MAX = 64
"""Then the loop does what else there is to do, and goes on after that."""


class Events:
    """One queue and its thread. Made, used and closed on the event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.queue = core.completion_queue()
        self._is_taken = threading.Semaphore(0)
        self._is_answer_due = False
        self._held: asyncio.TimerHandle | None = None
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

    def hold(self) -> None:
        """An answer will be given soon."""
        self._is_answer_due = True

    def let_go(self) -> None:
        """It was given: to be called after `hold`, or for nothing."""
        self._is_answer_due = False
        if self._held is not None:
            self._held.cancel()
            self._held = None
            self._loop.call_soon(self._go_on)

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

    def _take(self, event: Any) -> None:
        if self._is_all_told(event):
            # A turn later what was begun is on its way, and may have come to something.
            self._wait_or(lambda: self._loop.call_soon(self._rest))

    def _rest(self) -> None:
        event = core.waiting_event(self.queue)
        if event is None:
            self._wait_or(self._is_taken.release)
        else:
            self._take(event)

    def _go_on(self) -> None:
        """After answers: what has come are ends of calls mostly, and new ones."""
        event = core.waiting_event(self.queue)
        if event is None or self._is_all_told(event):
            self._wait_or(self._is_taken.release)

    def _wait_or(self, rest: Callable[[], object]) -> None:
        """Leave the thread asleep if an answer will be given soon."""
        if self._is_answer_due:
            self._is_answer_due = False
            self._held = self._loop.call_later(HOLD_S, self.let_go)
        else:
            rest()

    def _is_all_told(self, event: Any) -> bool:
        """Tell this one and what comes after it; False when that was the last, or is too much for one turn."""
        for _ in range(EVENTS_PER_TURN_MAX):
            if core.is_end(event):
                self._end()
                return False
            self._tell(event)
            event = core.waiting_event(self.queue)
            if event is None:
                return True
        self._loop.call_soon(self._take, event)
        return False

    def _tell(self, event: Any) -> None:
        try:
            event.tag(event)
        except Exception as error:  # noqa: BLE001  the top of the loop; the other calls must go on
            _log.error("event_failed", "a defect in the gRPC door", exc_info=error)

    def _end(self) -> None:
        if not self._ended.done():
            self._ended.set_result(None)
        if self._held is not None:
            self._held.cancel()
            self._held = None
        # The thread may still wait to be told to go on: it will see the end itself.
        self._is_taken.release()
