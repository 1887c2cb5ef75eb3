"""Endings on their way from other threads to the main loop: many posts, one wake-up."""

from __future__ import annotations

import asyncio
from collections import deque

from tq.worker.ending import Ending
from tq.worker.lanes.lane import Finished
from tq.worker.run import Run


class Mailbox:
    """Bounded by the worker's slots: each run posts once."""

    def __init__(self, loop: asyncio.AbstractEventLoop, finished: Finished) -> None:
        self._loop = loop
        self._finished = finished
        self._posted: deque[tuple[Run, Ending]] = deque()
        self._is_waking = False

    def post(self, run: Run, ending: Ending) -> None:
        """From any thread. After the main loop has closed it does nothing."""
        self._posted.append((run, ending))
        if self._is_waking:
            return
        self._is_waking = True
        try:
            self._loop.call_soon_threadsafe(self._empty)
        except RuntimeError:
            return  # the loop is closed: the worker has gone, and an abandoned thread has come to its end at last

    def _empty(self) -> None:
        # Lowered first: a post that comes after the last popleft then finds it down and wakes again.
        self._is_waking = False
        while self._posted:
            run, ending = self._posted.popleft()
            self._finished(run, ending)
