"""Handlers in threads of the worker's own, made when needed, one run at a time each.

Python cannot kill a thread. One that must stop sees `ctx.cancelled` at once, gets Stopped thrown into it a little
later, which ends a loop of Python code, and when it sits in a blocking call is abandoned: it is a daemon thread that
takes no more work, and gets Stopped when the call returns; a new thread takes its place.
"""

from __future__ import annotations

import asyncio
import threading
from contextvars import copy_context
from queue import SimpleQueue

from tq.logs import get_logger
from tq.worker.app import App
from tq.worker.control import Stopped
from tq.worker.ending import RELEASED, Ending
from tq.worker.invoke import invoke_sync
from tq.worker.lanes.interrupt import Pulse, receive_stopped
from tq.worker.lanes.lane import INTERRUPT_AFTER_S, Finished
from tq.worker.lanes.mailbox import Mailbox
from tq.worker.run import Run

log = get_logger("worker")

LOOK_AGAIN_S = 0.1
"""How often a thread that sits in a blocking call is looked at; a call that returned must not go on for long."""
NOT_STARTED = Ending(RELEASED, error="stopped before it started", delay_ms=0)


class ThreadLane:
    """Threads are bounded by the runs under way plus the abandoned, which the consumer bounds."""

    def __init__(self, app: App, loop: asyncio.AbstractEventLoop, finished: Finished) -> None:
        self._app = app
        self._loop = loop
        self._finished = finished
        self._mailbox = Mailbox(loop, self._on_finished)
        self._waiting: SimpleQueue[Run | None] = SimpleQueue()
        self._threads: set[LaneThread] = set()
        self._under_way = 0
        self._abandoned: set[LaneThread] = set()
        self._is_closed = False

    @property
    def abandoned(self) -> int:
        return len(self._abandoned)

    async def open(self) -> None:
        """Threads come with the first runs."""

    def start(self, run: Run) -> None:
        self._under_way += 1
        self._waiting.put(run)
        if self._under_way > len(self._threads):
            self._add_thread()

    def stop(self, run: Run) -> None:
        if isinstance(run.vehicle, LaneThread):
            run.vehicle.feel_pulse()
        self._loop.call_later(INTERRUPT_AFTER_S, self._interrupt, run)

    def abandon(self, run: Run) -> None:
        self._under_way -= 1
        thread = run.vehicle
        if isinstance(thread, LaneThread) and thread.retire(run):
            self._threads.discard(thread)
            self._abandoned.add(thread)
            if self._under_way > len(self._threads):
                self._add_thread()

    async def close(self) -> None:
        self._is_closed = True
        for _ in self._threads:
            self._waiting.put(None)

    def _interrupt(self, run: Run) -> None:
        """Throw the handler out of its thread; look again later when it sits in a call that cannot be interrupted.

        Also for an abandoned one: it must not go on with its work when its call returns at last.
        """
        thread = run.vehicle
        if not isinstance(thread, LaneThread) or not thread.is_at(run) or self._is_closed:
            return
        if not thread.interrupt(run):
            self._loop.call_later(LOOK_AGAIN_S, self._interrupt, run)

    def _on_finished(self, run: Run, ending: Ending) -> None:
        if not run.ended:
            self._under_way -= 1
        elif isinstance(run.vehicle, LaneThread):
            self._abandoned.discard(run.vehicle)
        self._finished(run, ending)

    def _add_thread(self) -> None:
        thread = LaneThread(self._app, self._waiting, self._mailbox)
        try:
            thread.start()
        except RuntimeError as error:
            # The system gives no more threads. The run waits for one that comes free; the next start tries again.
            log.error("thread_refused", f"cannot start a thread: {error}", threads=len(self._threads))
            return
        self._threads.add(thread)


class LaneThread(threading.Thread):
    """Takes runs until it is retired.

    `_guard` decides between a run that ends and a Stopped that is thrown at it: it is thrown only while `_run` is
    that run, and after one was thrown the run does not leave before none can arrive any more.
    """

    def __init__(self, app: App, waiting: SimpleQueue[Run | None], mailbox: Mailbox) -> None:
        super().__init__(name="tq-lane", daemon=True)
        self._app = app
        self._waiting = waiting
        self._mailbox = mailbox
        self._guard = threading.Lock()
        self._run: Run | None = None
        self._was_thrown_at = False
        self._is_retired = False
        self._pulse: Pulse | None = None

    def run(self) -> None:
        self._pulse = Pulse()
        while not self._is_retired:
            run = self._waiting.get()
            if run is None:
                return
            self._mailbox.post(run, self._attempt(run))

    def is_at(self, run: Run) -> bool:
        """Does it run this?"""
        return self._run is run

    def feel_pulse(self) -> None:
        """What it runs from now on is what `interrupt` goes by."""
        if self._pulse is not None:
            self._pulse.has_beaten()

    def interrupt(self, run: Run) -> bool:
        """Throw Stopped into the handler if it still runs this. False: it sits in a blocking call."""
        with self._guard:
            if self._run is not run or self._pulse is None:
                return True
            if not self._pulse.has_beaten():
                return False
            self._was_thrown_at = True
            self._pulse.throw_stopped()
            return True

    def retire(self, run: Run) -> bool:
        """Take no more work after this run. False when the run has ended meanwhile."""
        with self._guard:
            self._is_retired = self._run is run
            return self._is_retired

    def _attempt(self, run: Run) -> Ending:
        ending = NOT_STARTED
        try:
            with self._guard:
                run.vehicle = self
                self._run = run
            if not run.context.cancelled:
                # A copy, so that what a handler sets in its context ends with it.
                ending = copy_context().run(
                    invoke_sync, self._app, run.definition, run.context, run.delivery.payload
                )
        except Stopped:
            pass  # it arrived between the handler's last line and ours
        self._leave()
        return ending

    def _leave(self) -> None:
        """Afterwards no Stopped can arrive any more. It may arrive in here, once: hence the loop."""
        while True:
            try:
                with self._guard:
                    self._run = None
                if self._was_thrown_at:
                    receive_stopped()
                    self._was_thrown_at = False
                return
            except Stopped:
                continue
