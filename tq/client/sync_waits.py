"""The few waits a channel needs, for threads. `aio_waits` has the same names on asyncio."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable


class Signal:
    """Something that happens once and wakes everybody who waits for it."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def set(self) -> None:
        self._event.set()

    def wait(self, seconds: float) -> bool:
        """False: it has not happened within so many seconds."""
        return self._event.wait(max(seconds, 0.0))


def clock() -> Callable[[], float]:
    """What tells the time in seconds that deadlines here are on."""
    return time.monotonic


def pause(seconds: float) -> None:
    """Wait; 0 or less does not."""
    if seconds > 0:
        threading.Event().wait(seconds)


home = os.getpid
"""What connections live and die with: the process. After a fork the child makes its own."""


def is_gone(pid: int) -> bool:
    """No connection of that home can be used any more: it is the parent's."""
    return pid != os.getpid()
