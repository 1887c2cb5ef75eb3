"""Throwing an exception into another thread: the only thing that ends a loop of Python code.

CPython delivers it when the thread next runs Python code. Until then every thread of the process takes a slower path
through the interpreter, and in CPython 3.11 a thread that is being traced (by coverage, by a debugger) does not get on
at all. So it is thrown only at a thread that is seen to run, never at one that sits in a blocking call.
"""

from __future__ import annotations

import ctypes
import threading
import time

from tq.worker.control import Stopped

DELIVERY_STEPS = 10_000
"""More turns of an empty loop than CPython needs to deliver what was thrown; 0.3 ms, after an interrupt only."""


class Pulse:
    """Does a thread run, or does it sit in a blocking call? Its processor time tells. Made by the thread itself."""

    def __init__(self) -> None:
        self._thread_id = threading.get_ident()
        # The clock's id stays safe to ask when the thread has ended, the thread's own id does not.
        self._clock_id = time.pthread_getcpuclockid(self._thread_id)
        self._last_ns = time.clock_gettime_ns(self._clock_id)

    def has_beaten(self) -> bool:
        """Has it run since this was last asked? A thread that has ended has not."""
        try:
            now_ns = time.clock_gettime_ns(self._clock_id)
        except OSError:
            return False
        before_ns, self._last_ns = self._last_ns, now_ns
        return now_ns != before_ns

    def throw_stopped(self) -> None:
        """Raise Stopped in the thread, as soon as it runs Python code. The caller knows that it is in a handler."""
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(self._thread_id), ctypes.py_object(Stopped))


def receive_stopped() -> None:
    """Wait for a Stopped that was thrown at this thread and may not have arrived. Returns in any case."""
    try:
        for _ in range(DELIVERY_STEPS):
            pass
    except Stopped:
        return
