"""One thread for everything that waits for the disk, so that the event loop never does.

Jobs run one at a time in the order they were given; that is what makes "written, then synced" an order. A hop to
the thread and back costs about 30 microseconds, a third of `run_in_executor`, and finished jobs share one wake-up
of the loop: at thousands of commits a second both count.
"""

from __future__ import annotations

from asyncio import AbstractEventLoop, Future
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread
from typing import Any, TypeVar

Result = TypeVar("Result")
Done = Callable[[Any], None]
"""Takes the job's result, or the exception it raised."""

JOBS_MAX = 10_000
"""Jobs waiting at once. Callers keep one entry in flight and a few syncs: more means a caller runs away."""


class DiskThread:
    """A FIFO of jobs on a thread of its own. All methods are called on the event loop."""

    def __init__(self, loop: AbstractEventLoop, on_fatal: Callable[[BaseException], None]) -> None:
        """on_fatal: called on the loop with whatever a `run` job raised; the process is expected to stop."""
        self._loop = loop
        self._on_fatal = on_fatal
        self._jobs: SimpleQueue[tuple[Callable[[], Any], Done | None] | None] = SimpleQueue()
        self._finished: deque[tuple[Done, Any]] = deque()
        self._wake_up_is_due = False
        self._stopped: Future[None] | None = None
        self._thread = Thread(target=self._work, name="tq-disk")

    def start(self) -> None:
        self._thread.start()

    def run(self, job: Callable[[], object]) -> None:
        """Do it and forget it; what it raises is fatal."""
        self._put(job, None)

    def call(self, job: Callable[[], Result], done: Callable[[Result | Exception], None]) -> None:
        """Do it and call done on the loop with the result, or with the exception it raised."""
        self._put(job, done)

    async def stop(self) -> None:
        """Return once every job given before has run and its `done` was called. Calling it twice is allowed."""
        if self._thread.ident is None:
            return
        if self._stopped is None:
            self._stopped = self._loop.create_future()
            self._jobs.put(None)
        await self._stopped
        self._thread.join()

    def _put(self, job: Callable[[], Any], done: Done | None) -> None:
        if self._stopped is not None:
            raise RuntimeError("the disk thread is stopped and takes no more jobs")
        if self._jobs.qsize() >= JOBS_MAX:
            raise RuntimeError(f"{JOBS_MAX} jobs wait for the disk: a caller does not wait for its own")
        self._jobs.put((job, done))

    def _work(self) -> None:
        """The thread."""
        take = self._jobs.get
        while (item := take()) is not None:
            job, done = item
            try:
                result = job()
            except Exception as error:  # noqa: BLE001 - handed on: to done, or to on_fatal
                result = error
                if done is None:
                    done = self._on_fatal
            if done is not None:
                self._finish(done, result)
        self._finish(self._announce_stop, None)

    def _finish(self, done: Done, result: object) -> None:
        # The order matters: put first, then look. _deliver does the reverse, so nothing is left lying.
        self._finished.append((done, result))
        if not self._wake_up_is_due:
            self._wake_up_is_due = True
            self._loop.call_soon_threadsafe(self._deliver)

    def _deliver(self) -> None:
        """On the loop: everything that has finished by now."""
        self._wake_up_is_due = False
        finished = self._finished
        for _ in range(len(finished)):
            done, result = finished.popleft()
            try:
                done(result)
            except Exception as error:  # noqa: BLE001 - the others must still hear; a done that raises is a bug
                self._on_fatal(error)

    def _announce_stop(self, _: None) -> None:
        if self._stopped is not None and not self._stopped.done():
            self._stopped.set_result(None)
