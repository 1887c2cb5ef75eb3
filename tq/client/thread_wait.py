"""One thread's wait for one answer, on a connection that several threads share."""

from __future__ import annotations

import threading
import time

from tq.errors import TqError
from tq.verbs import Reply

POLL_SECONDS_MAX = 60.0
"""Nobody looks at the clock more seldom than this."""


class ThreadWait:
    """A waiter of an `Exchange`. value: the answer, None until it is there. deadline: on time.monotonic."""

    __slots__ = ("_lock", "deadline", "value")

    def __init__(self, deadline: float) -> None:
        self.deadline = deadline
        self.value: Reply | TqError | None = None
        self._lock: threading.Lock | None = None

    def settle(self, answer: Reply | TqError) -> None:
        self.value = answer
        self.wake()

    def follow(self) -> None:
        """Get ready to sleep; with the link's mutex held, so that no wake is missed."""
        if self._lock is None:
            self._lock = threading.Lock()
            self._lock.acquire()

    def sleep(self) -> None:
        """Until `wake`, or the deadline."""
        assert self._lock is not None
        seconds = min(max(self.deadline - time.monotonic(), 0.0), POLL_SECONDS_MAX)
        self._lock.acquire(timeout=seconds)

    def wake(self) -> None:
        """With the link's mutex held; once is as good as twice."""
        if self._lock is not None and self._lock.locked():
            self._lock.release()
