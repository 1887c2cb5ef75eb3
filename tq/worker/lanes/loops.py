"""Async handlers, on an event loop of their own in a thread of its own.

Not on the main loop: a handler that blocks would block heartbeats, time limits and every other lane with it. The main
loop hands runs over in batches and gets endings back in batches, which costs about 5 us a task (DESIGN.md).

A loop that did not even hear of a stop is blocked. If the stopped run blocks it, Stopped is thrown into it, which ends a
loop of Python code. When the loop stays blocked it is *condemned*: new runs go to a new loop; of the others on the old
one, all but the one that blocks it are handed back uncharged; when that one has ended, the old loop ends.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress

import uvloop

from tq.logs import get_logger
from tq.worker.app import App
from tq.worker.ending import RELEASED, Ending
from tq.worker.invoke import invoke_async
from tq.worker.lanes.interrupt import Pulse
from tq.worker.lanes.lane import INTERRUPT_AFTER_S, Finished
from tq.worker.lanes.mailbox import Mailbox
from tq.worker.run import Run

log = get_logger("worker")

LAST_CANCEL_WAIT_S = 0.5
"""How long handlers that were abandoned may take to notice that the loop ends."""
LOOK_AGAIN_S = 0.1
"""How often a run that blocks its loop in a call that cannot be interrupted is looked at."""
CLOSE_WAIT_S = 5.0
"""How long that and the shut-down hooks may take when the worker ends."""


class HookFailed(Exception):
    """A start-up or shut-down hook of the app failed."""


class LoopLane:
    """Loops are bounded by one plus the condemned, which the consumer bounds."""

    def __init__(self, app: App, loop: asyncio.AbstractEventLoop, finished: Finished) -> None:
        self._app = app
        self._loop = loop
        self._finished = finished
        self._mailbox = Mailbox(loop, self._on_finished)
        self._home = HandlerLoop(app, self._mailbox, loop)
        self._abandoned: set[Run] = set()
        self._is_closed = False

    @property
    def abandoned(self) -> int:
        return len(self._abandoned)

    async def open(self) -> None:
        self._home.start()
        await self._home.opened

    def start(self, run: Run) -> None:
        run.vehicle = self._home
        self._home.put(run)

    def stop(self, run: Run) -> None:
        home = _home_of(run)
        home.feel_pulse()
        home.cancel(run)
        self._loop.call_later(INTERRUPT_AFTER_S, self._interrupt, run)

    def abandon(self, run: Run) -> None:
        self._abandoned.add(run)
        home = _home_of(run)
        if not run.stop_seen and home is self._home:
            self._condemn(home)

    async def close(self) -> None:
        self._is_closed = True
        await self._home.close()

    def _interrupt(self, run: Run) -> None:
        """Throw the run out of its thread if it blocks the loop; look again when it sits in a blocking call."""
        home = _home_of(run)
        if not run.stop_seen and not self._is_closed and not home.interrupt(run):
            self._loop.call_later(LOOK_AGAIN_S, self._interrupt, run)

    def _condemn(self, home: HandlerLoop) -> None:
        self._home = HandlerLoop(self._app, self._mailbox, self._loop)
        # Runs wait until its start-up hooks are through. When those fail, the runs meet their time limit.
        self._home.start()
        blocker = home.blocker()
        name = blocker.definition.name if blocker else "a start-up hook or callback"
        log.error(
            "loop_condemned",
            f"{name} blocks its event loop; the worker goes on with a new one. "
            "Blocking code belongs in a plain def (thread) or in kind='process'",
        )
        others = [run for run in home.residents() if run is not blocker]
        home.retire(others)
        reason = f"its event loop was blocked by {name}"
        for run in others:
            if not run.ended and run.stop_cause < 0:
                run.context.mark_stopped(reason)
                self._finished(run, Ending(RELEASED, error=reason, delay_ms=0))

    def _on_finished(self, run: Run, ending: Ending) -> None:
        self._abandoned.discard(run)
        self._finished(run, ending)


def _home_of(run: Run) -> HandlerLoop:
    assert isinstance(run.vehicle, HandlerLoop)
    return run.vehicle


class HandlerLoop:
    """One event loop in one thread. `put`, `cancel` and `interrupt` come from the main loop, the rest runs here.

    opened: done, on the main loop, when the start-up hooks are through; carries what they raised.
    """

    def __init__(self, app: App, mailbox: Mailbox, main_loop: asyncio.AbstractEventLoop) -> None:
        self.opened: asyncio.Future[None] = main_loop.create_future()
        self._ended: asyncio.Future[None] = main_loop.create_future()
        self._app = app
        self._mailbox = mailbox
        self._main_loop = main_loop
        self._loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._live, name="tq-loop", daemon=True)
        self._arrived: deque[Run] = deque()
        self._is_waking = True  # until it is open: what arrives before waits for the start-up hooks
        self._leaving = asyncio.Event()
        self._is_retiring = False
        self._pulse: Pulse | None = None
        self._tasks: dict[Run, asyncio.Task[None]] = {}

    def start(self) -> None:
        """Begin to live; `opened` tells when and whether it does."""
        self._thread.start()

    async def close(self) -> None:
        """Run the shut-down hooks and end; waits at most CLOSE_WAIT_S, and not at all for start-up hooks that hang."""
        self._call(self._leaving.set)
        if self._thread.is_alive() and self.opened.done() and not self.opened.cancelled():
            await asyncio.wait([self._ended], timeout=CLOSE_WAIT_S)

    def put(self, run: Run) -> None:
        self._arrived.append(run)
        if not self._is_waking:
            self._is_waking = True
            self._call(self._take)

    def cancel(self, run: Run) -> None:
        self._call(self._cancel, run)

    def feel_pulse(self) -> None:
        """What it runs from now on is what `interrupt` goes by."""
        if self._pulse is not None:
            self._pulse.has_beaten()

    def interrupt(self, run: Run) -> bool:
        """Throw Stopped into this run if it keeps the loop from turning. False: it may have to be tried again."""
        if self._pulse is None or not self._pulse.has_beaten() or self.blocker() is not run:
            return False
        self._pulse.throw_stopped()
        return True

    def blocker(self) -> Run | None:
        """The run whose step the loop is in."""
        task = asyncio.current_task(self._loop)
        return next((run for run, its_task in list(self._tasks.items()) if its_task is task), None)

    def residents(self) -> list[Run]:
        """Every run that was put here and has not ended here."""
        return [*self._tasks, *self._arrived]

    def retire(self, handed_back: list[Run]) -> None:
        """Cancel these, and end when nothing runs here any more."""
        for run in handed_back:
            self._call(self._cancel, run)
        self._call(self._retire)

    def _live(self) -> None:
        self._pulse = Pulse()
        asyncio.set_event_loop(self._loop)
        failure: HookFailed | None = None
        try:
            self._loop.run_until_complete(self._stay())
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        except BaseException as error:  # noqa: BLE001  the thread's top: handed to whoever opens, and logged
            # Not the error itself: a SystemExit would end the main loop too.
            failure = HookFailed(f"a start-up or shut-down hook failed: {error!r}")
            failure.__cause__ = error
            log.error("hook_failed", f"a start-up or shut-down hook failed: {error!r}", exc_info=error)
        finally:
            self._loop.close()
            self._tell(self.opened, failure)
            self._tell(self._ended, None)

    async def _stay(self) -> None:
        """Enter and leave the app's surroundings in one and the same task, as task groups in them must be."""
        async with self._app.running():
            self._tell(self.opened, None)
            self._take()
            await self._leaving.wait()
            for task in self._tasks.values():
                task.cancel()
            if self._tasks:
                await asyncio.wait(self._tasks.values(), timeout=LAST_CANCEL_WAIT_S)

    def _take(self) -> None:
        self._is_waking = False
        while self._arrived:
            run = self._arrived.popleft()
            if not run.ended:
                self._tasks[run] = self._loop.create_task(self._attempt(run))

    async def _attempt(self, run: Run) -> None:
        ending = await invoke_async(self._app, run.definition, run.context, run.delivery.payload)
        self._tasks.pop(run, None)
        self._mailbox.post(run, ending)
        if self._is_retiring:
            self._retire()

    def _retire(self) -> None:
        self._is_retiring = True
        if not self._tasks:
            self._leaving.set()

    def _cancel(self, run: Run) -> None:
        run.stop_seen = True
        task = self._tasks.get(run)
        if task is not None:
            # A task cancelled before its first step never enters its coroutine, so that nothing would be posted.
            task.add_done_callback(lambda _: self._post_unstarted(run))
            task.cancel()

    def _post_unstarted(self, run: Run) -> None:
        if self._tasks.pop(run, None) is not None:
            self._mailbox.post(run, Ending(RELEASED, error="stopped before it started", delay_ms=0))
            if self._is_retiring:
                self._retire()

    def _tell(self, future: asyncio.Future[None], failure: HookFailed | None) -> None:
        """Settle a future of the main loop; only the first word counts."""

        def settle() -> None:
            if future.done():
                return
            if failure is None:
                future.set_result(None)
            else:
                future.set_exception(failure)
                future.exception()  # seen: nobody waits for the successor of a condemned loop

        with suppress(RuntimeError):
            self._main_loop.call_soon_threadsafe(settle)

    def _call(self, function: Callable[..., object], *args: object) -> None:
        """Have the loop call this. A loop that has ended has nothing left to be told."""
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(function, *args)
