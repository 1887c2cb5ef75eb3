"""Where the blocking Queue runs: on an event loop in a thread of its own. `aio_home` is the twin without one."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import TypeVar

from tq.errors import BadRequest

T = TypeVar("T")

CANCEL_SECONDS = 30.0
"""How long an interrupted call may take to put its things in order."""


class Home:
    """Runs what the engine does. The thread starts with the first call; any number of threads may call."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._is_closed = False

    def run(self, work: Callable[[], Awaitable[T]]) -> T:
        """Wait for it. KeyboardInterrupt cancels it, lets it put its things in order and goes on."""
        loop = self._running()
        future = asyncio.run_coroutine_threadsafe(_awaited(work), loop)
        try:
            return future.result()
        except BaseException:
            if not future.done():
                future.cancel()
                # What was cancelled may still be answering for what it held.
                settled = asyncio.run_coroutine_threadsafe(_others_done(), loop)
                settled.result(CANCEL_SECONDS)
            raise

    def call(self, function: Callable[[], object]) -> None:
        """Call this where the engine runs; from any thread, that one too."""
        loop = self._loop
        if loop is None:
            function()
        else:
            loop.call_soon_threadsafe(function)

    def close(self) -> None:
        """End the thread. Calling it again does nothing."""
        with self._mutex:
            self._is_closed = True
            loop, thread = self._loop, self._thread
            self._loop = self._thread = None
        if loop is not None and thread is not None:
            loop.call_soon_threadsafe(loop.stop)
            if thread is not threading.current_thread():
                thread.join()

    def _running(self) -> asyncio.AbstractEventLoop:
        with self._mutex:
            if self._is_closed:
                raise BadRequest("this queue is closed; make a new one")
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(
                    target=_serve, args=(self._loop,), name="rustq-loop", daemon=True
                )
                self._thread.start()
            return self._loop


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
        loop.run_until_complete(loop.shutdown_asyncgens())
    finally:
        loop.close()


async def _awaited(work: Callable[[], Awaitable[T]]) -> T:
    return await work()


async def _others_done() -> None:
    """Wait for tasks that have been cancelled and are not through with it yet."""
    here = asyncio.current_task()
    cancelled = [task for task in asyncio.all_tasks() if task is not here and task.cancelling()]
    if cancelled:
        await asyncio.wait(cancelled, timeout=CANCEL_SECONDS)
